"""The agents of one call, made from their definitions: how they talk, what they ask their model, what they know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson
import structlog

from channels.twilio.twiml import RelayAgent, session_attributes, without_replaced
from config.definition import DIALOGFLOW, AgentDefinition
from config.prompts import answering_in
from relay.cast import Role
from relay.frames import LANGUAGE_ATTRIBUTES
from relay.keypad import Key
from relay.manner import MULTI, Manner
from relay.models.base import ModelRequest
from relay.models.dialogflow import END, HANDOFF
from relay.store.people import People, Person
from relay.toolbox import ToolBox

log = structlog.get_logger(__name__)


class CallCast:
    """Satisfies ``relay.cast.Cast``. ``first``: has the call. ``render``: an agent's prompt for a person, None for a
    stranger. ``person``: key of who is on the line. ``deadline``: seconds a look-up may take. ``second``: the first
    provider of speech has failed in this call. ``conversation`` and ``channel`` are those of requests, "" where they
    are not known yet."""

    def __init__(
        self,
        first: AgentDefinition,
        agents: Mapping[str, AgentDefinition],
        tools: ToolBox,
        model_name: Callable[[AgentDefinition], str],
        render: Callable[[AgentDefinition, Person | None], str],
        people: People,
        person: str,
        *,
        deadline: float,
        second: bool,
        conversation: str = "",
        channel: str = "",
    ) -> None:
        self._agents = agents
        self._tools = tools
        self._model_name = model_name
        self._render = render
        self._people = people
        self._id = person
        self._deadline = deadline
        self._second = second
        self._conversation, self._channel = conversation, channel
        self._person: Person | None = None
        # As they were when they were first asked for: agents change on disk.
        self._roles = {first.name: (first, self._role(first))}
        self._written: dict[tuple[str, str], str] = {}

    def role(self, agent: str) -> Role | None:
        if agent not in self._roles and (definition := self._agents.get(agent)) is not None:
            self._roles[agent] = definition, self._role(definition)
        return self._roles[agent][1] if agent in self._roles else None

    def manner(self, agent: str) -> Manner | None:
        role = self.role(agent)
        return None if role is None else role.manner

    def instructions(self, agent: str, language: str = "") -> str:
        key = agent, language
        if key not in self._written:
            if language:
                self._written[key] = answering_in(self.instructions(agent), language)
            else:
                self._written[key] = self._render(self._roles[agent][0], self._person)
        return self._written[key]

    async def look_up(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                person = await self._people.get(self._id)
        except Exception as error:  # whatever is wrong with what is stored: the call goes on with what is known
            log.warning("person not looked up", error=type(error).__name__)
            return
        if person != self._person:
            self._person = person
            self._written.clear()

    def _role(self, agent: AgentDefinition) -> Role:
        return Role(
            manner_of(agent),
            ModelRequest(
                "",
                (),
                self._tools.specs(agent.tools),
                self._model_name(agent),
                reasoning=agent.reasoning,
                cache_key=agent.name,
                first_token_deadline=agent.limits.get("first_token_deadline"),
                stall_deadline=agent.limits.get("stall_deadline"),
                engine=agent.engine,
                conversation=self._conversation,
                channel=self._channel,
                language=agent.language,
            ),
            voices_of(agent, second=self._second),
        )


def manner_of(agent: AgentDefinition) -> Manner:
    keys = {
        digit: Key(action.say, action.tool, orjson.dumps(dict(action.args)).decode(), dict(action.says))
        for digit, action in agent.keys.items()
    }
    return Manner(
        agent=agent.name,
        line=agent.says.line,
        line_language=agent.says.line_language,
        fillers=agent.says.fillers,
        hold_sound=agent.hold_sound,
        keys=keys,
        tools=agent.tools,
        language=agent.language,
        transcription=agent.relay.get("transcriptionLanguage") or agent.relay.get("language") or "en-US",
        languages=languages_of(agent),
        follow_language=agent.follow_language,
        signals=(HANDOFF, END) if agent.engine == DIALOGFLOW else (),
    )


def languages_of(agent: AgentDefinition) -> tuple[str, ...]:
    """Tags of all languages the agent declares, its own first."""
    tags = [agent.language, agent.relay.get("language", ""), *(each.get("code", "") for each in agent.languages)]
    return tuple(tag for tag in dict.fromkeys(tags) if tag not in ("", MULTI))


def voices_of(agent: RelayAgent, *, second: bool) -> dict[str, dict[str, str]]:
    """How each of its languages is spoken, by tag: what a ``<Language>`` does not say is as in the session."""
    relay = session_attributes(agent, second=second)
    own = relay.get("ttsLanguage") or relay.get("language") or "en-US"
    voices = {own: _spoken(relay)}
    for language in agent.languages:
        code = language.get("code", "")
        if code.casefold() != own.casefold():
            voices[code] = _spoken({**without_replaced(relay, language), **language})
        elif not second:
            voices[own] = _spoken({**without_replaced(relay, language), **language})
    return voices


def _spoken(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: attributes[name] for name in LANGUAGE_ATTRIBUTES if name in attributes}
