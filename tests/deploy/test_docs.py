"""docs/deploy.md names commands, targets, files and settings that exist."""

from __future__ import annotations

import re

import click
import pytest

from commands.main import COMMANDS, cli
from config.settings import Settings
from config.values import CHECKOUT
from tests.deploy.files import image_environment, read

DOC = read("docs/deploy.md")
CODE = re.findall(r"`([^`\n]+)`", DOC) + re.findall(r"^ {4,}(.+?)(?: +# .*)?$", DOC, re.MULTILINE)
OTHERS = {"REPOSITORY", "VERSION", "NAME", "VOLUMES", "SIGTERM"}
"""Words in capitals that are no settings."""


def words(pattern: str) -> set[str]:
    return {found for code in CODE for found in re.findall(pattern, code)}


def test_commands() -> None:
    """Every `relay` command it names is one, down to the command of a group."""
    named = words(r"(?<![-@\w])(?<!exec )relay ([a-z]+(?: [a-z]+)?)")
    assert {"doctor", "number connect", "dev"} <= named
    for name in named:
        command, _, below = name.partition(" ")
        assert command in COMMANDS, name
        found = cli.get_command(click.Context(cli), command)
        if isinstance(found, click.Group):
            assert below in found.commands, name


def test_targets() -> None:
    """Every `make` target it names is one."""
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = words(r"\bmake ([a-z]+)\b")
    assert {"up", "down", "install", "run"} <= named <= targets


def test_files() -> None:
    """Every file of the checkout it names is there, and every link leads somewhere."""
    links = re.findall(r"\]\(([^)#]+)\)", DOC)
    assert links and all((CHECKOUT / "docs" / link).exists() for link in links)
    named = words(r"(?<![\w/.])((?:deploy|docs|config|commands)/[\w@./-]+|[\w-]+\.(?:toml|yaml))")
    assert named and all((CHECKOUT / name).exists() for name in named), named
    headings = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^##? (.+)$", DOC, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOC)) <= headings


def test_settings() -> None:
    """Every setting it names is one."""
    named = words(r"(?<![\w-])([A-Z][A-Z_]+[A-Z])(?![\w-])") - OTHERS
    assert "DRAIN_SECONDS" in named
    known = {name.upper() for name in Settings.model_fields}
    assert {name.removesuffix("_FILE") for name in named} <= known


@pytest.mark.parametrize("path", ["/app/.venv/bin", "/data"])
def test_places_in_the_image(path: str) -> None:
    """What it says of the inside of the image is so."""
    assert path in DOC
    assert path in ":".join(image_environment().values()).split(":")
