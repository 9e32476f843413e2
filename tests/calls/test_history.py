"""What a call is remembered by: the window the model is shown, and a Redis that comes and goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.frames import Text
from tests.calls.checks import heard, in_order, remembered, shown, told, words_of
from tests.calls.workshop import NAMES, Workshop, book, look
from tests.relay.store.servers import FragileRedis, fragile_redis, patient
from tests.running import Running, running, write_agent

CUT_OFF = "We were cut off. Please go on."
SOON = 10.0
"""Seconds within which words come that wait for nothing; the client of a silent Redis waits for longer."""

AGENT = f"""
title = "Test"
tools = {NAMES}
[says]
fillers = []
"""


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def fragile() -> Iterator[FragileRedis]:
    """A server of the test's own, which it may stop."""
    with fragile_redis() as server:
        yield server


@pytest.fixture
async def line(fragile: FragileRedis, workshop: Workshop, tmp_path: Path) -> AsyncIterator[Running]:
    """The application on the server that may be stopped."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"PREPARE_DEADLINE": "0.2"}
    async with running(
        patient(fragile.url), tmp_path / "data", agents=agents, environ=environ, extra_tools=workshop.add
    ) as app:
        yield app


async def ask(line: Running, call: Caller, words: str, reply: Reply, last: str) -> None:
    """One turn, heard to its end."""
    line.model.script(reply)
    await call.say(words)
    await call.until(lambda: bool(heard(call)) and heard(call)[-1] == last)
    await in_order(call)


async def test_the_model_is_shown_the_last_whole_turns(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """What is older is left out turn by turn, tool calls with their results; what is stored is not cut."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"HISTORY_TOKENS": "120"}
    workshop = Workshop()
    async with (
        running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=workshop.add) as line,
        Caller(line.url, pace=FAST) as call,
    ):
        for number in range(6):
            line.model.script(Reply("Let me see. ", [look(f"dish {number}")]))
            await ask(line, call, f"Is there dish {number}?", Reply(f"Yes, {number}."), f"Yes, {number}.")
        sizes = set()
        for number in range(6):
            entries = shown(line.model.asked[2 * number])
            assert entries[0][0] == entries[-1][0] == "user"
            assert entries[-1][1] == f"Is there dish {number}?"
            kinds = [kind for kind, _ in entries[:-1]]
            assert kinds == ["user", "assistant", "call", "result", "assistant"] * (len(kinds) // 5)
            sizes.add(len(kinds) // 5)
        assert max(sizes) == sizes.pop() if len(sizes) == 1 else max(sizes) in (1, 2, 3)
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 24)
        assert len(items) == 24


@pytest.mark.parametrize("how", ["stopped", "silent"])
async def test_redis_away_during_a_call(line: Running, fragile: FragileRedis, workshop: Workshop, how: str) -> None:
    """Turns, tools and side effects cost no more than with it, and the history is complete when it is back."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Hello", Reply("Hello to you."), "Hello to you.")
        await remembered(line, call.record.call_sid, lambda items: len(items) == 2)
        fragile.stop() if how == "stopped" else fragile.freeze()
        await ask(line, call, "Still there?", Reply("Still here."), "Still here.")
        line.model.script(Reply(tools=[look("soup"), book("table")]))
        await ask(line, call, "Book it", Reply("Booked."), "Booked.")
        turns = [turn.first_words_s for turn in call.record.turns[1:]]
        assert turns[1] is not None and turns[1] < SOON
        assert workshop.done == {"soup": 1, "table": 1}
        fragile.start() if how == "stopped" else fragile.thaw()
        lines = [
            ("user", "Hello"),
            ("assistant", "Hello to you."),
            ("user", "Still there?"),
            ("assistant", "Still here."),
            ("user", "Book it"),
            ("look", "done"),
            ("book", "done"),
            ("assistant", "Booked."),
        ]
        items = await line.history(call.record.call_sid, lambda items: told(items) == lines)
        assert words_of(items) == heard(call)


async def test_a_call_that_begins_while_redis_is_away(line: Running, fragile: FragileRedis) -> None:
    """It is taken and answered; all of it is remembered once Redis is back."""
    fragile.stop()
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Hello", Reply("Hello to you."), "Hello to you.")
        await ask(line, call, "Again", Reply("And again."), "And again.")
        assert (call.record.turns[2].first_words_s or 9) < SOON
        await call.hang_up()
    fragile.start()
    lines = [("user", "Hello"), ("assistant", "Hello to you."), ("user", "Again"), ("assistant", "And again.")]
    await line.history(call.record.call_sid, lambda items: told(items) == lines)


async def test_a_dropped_call_is_resumed_without_redis(line: Running, fragile: FragileRedis) -> None:
    """By the process that had it: the model is shown what was said before the drop."""
    async with Caller(line.url, pace=FAST) as call:
        fragile.stop()
        await ask(line, call, "I am Ada", Reply("Hello, Ada."), "Hello, Ada.")
        assert await call.drop() is None
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        await ask(line, call, "Who am I?", Reply("You are Ada."), "You are Ada.")
        lines = [("user", "I am Ada"), ("assistant", "Hello, Ada."), ("assistant", CUT_OFF), ("user", "Who am I?")]
        assert shown(line.model.asked[-1]) == lines
        fragile.start()
        await line.history(call.record.call_sid, lambda items: told(items) == [*lines, ("assistant", "You are Ada.")])


async def test_a_reply_is_saved_as_it_is_heard(redis: Redis, relay: Running) -> None:
    """While it is still being written: that is all a process that dies may cost."""
    gate = Gate()
    relay.model.script(Reply(["One fox came, ", "two ", "hens and so on."], gate=gate, gate_at=2))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await call.until(lambda: call.record.turn.heard == "One fox came,")
        items = await remembered(
            relay, call.record.call_sid, lambda items: len(items) == 3 and getattr(items[2], "heard", 0) == 3
        )
        assert getattr(items[2], "status", "") == "open" and getattr(items[2], "heard", 0) == 3
        assert call.frames[-1] != Text("", last=True)
        gate.set()
        await call.reply()
        await in_order(call)
        items = await remembered(relay, call.record.call_sid, lambda items: words_of(items) == heard(call))
        assert words_of(items)[-1] == "One fox came, two hens and so on."
