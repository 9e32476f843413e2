"""``relay agents``: looks at the agents' folder without serving it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from config.agent_file import EngineCheck, ToolCheck
from config.agents import agent_folders, load_agent
from config.definition import DIALOGFLOW, AgentDefinition
from config.says import BUILT_IN, primary
from config.settings import Settings, load_settings
from handlers.modelling import engine_check
from handlers.toolkit import tool_check
from phone.endpoint.rules import ScriptError
from phone.endpoint.script import Rehearsal
from relay.errors import ConfigError


@click.group()
def agents() -> None:
    """Agents: the folders in config/agents (AGENTS_DIR)."""


@agents.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def check(folder: Path | None) -> None:
    """Check a folder of agents, or one agent's folder, and name every mistake with file and line.

    FOLDER is AGENTS_DIR if left out. The exit status is 1 when there is a mistake; notes are none.
    """
    settings = load_settings()
    place = folder or settings.agents_dir
    looked = look_at(place, settings)
    mistakes = 0
    for each in looked:
        mistakes += len(each.problems)
        for problem in each.problems:
            click.secho(problem, fg="red")
        if each.agent is not None and not each.problems:
            click.echo(f"{click.style('good', fg='green')}  {each.name}: {each.agent.title}")
            for note in _notes(each.agent):
                click.echo(f"      note: {note}")
    if not looked:
        mistakes += 1
        click.secho(f"{place} holds no agent: make a folder in it with agent.toml and prompt.md.", fg="red")
    if mistakes:
        click.echo(f"{mistakes} mistake{'s' if mistakes > 1 else ''}.")
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Looked:
    """``agent`` None: its files cannot be used; ``problems`` says why, and what is wrong in its rehearsal."""

    name: str
    agent: AgentDefinition | None
    problems: list[str]


def look_at(place: Path, settings: Settings) -> list[Looked]:
    """Every agent of a folder of agents, or the one of its own folder."""
    alone = (place / "agent.toml").is_file() or (place / "prompt.md").is_file()
    known, usable = tool_check(settings), engine_check(settings)
    return [_look_at(each, known, usable) for each in ([place] if alone else agent_folders(place))]


def _look_at(folder: Path, known: ToolCheck, usable: EngineCheck) -> Looked:
    problems: list[str] = []
    agent = None
    try:
        agent = load_agent(folder, known, usable)
    except ConfigError as error:
        problems += error.problems
    script = folder / "rehearsal.toml"
    if script.is_file():
        try:
            Rehearsal.load(script)
        except ScriptError as error:
            problems += [f"{problem}." for problem in error.problems]
    return Looked(folder.name, agent, problems)


def _notes(agent: AgentDefinition) -> Iterator[str]:
    """What is no mistake but may surprise."""
    spoken = {primary(tag) for tag in (agent.language, *(language["code"] for language in agent.languages))} - {"multi"}
    for language in sorted(spoken):
        missing = [
            name
            for name, texts in BUILT_IN.items()
            if language not in texts and not any(primary(tag) == language for tag in agent.says.own.get(name, {}))
        ]
        if missing:
            yield f"no text in {language!r} under [says] for {', '.join(missing)}: callers hear another language there."
    if not agent.greeting:
        yield "it has no greeting: the caller speaks first."
    if agent.engine == DIALOGFLOW:
        unused = [name for name in ("tools", "model", "reasoning") if getattr(agent, name)]
        if unused:
            yield f"Dialogflow is not told of {', '.join(unused)}: its agent has its own."
    elif not agent.tools:
        yield "it has no tools; with end_call it can hang up by itself."
