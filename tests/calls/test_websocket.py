"""Calls whose model is asked over websockets (OPENAI_TRANSPORT=websocket): what a caller hears, and what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

# Loaded by the first websocket of a process; here, so that no test's time holds it.
import websockets.asyncio.client  # noqa: F401
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Fault, Gate, ModelServer, Reply, ToolUse
from relay.models import lanes
from tests.calls.checks import GREETING, TALE, eventually, heard, in_order, interrupted, remembers, words_shown
from tests.running import Running, running, write_agent

AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = ["save_name", "end_call"]
[relay]
events = "speaker-events tokens-played"
[limits]
after_interrupt = 0.2
"""


@pytest.fixture
async def talk(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application with its sockets open."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"OPENAI_TRANSPORT": "websocket"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, api="responses") as app:
        yield app


def ways(model: ModelServer) -> list[str]:
    return [request.method for request in model.asked]


async def test_a_call_with_a_tool(talk: Running) -> None:
    """Words, a tool and the round after it come by websocket, each request whole and one the API accepts."""
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
    talk.model.script(Reply("Good morning."), Reply("One moment. ", tools=[name]), Reply("I wrote it down."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Hello")
        assert await call.reply() == "Good morning."
        await call.say("I am Ada Lovelace")
        await call.until(lambda: "I wrote it down." in heard(call))
        await in_order(call)
    assert ways(talk.model) == ["WS"] * 3
    assert [len(asked.body["input"]) for asked in talk.model.asked] == [2, 4, 7]
    assert talk.model.sockets.opened == 2


@pytest.mark.parametrize("cancels", ["honoured", "ignored", "refused"])
async def test_an_interrupted_call(cancels: Any, talk: Running) -> None:
    """The old reply stands still for ever, or speaks on: the caller hears the new one, and the model is shown what was
    heard."""
    talk.model.sockets.cancels = cancels
    gate, late = Gate(), Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply(["As ", "you ", "like."], gate=late, gate_at=1))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "Tell me a story", 4)
        await call.say("Stop it")
        await asyncio.wait_for(late.reached.wait(), 20)
        gate.set()
        await asyncio.wait_for((await talk.model.received(1)).ended.wait(), 20)
        late.set()
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        stale, fresh = talk.model.asked
        assert ways(talk.model) == ["WS", "WS"]
        assert (stale.connection, stale.lane) != (fresh.connection, fresh.lane)
        assert words_shown(fresh) == [GREETING, "Once there was a"]
        assert "previous_response_id" not in fresh.body
        lines = [("assistant", GREETING), ("user", "Tell me a story"), ("assistant", "Once there was a")]
        await remembers(talk, call, [*lines, ("user", "Stop it"), ("assistant", "As you like.")])


@pytest.mark.parametrize("end", ["expire", "drop"])
async def test_a_socket_that_ends_is_not_noticed(end: str, talk: Running) -> None:
    """Before the first word and between turns: the caller hears the reply, as if nothing had been."""
    gate = Gate()
    talk.model.script(Reply("Never heard.", gate=gate), Reply("Good morning."), Reply("It is sunny."))

    async def over() -> None:
        if end == "expire":
            await talk.model.sockets.expire()
        else:
            talk.model.sockets.drop()

    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Hello")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await over()
        assert await call.reply() == "Good morning."
        assert ways(talk.model) == ["WS", "POST"]
        await over()
        await call.say("Weather?")
        assert await call.reply() == "It is sunny."
        await in_order(call)
        assert heard(call) == [GREETING, "Good morning.", "It is sunny."]


async def test_a_reply_is_taken_up_by_http(talk: Running) -> None:
    """A socket that ends in the middle of a reply: the caller hears the reply, every word of it once."""
    talk.model.script(Reply("One two three four.", fault=Fault("cut", 3)), Reply("three four."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Count")
        await call.until(lambda: heard(call)[-1].endswith("four."))
        await in_order(call)
        assert " ".join(heard(call)[1:]) == "One two three four."
    assert ways(talk.model) == ["WS", "POST"]


async def test_a_connection_that_is_gone_without_a_word(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn on a socket that answers nothing is raced by HTTP at the first deadline, and the socket is left."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.05)
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"OPENAI_TRANSPORT": "websocket", "FIRST_TOKEN_DEADLINE": "0.5"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, api="responses") as talk:
        talk.model.script(Reply("Good morning."), Reply("Here I am."))
        async with Caller(talk.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("Hello")
            assert await call.reply() == "Good morning."
            talk.model.sockets.freeze()
            await call.say("Hello?")
            assert await call.reply() == "Here I am."
            assert ways(talk.model) == ["WS", "POST"]
            await eventually(lambda: talk.model.sockets.opened == 3)
