"""The agents as they are on disk now: a changed one is used from the next call on, a broken one is refused.

A look compares what the folder's files look like from outside (time, size, inode) with what was seen last, and reads
again what differs. It does file work and belongs into a thread; ``agents`` is replaced as a whole, so whoever holds a
definition keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from config.agent_file import EngineCheck, ToolCheck
from config.agents import agent_folders, load_agent, load_agents
from config.definition import AgentDefinition
from relay.errors import ConfigError

FILES = ("agent.toml", "prompt.md", "rehearsal.toml")

Marks = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look has found: names of agents that are new, changed or gone, and what is wrong in those refused."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=(), repr=False)


class Catalogue(Mapping[str, AgentDefinition]):
    """``default`` is the agent that stays whatever happens to its folder. ``finish`` makes of what a file says what is
    used. ``named``: other settings, and the agents they name, which there are to be at first. Raises ConfigError with
    all that is wrong at first; afterwards the last good definition of an agent stays."""

    def __init__(
        self,
        folder: Path,
        default: str,
        check_tool: ToolCheck = lambda tool, arguments: "",
        finish: Callable[[AgentDefinition], AgentDefinition] = lambda agent: agent,
        check_engine: EngineCheck = lambda engine: "",
        named: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._default = default
        self._check_tool = check_tool
        self._check_engine = check_engine
        self._finish = finish
        self._seen = self._marks()
        problems: list[str] = []
        agents: dict[str, AgentDefinition] = {}
        try:
            agents = load_agents(folder, check_tool, check_engine)
        except ConfigError as error:
            problems += error.problems
        for setting, name in {"DEFAULT_AGENT": default, **named}.items():
            if not (folder / name).is_dir():
                problems.append(f"{setting}: there is no agent {name} in {folder}.")
        if problems:
            raise ConfigError(problems)
        self._agents = {name: finish(agent) for name, agent in agents.items()}

    @property
    def default(self) -> AgentDefinition:
        """The agent of a call that names none."""
        return self._agents[self._default]

    def __getitem__(self, name: str) -> AgentDefinition:
        return self._agents[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def look(self) -> Look:
        """Reads what has changed. Blocks; not to be called twice at once."""
        marks, seen = self._marks(), self._seen
        if marks == seen:
            return Look()
        agents, problems, changed = dict(self._agents), [], []
        for name in sorted(name for name in marks if marks[name] != seen.get(name)):
            try:
                agent = load_agent(self._folder / name, self._check_tool, self._check_engine)
                agents[name] = self._finish(agent)
                changed.append(name)
            except ConfigError as error:
                problems += error.problems
        gone = sorted(seen.keys() - marks.keys() - {self._default})
        for name in gone:
            agents.pop(name, None)
        self._agents, self._seen = agents, marks
        return Look(tuple(changed), tuple(gone), tuple(problems))

    def _marks(self) -> dict[str, Marks]:
        try:
            folders = agent_folders(self._folder)
        except ConfigError:
            return getattr(self, "_seen", {})  # the folder is being replaced, or its disk is away
        return {folder.name: tuple(_mark(folder / file) for file in FILES) for folder in folders}


def _mark(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
