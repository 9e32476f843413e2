"""The tools of the keypad by themselves: what they ask for, and what they tell the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relay.collecting import LONGEST
from relay.toolbox import DigitsWanted, Keyed, SendDigits, ToolContext, ToolOutcome
from tools.keypad import MOST_SECONDS, add_keypad
from tools.registry import ToolRegistry

CONTEXT = ToolContext("CA1", "voice", "default")


@pytest.fixture
def registry() -> ToolRegistry:
    made = ToolRegistry()
    add_keypad(made)
    return made


async def collected(registry: ToolRegistry, keyed: Keyed, **arguments: Any) -> tuple[ToolOutcome, list[DigitsWanted]]:
    wishes: list[DigitsWanted] = []

    async def keypad(wanted: DigitsWanted) -> Keyed:
        wishes.append(wanted)
        return keyed

    context = replace(CONTEXT, keypad=keypad)
    return await registry.run("collect_digits", orjson.dumps(arguments).decode(), context), wishes


def test_the_tool_outlasts_the_keys(registry: ToolRegistry) -> None:
    """Its deadline does not end what the caller has time for."""
    deadline = registry.policy("collect_digits").deadline
    assert deadline is not None
    assert deadline > LONGEST > MOST_SECONDS


async def test_what_it_asks_for(registry: ToolRegistry) -> None:
    """The model's wish, with # and ten seconds where it names none."""
    _, wishes = await collected(registry, Keyed("12", True), count=2)
    assert wishes == [DigitsWanted(2, "#", 10.0)]
    _, wishes = await collected(registry, Keyed("12", True), count=2, terminator="", timeout=60)
    assert wishes == [DigitsWanted(2, "", 60.0)]


@pytest.mark.parametrize(
    ("keyed", "words"),
    [
        (Keyed("1234", True), "all of it"),
        (Keyed("123", True), "ended the input with * after 3"),
        (Keyed("123", False), "Only 3 of 4"),
        (Keyed("", False), "nothing"),
    ],
)
async def test_what_it_tells(registry: ToolRegistry, keyed: Keyed, words: str) -> None:
    """The keys as they were pressed, whether they are all, and what to do where they are not."""
    outcome, _ = await collected(registry, keyed, count=4, terminator="*")
    result = orjson.loads(outcome.output)
    assert (result["digits"], result["complete"]) == (keyed.digits, keyed.complete)
    assert words in result["message"]
    assert outcome.ok
    assert "1234" not in repr(outcome) + repr(keyed)


async def test_where_there_is_no_keypad(registry: ToolRegistry) -> None:
    """On other channels nothing is keyed in, and the model asks in another way."""
    outcome = await registry.run("collect_digits", '{"count":4}', CONTEXT)
    assert orjson.loads(outcome.output)["complete"] is False


async def test_tones_are_an_effect(registry: ToolRegistry) -> None:
    """Spaces are the model's; the rest is sent as it is."""
    outcome = await registry.run("send_digits", '{"digits":" 1 w2#"}', CONTEXT)
    assert outcome.effects == (SendDigits("1w2#"),)
