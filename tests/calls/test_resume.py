"""A call whose connection is lost: the action callback connects it anew, here or in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from phone.twiml import ConversationRelay, Hangup, parse_twiml
from relay.items import AssistantItem, Item
from tests.calls.checks import heard, in_order, remembered, remembers, shown
from tests.calls.front import Front
from tests.calls.house import PROCESSES, House, open_house
from tests.calls.workshop import NAMES, Workshop, book
from tests.running import Running, running, write_agent

GREETING = "Hello from the test."
CUT_OFF = "We were cut off. Please go on."
TROUBLE = "I'm sorry, we are having technical trouble."
NUMBER = "+15555550111"
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[says]
fillers = []
"""


@pytest.fixture(params=PROCESSES)
async def house(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """The call's first process and the one after the drop."""
    async with open_house(redis_url, tmp_path, AGENT, request.param) as made:
        yield made


def heard_of_the_last(words: int) -> Callable[[list[Item]], object]:
    """The last thing on record is a reply in progress, of which so many words are known to be heard."""
    return lambda items: len(items) == 3 and isinstance(items[2], AssistantItem) and items[2].heard == words


async def test_dropped_in_the_middle_of_a_reply(house: House) -> None:
    """The reply is cut to what was heard, one line says what happened, and the conversation goes on."""
    gate = Gate()
    house.first.model.script(Reply(["One fox came, ", "two ", "hens and so on."], gate=gate, gate_at=2))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await call.until(lambda: call.record.turn.heard == "One fox came,")
        await remembered(house.first, call.record.call_sid, heard_of_the_last(3))
        await house.drop(call)
        first = await house.first.model.received(1)
        await asyncio.wait_for(first.ended.wait(), 20)
        assert first.closed_early
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        count = len(house.then.model.asked)
        house.then.model.script(Reply("A fox came."))
        await call.say("Who came?")
        await call.until(lambda: heard(call)[-1] == "A fox came.")
        await in_order(call)
        assert heard(call) == [GREETING, "One fox came,", CUT_OFF, "A fox came."]
        assert shown(await house.then.model.received(count + 1)) == [
            ("assistant", GREETING),
            ("user", "A story"),
            ("assistant", "One fox came,"),
            ("assistant", CUT_OFF),
            ("user", "Who came?"),
        ]
        await remembers(house.then, call, [*shown(house.then.model.asked[-1]), ("assistant", "A fox came.")])
        assert call.record.actions[0]["SessionStatus"] == "failed"


async def test_dropped_before_anything_was_said(house: House) -> None:
    """The words that have no answer yet are answered at once, without being said again."""
    gate = Gate()
    house.first.model.script(Reply("Never heard.", gate=gate))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await gate.reached.wait()
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 2)
        count = len(house.then.model.asked)
        house.then.model.script(Reply("Once there was a fox."))
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == "Once there was a fox.")
        await in_order(call)
        assert heard(call) == [GREETING, "Once there was a fox."]
        assert shown(await house.then.model.received(count + 1)) == [("assistant", GREETING), ("user", "A story")]


async def test_dropped_in_silence(house: House) -> None:
    """Nothing was open: one line, and the model is not asked."""
    house.first.model.script(Reply("Hello, Ada."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("I am Ada")
        await call.until(lambda: heard(call)[-1] == "Hello, Ada.")
        await in_order(call)
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 3)
        count = len(house.then.model.asked)
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        await in_order(call)
        assert heard(call) == [GREETING, "Hello, Ada.", CUT_OFF]
        assert len(house.then.model.asked) == count
        await remembers(
            house.then,
            call,
            [("assistant", GREETING), ("user", "I am Ada"), ("assistant", "Hello, Ada."), ("assistant", CUT_OFF)],
        )


async def test_dropped_while_a_side_effect_runs(house: House) -> None:
    """The model is told that its outcome is unknown; the same call made again does nothing twice."""
    gate = house.workshop.hold("table")
    house.first.model.script(Reply(tools=[book("table")]))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 3)
        count = len(house.then.model.asked)
        house.then.model.script(Reply(tools=[book("table")]), Reply("Let me check that."))
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == "Let me check that.")
        assert house.workshop.begun["table"] == 1
        asked = shown(await house.then.model.received(count + 2))
        results = [orjson.loads(text) for kind, text in asked if kind == "result"]
        assert [result.get("status") or result.get("error") for result in results] == ["unknown", "unknown_outcome"]
        gate.set()
        await in_order(call)


@pytest.mark.parametrize("transfer_to", ["", NUMBER], ids=["nobody", "a person"])
async def test_the_limit_of_resumes(redis: Redis, redis_url: str, tmp_path: Path, transfer_to: str) -> None:
    """After so many the caller hears an apology, and is handed over or hung up on."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"RESUME_LIMIT": "2", "TRANSFER_TO": transfer_to}
    async with (
        running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=Workshop().add) as line,
        Caller(line.url, pace=FAST) as call,
    ):
        await call.greeting_played()
        for number in range(2):
            assert await call.drop() is None
            await call.until(lambda number=number: heard(call).count(CUT_OFF) == number + 1)  # type: ignore[misc]
            await in_order(call)
        outcome = await call.drop()
        assert outcome is not None
        assert (outcome.how, outcome.number) == (("transfer", NUMBER) if transfer_to else ("lost", ""))
        assert call.transcript[-1].who == "twilio"
        assert call.transcript[-1].text.startswith(TROUBLE)
        assert len(call.record.session_ids) == 3


async def test_a_call_nobody_knows(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    """Taken up by a process that finds nothing of it, it goes on all the same, from the beginning."""
    agents, tools = write_agent(tmp_path / "agents", AGENT), Workshop().add
    async with (
        running(redis_url, tmp_path / "data", agents=agents, extra_tools=tools) as first,
        running(f"{redis_url}&db=1", tmp_path / "data", agents=agents, extra_tools=tools) as then,
        Front(first.url) as front,
        Caller(front.url, pace=FAST) as call,
    ):
        await call.greeting_played()
        front.fail_over(then.url)
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        then.model.script(Reply("Fine."))
        await call.say("Are you there?")
        await call.until(lambda: heard(call)[-1] == "Fine.")
        assert shown(then.model.asked[-1]) == [("assistant", CUT_OFF), ("user", "Are you there?")]


async def test_the_action_of_an_unknown_call(relay: Running) -> None:
    """In progress, it is connected to a session without history; over, there is nothing more to do."""
    fields = {"CallSid": "CA" + "7" * 32, "SessionId": "VX1", "SessionStatus": "failed", "CallStatus": "in-progress"}
    async with aiohttp.ClientSession() as http:

        async def verbs(**changed: str) -> list[type]:
            async with http.post(f"{relay.url}/voice/action", data={**fields, **changed}) as response:
                assert response.status == 200
                return [type(verb) for verb in parse_twiml(await response.read())]

        assert await verbs() == [ConversationRelay]
        assert await verbs(SessionId="VX2", SessionStatus="completed", CallStatus="completed") == []
        assert await verbs(SessionId="VX3", SessionStatus="ended") == [Hangup]
