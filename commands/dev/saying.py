"""What ``relay dev`` tells a person, between the records of its servers."""

from __future__ import annotations

import click


def say(text: str) -> None:
    """On standard error; to nobody where the terminal is gone, which is no reason to leave things undone."""
    try:
        click.echo(f"relay dev: {text}", err=True)
    except OSError:
        pass
