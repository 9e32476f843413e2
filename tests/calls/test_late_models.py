"""A caller does not wait for a model that is late: by settings, over a real call."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Fault, Gate, ModelServer, Reply
from tests.calls.checks import in_order
from tests.running import Running, running, write_agent

AGENT = """
title = "Test"
tools = []
"""


async def metrics(line: Running) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{line.url}/metrics") as response:
        return await response.text()


async def test_a_late_model_is_raced_by_another_request(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The caller hears the first that speaks, once."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"FIRST_TOKEN_DEADLINE": "0.3"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line:
        line.model.script(Reply("Too late.", gate=Gate()), Reply("Here I am."))
        async with Caller(line.url, pace=FAST) as call:
            await call.say("Hello")
            assert await call.reply() == "Here I am."
            await in_order(call)
            assert 'relay_hedges_total{winner="second"} 1.0' in await metrics(line)
            assert [request.closed_early for request in line.model.asked] == [True, False]


async def test_a_failing_model_is_stood_in_for(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """By the fallback: another endpoint, key and model, asked as its own API wants it."""
    agents = write_agent(tmp_path / "agents", AGENT + 'model = "big"\nreasoning = "low"\n')
    async with ModelServer(key="spare-key", models=["spare"]) as spare:
        environ = {
            "OPENAI_FALLBACK_MODEL": "spare",
            "OPENAI_FALLBACK_BASE_URL": spare.url,
            "OPENAI_FALLBACK_API_KEY": "spare-key",
        }
        async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line:
            line.model.script(Reply(fault=Fault("status")), Reply("One two three four.", fault=Fault("cut", 3)))
            spare.script(Reply("I stand in."), Reply("three four."))
            async with Caller(line.url, pace=FAST) as call:
                await call.say("Hello")
                assert await call.reply() == "I stand in."
                await in_order(call)
                await call.say("Count")
                assert await call.reply() == "One two three four."
                assert [request.body["model"] for request in line.model.asked] == ["big", "big"]
                assert line.model.asked[0].body["reasoning_effort"] == "low"
                assert "reasoning_effort" not in spare.asked[0].body
            text = await metrics(line)
            assert 'relay_fallback_total{reason="error"} 1.0' in text
            assert 'relay_fallback_total{reason="cut"} 1.0' in text


async def test_an_agents_own_deadline(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """An agent whose model is slow by nature is given its time."""
    agents = write_agent(tmp_path / "agents", AGENT + "[limits]\nfirst_token_deadline = 10\n")
    gate = Gate()
    environ = {"FIRST_TOKEN_DEADLINE": "0.01"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line:
        line.model.script(Reply("I had to think.", first=0.1, gate=gate))
        async with Caller(line.url, pace=FAST) as call:
            await call.say("Hello")
            await gate.reached.wait()
            gate.set()
            assert await call.reply() == "I had to think."
            assert len(line.model.asked) == 1
