"""The ``relay`` command itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from commands import main as module
from commands.main import COMMANDS, cli, main
from relay.errors import ConfigError


def test_help_lists_the_commands_without_importing_them() -> None:
    """Help is there at once: no subcommand and nothing heavy is imported for it."""
    program = (
        "import sys; from click.testing import CliRunner; from commands.main import cli;"
        "r = CliRunner().invoke(cli, ['--help']); print(r.output);"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('aiohttp', 'openai', 'pydantic', 'websockets')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.rstrip().endswith("[]")
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout and text in done.stdout


def test_version() -> None:
    """--version tells the installed version."""
    assert CliRunner().invoke(cli, ["--version"]).output == f"relay {version('relay')}\n"


def test_an_unknown_command() -> None:
    """A name that is no command is a usage error."""
    assert CliRunner().invoke(cli, ["sing"]).exit_code == 2


def test_every_command_can_be_loaded() -> None:
    """Each entry of the table names a command that exists."""
    for path, _ in COMMANDS.values():
        name, _, attribute = path.partition(":")
        assert getattr(importlib.import_module(name), attribute).callback is not None


def test_what_is_raised_on_purpose_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of our own is a line each on standard error, without a traceback."""

    def refuse(**options: object) -> None:
        raise ConfigError(["PORT must be a number.", "HOST is missing."])

    monkeypatch.setattr(module, "cli", refuse)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "relay: PORT must be a number.\nrelay: HOST is missing.\n"
