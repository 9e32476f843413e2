"""The written calls in ``examples/``, played on the rehearsal model: no account, real tools, a real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from config.values import CHECKOUT
from phone.caller import FAST, Caller
from phone.model import Ask, ModelServer, Rehearsals, Reply
from phone.script_file import Press, Speak, parse_script
from relay.items import Item, ToolItem
from relay.store.orders import Orders
from relay.store.people import People
from relay.store.tours import Tours
from tests.calls.checks import heard
from tests.running import Running, running
from tests.tools.house import DENVER

EXAMPLES = CHECKOUT / "examples"
ADA = "phone:+15555550100"

RESTAURANT = [
    "or a medium margherita?",
    "pickup or delivery?",
    "twenty dollars. Is that right?",
    "the confirmation as a text message?",
    "could not be sent as a text message. Anything else?",
    "could not be sent as a text message. Anything else?",
    "could not be sent as an e-mail. Anything else?",
    "the confirmation as a text message?",
    "closed on Sunday and Monday.",
    "the confirmation as a text message?",
    "Goodbye!",
]
"""How the answer to each line of ``restaurant.txt`` ends; the next line is said then."""

DEFAULT = [
    "first and last name?",
    "or a joke, or a long story?",
    "Which one would you like to try?",
    "Which one would you like?",
    "Dough Boy Pizza will answer.",
    "A, D, A, and then L, O, V, E, L, A, C, E.",
    "What would you like to order?",
    "Is it for pickup or delivery?",
    "Goodbye!",
]

APARTMENTS = [
    "What kind of apartment are you looking for?",
    "a kitchen island, and is available",
    "a walk-in closet, and is available",
    "for 25 dollars a month each.",
    "the deposit is 900 dollars.",
    "Montana 59801.",
    "in person or self-guided.",
    "Which day would you like?",
    "in-person tour of the one-bedroom",  # at half past two, or another one is offered: that differs from day to day
    "You are booked for",
    "You have already booked",
    "You have booked",
    "Press two at any time to hear your tours.",
    "You have booked",
    "Goodbye!",
]


def rehearsal() -> ModelServer:
    """What the agents' scripts say, as fast as it can be said."""
    scripts = Rehearsals.load(CHECKOUT / "config" / "agents")

    def play(ask: Ask) -> Reply:
        return replace(scripts(ask), first=0.0, pace=0.0)

    return ModelServer(play)


async def tools_of(line: Running, call: Caller, count: int) -> list[tuple[str, str]]:
    """Names and statuses of the tools in a call's history."""

    def done(items: list[Item]) -> bool:
        tools = [item for item in items if isinstance(item, ToolItem)]
        return len(tools) == count and all(item.status != "running" for item in tools)

    items = await line.history(call.record.call_sid, until=done)
    return [(item.name, item.status) for item in items if isinstance(item, ToolItem)]


async def played(line: Running, call: Caller, example: str, answers: list[str]) -> None:
    """Every line of the script, and the answer to it heard before the next."""
    steps = parse_script((CHECKOUT / "examples" / f"{example}.txt").read_text())
    await call.greeting_played()
    for step, answer in zip(steps, answers, strict=True):
        before = len(heard(call))
        if isinstance(step, Press):
            await call.press(step.keys)
        else:
            assert isinstance(step, Speak)
            await call.say(step.text)
        await call.until(lambda before=before, answer=answer: answer in " ".join(heard(call)[before:]))
    assert (await call.ended()).how == "agent"


async def test_the_restaurant(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A whole order: placed and then its time in one turn; what could not be sent is said; keys; and the order is
    stored once."""
    async with (
        running(redis_url, tmp_path / "data", model=rehearsal(), rehearsal=True) as line,
        Caller(line.url, agent="restaurant", pace=FAST) as call,
    ):
        await played(line, call, "restaurant", RESTAURANT)
        assert await tools_of(line, call, 8) == [
            ("place_order", "done"),
            ("pickup_time", "done"),
            ("send_order_sms", "failed"),  # there is nobody to send it, so the caller is not asked
            ("send_order_sms", "failed"),
            ("send_order_email", "failed"),
            ("pickup_time", "done"),
            ("pickup_time", "done"),
            ("end_call", "done"),
        ]
        (order,) = await Orders(redis).all(ADA)
        assert (order.kind, order.cents) == ("pickup", 2000)
        assert [line.text for line in order.lines] == ["large pepperoni pizza with mushrooms"]


async def test_the_welcome_desk(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The name and the choice are stored, the restaurant takes the call over, and the next call is the restaurant's."""
    async with running(redis_url, tmp_path / "data", model=rehearsal(), rehearsal=True) as line:
        async with Caller(line.url, pace=FAST) as call:
            await played(line, call, "default", DEFAULT)
            assert await tools_of(line, call, 5) == [
                ("save_name", "done"),
                ("choose_demo", "failed"),  # there is no space station
                ("choose_demo", "done"),
                ("switch_agent", "done"),
                ("end_call", "done"),
            ]
        person = await People(redis).get(ADA)
        assert person is not None
        assert (person.first_name, person.last_name, person.agent) == ("Ada", "Lovelace", "restaurant")
        async with Caller(line.url, pace=FAST) as call:
            assert (await call.greeting_played()).startswith("Dough Boy Pizza, hello!")


@pytest.mark.parametrize("agent", ["default", "restaurant", "apartments"])
async def test_a_person_who_cannot_be_reached(redis_url: str, tmp_path: Path, agent: str) -> None:
    """By key and by word the caller hears that nobody is there, and not what a model was told to do about it."""
    async with (
        running(redis_url, tmp_path / "data", model=rehearsal(), rehearsal=True) as line,
        Caller(line.url, agent=agent, pace=FAST) as call,
    ):
        await call.greeting_played()
        await call.press("0")
        await call.until(lambda: "nobody can be reached right now" in " ".join(heard(call)))
        await call.say("I want to talk to someone")
        await call.until(lambda: " ".join(heard(call)).count("nobody can be reached right now") == 2)
        assert "Tell the caller" not in " ".join(heard(call))


async def test_the_apartments(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Every line is answered, the tools run, and the tour is booked once."""
    async with (
        running(redis_url, tmp_path / "data", model=rehearsal(), rehearsal=True) as line,
        Caller(line.url, agent="apartments", pace=FAST) as call,
    ):
        tours = Tours(redis, DENVER)
        async with asyncio.timeout(10):
            while not await tours.open():  # noqa: ASYNC110  # they are made as the process starts
                await asyncio.sleep(0.01)
        await played(line, call, "apartments", APARTMENTS)
        assert [name for name, status in await tools_of(line, call, 15) if status == "done"] == [
            "save_name",
            *["list_apartments"] * 2,
            *["apartment_info"] * 3,
            *["check_tours"] * 2,
            *["schedule_tour"] * 2,
            *["my_tours"] * 2,
            "end_call",
        ]
        (booked,) = await tours.of(ADA)
        assert (booked.apartment_type, booked.tour_type) == ("one-bedroom", "in-person")


def test_examples_are_named_for_agents() -> None:
    """A written call is played with the agent of its name."""
    assert all((CHECKOUT / "config" / "agents" / file.stem).is_dir() for file in EXAMPLES.glob("*.txt"))
    assert all(f"examples/{file.name}" in file.read_text() for file in EXAMPLES.glob("*.txt"))
