"""A process leaves while calls talk: they end by themselves or go on in another process, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from config.says import BUILT_IN
from handlers.callbacks import INCOMING
from handlers.health import READY
from handlers.keys import CALLS, DRAIN, RELAY_SOCKET
from phone.caller import FAST, Caller, CallRefused
from phone.model import Gate, Reply
from relay.turns import CUT_NOTE
from tests.calls.checks import heard, in_order, remembers, shown
from tests.calls.house import House, open_house
from tests.calls.workshop import NAMES, book
from tests.running import Running

GREETING = "Hello from the test."
MOVING = BUILT_IN["moving"]["en"]
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[says]
fillers = []
"""


@pytest.fixture
async def house(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A process that is to leave, and another one."""
    async with open_house(redis_url, tmp_path, AGENT, "another process") as made:
        yield made


@asynccontextmanager
async def leaving(relay: Running, *, hurry: bool) -> AsyncIterator[None]:
    """The process leaves inside, and has left behind it. ``hurry``: calls are handed on at once."""
    drain, socket = relay.app[DRAIN], relay.app[RELAY_SOCKET]
    task = asyncio.create_task(drain.run(socket, relay.app[CALLS].hand_on))
    if hurry:
        drain.hurry()
    await asyncio.sleep(0)
    yield
    async with asyncio.timeout(20):
        await task
    assert socket.calls == 0


async def sessions(call: Caller, count: int) -> None:
    await call.until(lambda: len(call.record.session_ids) == count or call.outcome is not None)
    assert call.outcome is None


async def ready(relay: Running) -> int:
    async with aiohttp.ClientSession() as http, http.get(relay.url + READY) as answer:
        return answer.status


async def test_a_call_at_rest_goes_on_elsewhere(house: House) -> None:
    """The caller hears one line, and the next process answers as if nothing had been."""
    house.first.model.script(Reply("Hello, Ada."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("I am Ada")
        assert await call.reply() == "Hello, Ada."
        house.front.pass_on(house.then.url)
        async with leaving(house.first, hurry=True):
            await sessions(call, 2)
        house.then.model.script(Reply("You are Ada."))
        await call.say("Who am I?")
        await call.until(lambda: heard(call)[-1] == "You are Ada.")
        await in_order(call)
        assert heard(call) == [GREETING, "Hello, Ada.", MOVING, "You are Ada."]
        assert shown(house.then.model.asked[-1]) == [
            ("assistant", GREETING),
            ("user", "I am Ada"),
            ("assistant", "Hello, Ada."),
            ("user", "Who am I?"),
        ]
        assert call.record.actions[0]["SessionStatus"] == "ended"
        await remembers(
            house.then,
            call,
            [
                ("assistant", GREETING),
                ("user", "I am Ada"),
                ("assistant", "Hello, Ada."),
                ("assistant", MOVING),
                ("user", "Who am I?"),
                ("assistant", "You are Ada."),
            ],
        )


async def test_a_reply_goes_on_elsewhere(house: House) -> None:
    """What was cut is taken up by itself, from what was heard; the old request is closed."""
    gate = Gate()
    house.first.model.script(Reply(["One fox came, ", "two ", "hens and so on."], gate=gate, gate_at=2))
    house.then.model.script(Reply("And hens."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await call.until(lambda: call.record.turn.heard == "One fox came,")
        house.front.pass_on(house.then.url)
        async with leaving(house.first, hurry=True):
            await call.until(lambda: heard(call)[-1] == "And hens.")
        first = await house.first.model.received(1)
        assert first.closed_early
        await in_order(call)
        assert heard(call) == [GREETING, "One fox came, two", MOVING, "And hens."]
        asked = shown(house.then.model.asked[-1])
        assert asked[:3] == [("assistant", GREETING), ("user", "A story"), ("assistant", "One fox came, two")]
        assert CUT_NOTE in asked[3][1]


async def test_a_question_without_an_answer_is_answered_elsewhere(house: House) -> None:
    """Once: the process that leaves does not answer it any more."""
    gate = Gate()
    house.first.model.script(Reply("Never heard.", gate=gate))
    house.then.model.script(Reply("Once there was a fox."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await gate.reached.wait()
        house.front.pass_on(house.then.url)
        async with leaving(house.first, hurry=True):
            await call.until(lambda: heard(call)[-1] == "Once there was a fox.")
        await in_order(call)
        assert heard(call) == [GREETING, MOVING, "Once there was a fox."]


async def test_a_side_effect_is_finished_here_and_told_there(house: House) -> None:
    """The next process finds its result and does nothing twice."""
    gate = house.workshop.hold("table")
    house.first.model.script(Reply(tools=[book("table")]))
    house.then.model.script(Reply("Your table is booked."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        house.front.pass_on(house.then.url)
        async with leaving(house.first, hurry=True):
            await call.until(lambda: heard(call)[-1] == MOVING)
            gate.set()
            await call.until(lambda: heard(call)[-1] == "Your table is booked.")
        await in_order(call)
        assert house.workshop.done["table"] == 1
        results = [text for kind, text in shown(house.then.model.asked[-1]) if kind == "result"]
        assert len(results) == 1 and '"time":1' in results[0]


async def test_a_call_that_ends_in_time_is_not_disturbed(house: House) -> None:
    """While the process leaves it is not ready and takes no new call, and its calls talk on, and are answered for."""
    house.first.model.script(Reply("Hello, Ada."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        async with leaving(house.first, hurry=False):
            assert await ready(house.first) == 503
            with pytest.raises(CallRefused, match="503"):
                async with Caller(house.first.url, pace=FAST):
                    pass
            await call.say("I am Ada")
            assert await call.reply() == "Hello, Ada."
            await call.hang_up()
        assert call.record.faults == []
        assert heard(call) == [GREETING, "Hello, Ada."]


async def test_a_session_that_breaks_meanwhile_is_taken_up_by_the_same_process(house: House) -> None:
    """Until calls are handed on whoever was told to come here is let in: there may be nobody else."""
    async with Caller(house.first.url, pace=FAST) as call:
        await call.greeting_played()
        async with leaving(house.first, hurry=False):
            assert await call.drop() is None
            house.first.model.script(Reply("Yes."))
            await call.say("Are you there?")
            await call.until(lambda: heard(call)[-1] == "Yes.")
            await call.hang_up()
        assert call.record.faults == []


async def test_alone_it_tells_twilio_to_wait(house: House) -> None:
    """Where no other process answers for the call, the one that leaves does: the next session begins after its end."""
    async with Caller(house.first.url, pace=FAST) as call:
        await call.greeting_played()
        async with leaving(house.first, hurry=True):
            await call.until(lambda: call.outcome is not None)  # this phone does not wait, and finds nobody
        assert call.record.pauses and call.record.pauses[0] >= 4


async def test_many_calls_at_once(house: House) -> None:
    """Each is handed on with one line, and each goes on."""
    count = 20
    async with asyncio.TaskGroup() as group:
        gone = asyncio.Event()
        talking = asyncio.Barrier(count + 1)

        async def one(number: int) -> None:
            async with Caller(house.front.url, pace=FAST) as call:
                await call.greeting_played()
                await talking.wait()
                await gone.wait()
                await sessions(call, 2)
                await call.say(f"Number {number}")
                await call.until(lambda: heard(call)[-1] == "Yes.")
                assert heard(call) == [GREETING, MOVING, "Yes."]
                assert call.record.faults == []

        for number in range(count):
            group.create_task(one(number))
        await talking.wait()
        house.then.model.script(*[Reply("Yes.")] * count)
        house.front.pass_on(house.then.url)
        async with leaving(house.first, hurry=True):
            gone.set()


async def test_a_new_call_is_told_to_come_again(house: House) -> None:
    """503 makes Twilio ask the number's fallback."""
    async with leaving(house.first, hurry=False), aiohttp.ClientSession() as http:
        fields = {"CallSid": "CA" + "1" * 32, "CallStatus": "ringing"}
        async with http.post(house.first.url + INCOMING, data=fields) as answer:
            assert answer.status == 503
