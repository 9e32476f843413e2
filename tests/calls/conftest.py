"""Running applications: with the plain test agent, and with agents that get ``info`` frames or do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.calls.checks import GREETING, INFO
from tests.running import Running, running, write_agent


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application on a port of its own; its model says what the test scripts."""
    async with running(redis_url, tmp_path / "data", agents=write_agent(tmp_path / "agents")) as app:
        yield app


@pytest.fixture(params=["info", "no info"])
def events(request: pytest.FixtureRequest) -> str:
    """What the agent is subscribed to."""
    return INFO[request.param]


def agent(events: str, relay: str = "", *, greeting: str = GREETING) -> str:
    return f"""
title = "Test"
greeting = "{greeting}"
tools = ["save_name", "transfer_to_human", "end_call"]
[relay]
events = "{events}"
{relay}
[limits]
after_interrupt = 0.2
interdigit = 0.05
"""


@pytest.fixture
async def talk(events: str, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application with agents that get ``info`` frames, or do not: ``default``; ``terse`` without a greeting;
    ``steadfast``, which may not be interrupted; ``yielding``, whose speech gives way to what it says next."""
    agents = write_agent(tmp_path / "agents", agent(events))
    write_agent(agents, agent(events, greeting=""), "terse")
    write_agent(agents, agent(events, 'interruptible = "none"\nreportInputDuringAgentSpeech = "speech"'), "steadfast")
    write_agent(agents, agent(events, "preemptible = true"), "yielding")
    async with running(redis_url, tmp_path / "data", agents=agents) as app:
        yield app
