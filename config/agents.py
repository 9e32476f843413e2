"""Reads the folders of ``config/agents`` into ``AgentDefinition``s and reports every mistake, with file and line.

    config/agents/<name>/agent.toml        title description model reasoning greeting timezone tools engine speculation
                                           hold_sound hours closed_greeting voicemail record follow_language
                                           unlisted, [relay] [relay.second] [[languages]] [keys."1"] [limits] [says]
    config/agents/<name>/prompt.md         persona, task, rules of the business
    config/agents/<name>/rehearsal.toml    what the rehearsal model says (optional)
    config/agents/<name>/menu.toml         what a restaurant sells (optional; config/menu.py)

A line under ``[says]`` is text in the agent's own language, or a table of texts by language: ``apology = {en = "...",
fr = "..."}``. Beside the lines stand ``fillers``, a list of phrases for the time a tool takes (or a table of lists;
empty for none), and ``hold_sound``. Whether the tools exist, and the engine can be used, is not known here; whoever
puts the parts together passes in what checks them.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from config.agent_file import AgentFile, EngineCheck, ToolCheck
from config.definition import AgentDefinition
from config.menu import FILE as MENU
from config.menu import load_menu
from config.prompts import misspelt_places
from relay.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def load_agents(
    folder: Path,
    check_tool: ToolCheck = lambda tool, arguments: "",
    check_engine: EngineCheck = lambda engine: "",
) -> dict[str, AgentDefinition]:
    """Every agent below the folder, by name. Raises ConfigError with all that is wrong in any of them.

    Files beside the agents' folders, and folders whose names begin with a dot or an underscore, are not looked at.
    """
    problems: list[str] = []
    agents: dict[str, AgentDefinition] = {}
    folders = agent_folders(folder)
    for each in folders:
        try:
            agents[each.name] = load_agent(each, check_tool, check_engine)
        except ConfigError as error:
            problems += error.problems
    if not folders:
        problems.append(f"{folder} holds no agent: make a folder in it with agent.toml and prompt.md.")
    if problems:
        raise ConfigError(problems)
    return agents


def agent_folders(folder: Path) -> list[Path]:
    """Those below the folder that are agents. Raises ConfigError where it cannot be read."""
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] not in "._")
    except OSError:
        raise ConfigError(
            [f"{folder} is not a folder that can be read; AGENTS_DIR names the folder of agents."]
        ) from None


def load_agent(
    folder: Path,
    check_tool: ToolCheck = lambda tool, arguments: "",
    check_engine: EngineCheck = lambda engine: "",
) -> AgentDefinition:
    """One agent. Raises ConfigError with all that is wrong in it."""
    problems: list[str] = []
    agent = None
    if not _NAME.fullmatch(folder.name):
        problems.append(f"{folder}: an agent's name has only letters, digits, - and _.")
    else:
        agent = _load_agent(folder, problems, check_tool, check_engine)
    if agent is None or problems:
        raise ConfigError(problems)
    return agent


def _load_agent(
    folder: Path, problems: list[str], check_tool: ToolCheck, check_engine: EngineCheck
) -> AgentDefinition | None:
    prompt = _read(folder / "prompt.md", problems)
    if prompt is not None and not prompt.strip():
        problems.append(f"{folder / 'prompt.md'}:1: the prompt is empty.")
    for line, written, meant in misspelt_places(prompt or ""):
        problems.append(f"{folder / 'prompt.md'}:{line}: {written} is filled in with nothing; did you mean {meant}?")
    if (folder / MENU).is_file():
        try:
            load_menu(folder / MENU)
        except ConfigError as error:
            problems += error.problems
    text = _read(folder / "agent.toml", problems)
    if text is None:
        return None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        problems.append(f"{folder / 'agent.toml'}:{line}: {_AT_LINE.sub('', str(error))}.")
        return None
    script = folder / "rehearsal.toml"
    return AgentFile(folder / "agent.toml", text, data, problems, check_tool, check_engine).agent(
        folder.name, (prompt or "").strip(), script if script.is_file() else None
    )


def _read(path: Path, problems: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{path} is missing.")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path} cannot be read: {type(error).__name__}.")
    return None
