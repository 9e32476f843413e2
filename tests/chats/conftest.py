"""A running application whose agents chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chats.house import AGENT, SALES
from tests.running import Running, running, write_agent


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application on a port of its own; its model says what the test scripts."""
    agents = write_agent(write_agent(tmp_path / "agents", AGENT), SALES, "sales")
    async with running(redis_url, tmp_path / "data", agents=agents) as app:
        yield app
