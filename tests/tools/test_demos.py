"""The choice of a demonstration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.people import People
from relay.toolbox import ToolContext
from tools.demos import add_demos
from tools.registry import ToolRegistry

ADA = "phone:+15550100123"
CALL = ToolContext("CA1", "voice", "default", person=ADA, language="en-US")


@dataclass(frozen=True)
class Agent:
    name: str
    title: str


AGENTS: Mapping[str, Agent] = {
    name: Agent(name, title)
    for name, title in (
        ("apartments", "Parkview Apartments"),
        ("default", "Welcome desk"),
        ("restaurant", "Dough Boy Pizza"),
        ("spa", "Spa Two Springs"),
    )
}


class Away:
    async def update(self, person: str, /, **changes: str) -> None:
        raise StoreError("away")


async def chosen(people: Any, agent: str, context: ToolContext = CALL) -> dict[str, Any]:
    registry = ToolRegistry()
    add_demos(registry, people, lambda: AGENTS, "default")
    outcome = await registry.run("choose_demo", orjson.dumps({"agent": agent}).decode(), context)
    result: dict[str, Any] = orjson.loads(outcome.output)
    assert outcome.ok == ("error" not in result)
    return result


async def test_a_choice_is_saved(redis: Redis) -> None:
    """For the person's next call; nothing else of them is changed, and the caller is told what to do."""
    people = People(redis)
    await people.update(ADA, first_name="Ada", email="ada@example.com")
    assert await chosen(people, "restaurant") == {
        "agent": "restaurant",
        "title": "Dough Boy Pizza",
        "saved": True,
        "message": "The choice is saved. Hang up and call this number again: Dough Boy Pizza will answer.",
    }
    person = await people.get(ADA)
    assert person is not None
    assert (person.agent, person.first_name, person.email) == ("restaurant", "Ada", "ada@example.com")


@pytest.mark.parametrize(
    ("said", "agent"),
    [
        ("restaurant", "restaurant"),
        ("Restaurant", "restaurant"),
        ("the restaurant", "restaurant"),
        ("el restaurante", "restaurant"),
        ("Dough Boy Pizza", "restaurant"),
        ("the pizza demo", "restaurant"),
        ("apartment", "apartments"),
        ("Parkview", "apartments"),
        ("1", "apartments"),
        ("one", "apartments"),
        ("the first one", "apartments"),
        ("number two", "restaurant"),
        ("the second one", "restaurant"),
        ("la segunda, por favor", "restaurant"),
        ("2nd", "restaurant"),
        ("third", "spa"),
        ("two springs", "spa"),
        ("default", "default"),
        ("Welcome desk", "default"),
        ("start over", "default"),
        ("I want to start over, please", "default"),
        ("main menu", "default"),
        ("empezar de nuevo", "default"),
    ],
)
async def test_a_choice_may_be_said_in_many_ways(redis: Redis, said: str, agent: str) -> None:
    """Key, title, number on the list the caller heard, a word of the title, in English and in Spanish."""
    assert (await chosen(People(redis), said))["agent"] == agent


@pytest.mark.parametrize("said", ["", "  ", "hotel", "4", "number nine", "the", "one or two", "pizza or apartments"])
async def test_what_is_no_choice_is_asked_about(redis: Redis, said: str) -> None:
    """The model is told which there are; nothing is saved."""
    result = await chosen(People(redis), said)
    assert result["error"] == "try_again"
    assert "Parkview Apartments (apartments), Welcome desk (default)" in result["message"]
    assert await redis.keys("*") == []


async def test_starting_over_removes_the_choice(redis: Redis) -> None:
    """Whichever agent is the default one answers the next call."""
    people = People(redis)
    await chosen(people, "spa")
    assert (await chosen(people, "default", replace(CALL, agent="spa")))["saved"] is True
    assert await people.get(ADA) is None


@pytest.mark.parametrize("person", ["", "anonymous:CA1"])
async def test_a_withheld_number_is_not_remembered(redis: Redis, person: str) -> None:
    """And the caller is told so."""
    result = await chosen(People(redis), "restaurant", replace(CALL, person=person))
    assert (result["saved"], result["agent"]) == (False, "restaurant")
    assert "number is withheld" in result["message"]
    assert await redis.keys("*") == []


async def test_a_store_that_is_away_is_told() -> None:
    """The choice is not promised."""
    result = await chosen(Away(), "restaurant")
    assert result["error"] == "failed" and "could not be saved" in result["message"]


async def test_a_caller_in_spanish_is_answered_in_spanish(redis: Redis) -> None:
    """On success, without a number, and for what is no choice."""
    spanish = replace(CALL, language="es-US")
    people = People(redis)
    assert (await chosen(people, "2", spanish))["message"].startswith("La elección está guardada.")
    assert "oculto" in (await chosen(people, "2", replace(spanish, person="")))["message"]
    assert (await chosen(people, "hotel", spanish))["message"].startswith("No existe esa demostración.")
    assert (await chosen(Away(), "spa", spanish))["message"].startswith("Ahora mismo no se ha podido")
