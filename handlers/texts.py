"""What all channels of text have in common: agents as they write, conversations, and what their turns are made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from config.definition import AgentDefinition
from config.prompts import render_prompt
from config.settings import Settings
from handlers.cast import CallCast
from handlers.stores import Stores
from relay.chats import Chats
from relay.store.archive import Archive
from relay.store.history import History
from relay.store.leases import Leases
from relay.store.people import People, Person
from relay.textparts import TextParts
from relay.toolbox import ToolBox

OF_A_TELEPHONE = frozenset({"end_call", "transfer_to_human", "collect_digits", "send_digits", "switch_language"})
"""Tools that an agent does not have where people write."""

GUIDELINES = """\
# How you write

You are in a chat. What you write is read on a screen, often a small one.

- Answer in the language of the person's last message, unless they ask for another one.
- Be brief and plain: begin with what matters most, and write no more than is needed.
- Whatever stands below about calls, callers and speaking holds here for the conversation and for writing.
"""
"""How every agent writes, before what its channel adds."""


class TextAgents(Mapping[str, AgentDefinition]):
    """The agents as they are where people write: without the tools of a telephone. Changes as they change."""

    def __init__(self, agents: Mapping[str, AgentDefinition]) -> None:
        self._agents = agents
        self._made: dict[str, tuple[AgentDefinition, AgentDefinition]] = {}

    def __getitem__(self, name: str) -> AgentDefinition:
        agent = self._agents[name]
        if name not in self._made or self._made[name][0] is not agent:
            tools = tuple(tool for tool in agent.tools if tool not in OF_A_TELEPHONE)
            self._made[name] = agent, replace(agent, tools=tools, keys={})
        return self._made[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)


@dataclass(frozen=True, slots=True)
class Texts:
    """``parts``: of every turn. ``agents``: all there are. ``model_name``: the model an agent's requests name.
    ``kept``: seconds a conversation is kept after its latest turn. ``deadline``: seconds that looking a person up may
    take. ``worker``: the name of this process."""

    parts: TextParts
    agents: TextAgents
    tools: ToolBox
    model_name: Callable[[AgentDefinition], str]
    people: People
    history: History
    leases: Leases
    archive: Archive
    kept: float
    deadline: float
    worker: str = field(default="")

    def chats(self, channel: str) -> Chats:
        """The conversations of a channel."""
        return Chats(channel, self.history, self.leases, self.archive, ttl=self.kept, worker=self.worker)

    def cast(self, agent: str, person: str, guidelines: str = "") -> CallCast:
        """Who may talk in a conversation that this agent has. ``guidelines``: how to write on its channel, besides what
        holds for all. Raises KeyError where nobody has that name."""

        def render(agent: AgentDefinition, known: Person | None) -> str:
            demos = [other for other in self.agents.values() if other.name != agent.name and not other.unlisted]
            facts = asdict(known) if known is not None else None
            prompt = render_prompt(agent, person=facts, demos=demos, now=datetime.now(UTC))
            # What is the same for all comes first: it stays one prefix, which providers cache.
            return f"{GUIDELINES}{guidelines}\n{prompt.strip()}\n"

        return CallCast(
            self.agents[agent],
            self.agents,
            self.tools,
            self.model_name,
            render,
            self.people,
            person,
            deadline=self.deadline,
            second=False,
        )


def make_texts(
    settings: Settings,
    parts: TextParts,
    stores: Stores,
    agents: Mapping[str, AgentDefinition],
    model_name: Callable[[AgentDefinition], str],
    *,
    worker: str,
) -> Texts:
    return Texts(
        parts=parts,
        agents=TextAgents(agents),
        tools=parts.tools,
        model_name=model_name,
        people=stores.people,
        history=stores.text_history,
        leases=stores.leases,
        archive=stores.archive,
        kept=settings.text_history_days * 86400,
        deadline=settings.prepare_deadline,
        worker=worker,
    )


__all__ = ["GUIDELINES", "OF_A_TELEPHONE", "TextAgents", "Texts", "make_texts"]
