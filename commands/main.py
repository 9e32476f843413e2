"""The ``relay`` command. A subcommand's module is imported when it is run, so that help is there at once."""

from __future__ import annotations

import gc
import importlib
import sys

import click

from relay.errors import RelayError

COMMANDS = {
    "agents": ("commands.agents:agents", "Check the agents' files."),
    "apartments": ("commands.apartments:apartments", "Make the tours of the coming days."),
    "bench": ("commands.bench:bench", "Measure a server under calls."),
    "call": ("commands.call:call", "Call an agent from the terminal."),
    "dev": ("commands.dev.command:dev", "Serve through a tunnel, with what is edited live."),
    "dial": ("commands.dial:dial", "Have an agent call somebody."),
    "doctor": ("commands.doctor.command:doctor", "Look for what is wrong, and tell how to mend it."),
    "number": ("commands.number:number", "Point telephone numbers at this relay."),
    "people": ("commands.people:people", "Show and forget the people who have called."),
    "serve": ("commands.serve:serve", "Serve calls and webhooks."),
}
"""name -> (module:object, what the list of commands says)."""


class LazyGroup(click.Group):
    """A group whose commands are named in ``COMMANDS``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        gc.disable()  # what an import makes stays: looking for garbage in it takes a sixth of the start
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="relay", message="relay %(version)s")
def cli() -> None:
    """Phone calls and messages, answered by a streaming language model."""


def main() -> None:
    """The console script. What the program raises on purpose is one sentence a line on standard error, status 1."""
    try:
        cli(prog_name="relay")
    except RelayError as error:
        for line in str(error).splitlines():
            click.echo(f"relay: {line}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
