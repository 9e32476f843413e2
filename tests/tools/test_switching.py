"""Passing a call on and changing its language, as the model asks for it; and effects that cannot be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from relay.keypad import Key
from relay.toolbox import (
    ChangeKeys,
    ChangeTools,
    Effect,
    PersonChanged,
    SwitchAgent,
    SwitchLanguage,
    ToolContext,
    ToolOutcome,
)
from tools.registry import ToolRegistry, ToolResult
from tools.switching import MOST_NAMED, Switching, add_switching

CONTEXT = ToolContext("CA1", "voice", "desk")


@dataclass(frozen=True)
class Titled:
    title: str


def registry(agents: Mapping[str, Titled] | None = None, *effects: Effect, side_effect: bool = False) -> ToolRegistry:
    """With a tool ``change`` that has these effects."""
    known = agents or {"desk": Titled("The desk"), "bar": Titled("The bar")}
    made = ToolRegistry()
    add_switching(made, Switching(lambda: known, lambda name: {"desk": ("en-US", "es-US", "es-MX")}.get(name, ())))

    async def change(context: ToolContext) -> ToolResult:
        """Changes something."""
        return ToolResult({"done": True}, effects)

    made.add(change, side_effect=side_effect)
    return made


async def run(tools: ToolRegistry, name: str, **arguments: Any) -> tuple[dict[str, Any], ToolOutcome]:
    outcome = await tools.run(name, orjson.dumps(arguments).decode(), CONTEXT)
    return orjson.loads(outcome.output), outcome


async def test_an_agent_takes_over() -> None:
    """The model is told who it is from now on; nothing was done outside of the call."""
    tools = registry()
    told, outcome = await run(tools, "switch_agent", agent=" bar ")
    assert outcome.ok and outcome.effects == (SwitchAgent("bar"),)
    assert told["agent"] == "bar" and "The bar" in told["message"]
    assert not tools.policy("switch_agent").side_effect


async def test_an_agent_there_is_not() -> None:
    """The model is told of those there are, of a few where there are many."""
    told, outcome = await run(registry(), "switch_agent", agent="cellar")
    assert not outcome.ok and outcome.effects == ()
    assert "'cellar'" in told["message"] and "desk, bar" in told["message"]
    many = {f"agent{number:02}": Titled("") for number in range(50)}
    told, _ = await run(registry(many), "switch_agent", agent="x" * 500)
    assert f"agent{MOST_NAMED - 1:02}" in told["message"] and f"agent{MOST_NAMED:02}" not in told["message"]
    assert len(told["message"]) < 400


async def test_the_agent_that_has_the_call() -> None:
    """Nothing changes, and the model is told so."""
    told, outcome = await run(registry(), "switch_agent", agent="desk")
    assert outcome.ok and outcome.effects == () and told["switched"] is False


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("es-US", "es-US"),
        ("ES_us", "es-US"),
        ("es-MX", "es-MX"),
        ("es-AR", "es-US"),
        ("es", "es-US"),
        (" Spanish ", "es-US"),
        ("espanol", "es-US"),
        ("inglés", "en-US"),
        ("English", "en-US"),
    ],
)
async def test_a_language_by_tag_or_name(said: str, tag: str) -> None:
    """The exact one where it is declared, else the first of that language."""
    told, outcome = await run(registry(), "switch_language", language=said)
    assert outcome.effects == (SwitchLanguage(tag),) and told["language"] == tag


@pytest.mark.parametrize("said", ["French", "fr", "", "-", "english please", "e"])
async def test_a_language_the_agent_has_not(said: str) -> None:
    """The model is told of those it has."""
    told, outcome = await run(registry(), "switch_language", language=said)
    assert not outcome.ok and outcome.effects == ()
    assert "English (en-US), Spanish (es-US), Spanish (es-MX)" in told["message"]


@pytest.mark.parametrize(
    "effect",
    [
        SwitchAgent("bar"),
        SwitchLanguage("es"),
        ChangeTools(add=("switch_agent",), remove=("whatever",)),
        ChangeKeys(add={"1": Key(say="One."), "#": Key(tool="switch_agent")}, remove=("9", "x")),
        PersonChanged(),
    ],
    ids=lambda effect: type(effect).__name__,
)
async def test_an_effect_that_can_be_carried_out(effect: Effect) -> None:
    """It is passed on; to remove what is not there is no mistake."""
    told, outcome = await run(registry(None, effect), "change")
    assert outcome.effects == (effect,) and told == {"done": True}


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        (SwitchAgent("cellar"), "cellar"),
        (SwitchLanguage("fr"), "fr"),
        (ChangeTools(add=("switch_agent", "fly")), "fly"),
        (ChangeKeys(add={"1": Key(tool="fly")}), "fly"),
        (ChangeKeys(add={"10": Key(say="Ten.")}), "10"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("side_effect", [False, True])
async def test_an_effect_that_cannot(effect: Effect, says: str, side_effect: bool) -> None:
    """The tool has failed, with words for the model; what it did outside of the call may have been done."""
    with capture_logs() as records:
        told, outcome = await run(registry(None, effect, side_effect=side_effect), "change")
    assert told["error"] == "failed" and says in told["message"]
    assert (outcome.ok, outcome.effects, outcome.certain) == (False, (), not side_effect)
    [record] = records
    assert record["tool"] == "change" and record["log_level"] == "error"
