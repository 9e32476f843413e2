"""What is left of a call in its process: nothing that would wait for the garbage collector, which seldom comes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.call import Call
from relay.session import CallSession
from relay.writer import ConversationWriter
from tests.calls.checks import GREETING, heard
from tests.calls.workshop import NAMES, Workshop, book
from tests.running import running, write_agent

OF_A_CALL = (CallSession, Call, ConversationWriter, web.WebSocketResponse)
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[relay]
events = "speaker-events tokens-played"
[says]
fillers = []
"""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nobody collects garbage."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OF_A_CALL))


async def test_nothing_of_a_call_waits_for_the_collector(
    uncollected: None, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """A call in mid reply, one that was resumed and ended by the agent, one whose side effect went on: once they are
    forgotten there is nothing left of them."""
    workshop, before = Workshop(), alive()
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(redis_url, tmp_path / "data", agents=agents, extra_tools=workshop.add) as relay:
        gate, table = Gate(), workshop.hold("table")
        relay.model.script(Reply(["One ", "two"], gate=gate, gate_at=1))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("Count")
            await asyncio.wait_for(gate.reached.wait(), 20)
        async with Caller(relay.url, pace=FAST) as call:
            assert await call.drop() is None
            await call.until(lambda: len(heard(call)) == 1)
            relay.model.script(Reply("Good bye.", tools=[]))
            await call.say("That is all")
            await call.reply()
        relay.model.script(Reply(tools=[book("table")]))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("Book it")
            await asyncio.wait_for(table.reached.wait(), 20)
        table.set()
        gate.set()
        assert alive()["CallSession"] > before["CallSession"]  # remembered for a minute, or until the process leaves
    assert workshop.done["table"] == 1
    assert alive() == before
