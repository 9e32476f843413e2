from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.people import People
from relay.toolbox import PersonChanged, ToolContext
from tools.profile import MAX_NAME, add_profile
from tools.registry import ToolRegistry

CONTEXT = ToolContext("CA1", "voice", "default", person="phone:+15550100123")


class Away:
    """A store that does not answer."""

    async def update(self, person: str, /, **changes: str) -> None:
        raise StoreError("away")


class Kept:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, dict[str, str]]] = []

    async def update(self, person: str, /, **changes: str) -> None:
        self.changes.append((person, changes))


def named(first: str, last: str) -> str:
    return orjson.dumps({"first_name": first, "last_name": last}).decode()


async def test_a_name_is_saved(redis: Redis) -> None:
    """First and last name reach the person in the store, with single spaces, and nothing else is changed."""
    people = People(redis)
    await people.update(CONTEXT.person, email="ada@example.com")
    registry = ToolRegistry()
    add_profile(registry, people)
    outcome = await registry.run("save_name", named(" Ada ", "King  Lovelace"), CONTEXT)
    assert outcome.ok
    assert orjson.loads(outcome.output) == {"saved": True, "message": "The name Ada King Lovelace is saved."}
    person = await people.get(CONTEXT.person)
    assert person is not None
    assert (person.first_name, person.last_name, person.email) == ("Ada", "King Lovelace", "ada@example.com")


async def test_the_name_of_a_caller_without_a_number_holds_for_the_call(redis: Redis) -> None:
    """It is used in it, and nobody is told that it will be known the next time."""
    people, context = People(redis), replace(CONTEXT, person="anonymous:CA1", address="")
    registry = ToolRegistry()
    add_profile(registry, people)
    outcome = await registry.run("save_name", named("Ada", "Lovelace"), context)
    assert outcome.effects == (PersonChanged(),) and "for this call" in outcome.output
    person = await people.get("anonymous:CA1")
    assert person is not None and person.first_name == "Ada"


@pytest.mark.parametrize("name", ["Ada", "Мария", "小明", "O’Neill-Smith", "می\u200cنا", "x" * MAX_NAME])
async def test_names_of_all_scripts_are_names(name: str) -> None:
    """A name may be of any script, up to MAX_NAME characters."""
    people = Kept()
    registry = ToolRegistry()
    add_profile(registry, people)
    assert (await registry.run("save_name", named(name, name), CONTEXT)).ok
    assert people.changes == [(CONTEXT.person, {"first_name": name, "last_name": name})]


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("", "Lovelace", "first_name is empty"),
        ("Ada", " \n ", "last_name is empty"),
        ("x" * (MAX_NAME + 1), "Lovelace", "first_name is longer than 80 characters"),
        ("Ada", "Love\x00lace", "last_name holds characters"),
        ("Ada\u202e", "Lovelace", "first_name holds characters"),
    ],
)
async def test_what_cannot_be_a_name_is_not_saved(first: str, last: str, told: str) -> None:
    """The model is told which argument is wrong and may try again; nothing is written."""
    people = Kept()
    registry = ToolRegistry()
    add_profile(registry, people)
    outcome = await registry.run("save_name", named(first, last), CONTEXT)
    assert not outcome.ok
    assert orjson.loads(outcome.output)["error"] == "try_again"
    assert told in outcome.output
    assert people.changes == []


async def test_a_store_that_is_away_does_not_end_the_conversation() -> None:
    """Where the name cannot be written the model is told to go on."""
    registry = ToolRegistry()
    add_profile(registry, Away())
    outcome = await registry.run("save_name", named("Ada", "Lovelace"), CONTEXT)
    assert not outcome.ok
    assert orjson.loads(outcome.output)["error"] == "failed"
    assert "could not be saved" in outcome.output


async def test_nobody_in_particular_is_not_saved() -> None:
    """A conversation without a person uses the name and writes nothing."""
    people = Kept()
    registry = ToolRegistry()
    add_profile(registry, people)
    outcome = await registry.run("save_name", named("Ada", "Lovelace"), ToolContext("CA1", "voice", "default"))
    assert outcome.ok
    assert orjson.loads(outcome.output)["saved"] is False
    assert people.changes == []
    assert registry.policy("save_name").side_effect
