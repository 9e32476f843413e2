"""The agents of one call: how they talk, how they are spoken, what they are told of the person."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from config.definition import AgentDefinition, KeyAction
from handlers.cast import CallCast, languages_of, manner_of, voices_of
from relay.errors import StoreError
from relay.keypad import Key
from relay.store.people import Person
from relay.toolbox import ToolContext
from tools.registry import ToolRegistry

DESK = AgentDefinition(
    name="desk",
    title="Desk",
    prompt="",
    tools=("look",),
    keys={"1": KeyAction("One."), "2": KeyAction("", "look", {"n": 1})},
    relay={"language": "en-US", "ttsProvider": "Amazon", "voice": "Joanna-Neural"},
    second={"ttsProvider": "Google"},
    languages=(
        {"code": "es-US", "voice": "Lupe-Neural"},
        {"code": "fr-FR", "ttsProvider": "ElevenLabs"},
        {"code": "multi"},
    ),
)


class Knows:
    """A store that knows one person, or is away."""

    def __init__(self) -> None:
        self.person: Person | None = None
        self.away = False

    async def get(self, person: str) -> Person | None:
        if self.away:
            raise StoreError("away")
        return self.person


def tools() -> ToolRegistry:
    registry = ToolRegistry()

    async def look(context: ToolContext, n: int = 0) -> str:
        """Looks."""
        return ""

    registry.add(look)
    return registry


def cast(people: Any, agents: dict[str, AgentDefinition] | None = None) -> CallCast:
    return CallCast(
        DESK,
        {"desk": DESK} if agents is None else agents,
        tools(),
        lambda agent: "a model",
        lambda agent, person: f"{agent.name} for {person.first_name if person else 'a stranger'}",
        people,
        "phone:+15550100123",
        deadline=1.0,
        second=False,
    )


async def test_what_is_known_of_the_person() -> None:
    """Stands in the instructions once it is looked up; where the store is away what was known stays."""
    people = Knows()
    made = cast(people)
    assert made.role("desk") is not None
    assert made.instructions("desk") == "desk for a stranger"
    people.person = Person("phone:+15550100123", first_name="Ada")
    await made.look_up()
    assert made.instructions("desk") == "desk for Ada"
    people.person, people.away = None, True
    await made.look_up()
    assert made.instructions("desk") == "desk for Ada"


async def test_instructions_are_written_once() -> None:
    """The same object while nothing has changed, in each language."""
    people = Knows()
    made = cast(people)
    made.role("desk")
    before = made.instructions("desk"), made.instructions("desk", "es-US")
    await made.look_up()
    assert made.instructions("desk") is before[0] and made.instructions("desk", "es-US") is before[1]
    assert before[1].startswith(before[0]) and "Spanish" in before[1]


def test_an_agent_that_goes_while_it_talks() -> None:
    """A call goes on with the definition it began with; one that was never there has no role."""
    agents = {"bar": replace(DESK, name="bar")}
    made = cast(Knows(), agents)
    role = made.role("bar")
    agents.clear()
    assert made.role("bar") is role is not None and made.instructions("bar")
    assert made.role("desk") is not None, "it has the call"
    assert made.role("kitchen") is None and made.manner("kitchen") is None


def test_a_role() -> None:
    """What its model is asked with, and how it talks."""
    role = cast(Knows()).role("desk")
    assert role is not None
    assert [tool.name for tool in role.request.tools] == ["look"] and role.request.cache_key == "desk"
    assert role.manner.keys == {"1": Key("One."), "2": Key("", "look", '{"n":1}')}
    assert role.manner.languages == languages_of(DESK) == ("en-US", "es-US", "fr-FR")


def test_voices() -> None:
    """A language has what the session has where it names nothing else; a voice goes with its provider."""
    assert voices_of(DESK, second=False) == {
        "en-US": {"ttsProvider": "Amazon", "voice": "Joanna-Neural"},
        "es-US": {"ttsProvider": "Amazon", "voice": "Lupe-Neural"},
        "fr-FR": {"ttsProvider": "ElevenLabs"},
        "multi": {"ttsProvider": "Amazon", "voice": "Joanna-Neural"},
    }
    assert voices_of(DESK, second=True)["en-US"] == {"ttsProvider": "Google"}


def test_what_is_understood() -> None:
    """The language spoken, unless the agent says otherwise, or that any is."""
    manner = manner_of(DESK)
    assert (manner.understood("en-US"), manner.understood("es-US")) == ("en-US", "es-US")
    both = manner_of(AgentDefinition("a", "A", "", relay={"language": "es-US", "transcriptionLanguage": "multi"}))
    assert both.understood("es-US") == both.understood("en-US") == "multi"
