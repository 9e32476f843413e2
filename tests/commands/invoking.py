"""A subcommand in the test's own process: a tenth of what a process of its own costs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import structlog
from click.testing import CliRunner

from commands.main import cli
from relay.errors import RelayError
from tests.commands.serving import INHERITED


async def invoke(environ: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error. ``environ``: all its settings."""
    variables: dict[str, str | None] = {**dict.fromkeys(os.environ), **INHERITED, **environ}
    try:
        # A command runs an event loop, and this thread has one.
        done = await asyncio.to_thread(CliRunner().invoke, cli, list(arguments), env=variables)
    finally:
        structlog.reset_defaults()  # a command may write its log elsewhere
    if isinstance(done.exception, RelayError):  # as commands.main.main says it
        return 1, done.stdout, done.stderr + "".join(f"relay: {line}\n" for line in str(done.exception).splitlines())
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr
