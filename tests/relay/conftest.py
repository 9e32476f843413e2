"""Conversations of this process and of another one, and a Redis that may be stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.conversations import Conversations
from relay.store.history import History
from tests.relay.histories import QUICK, WatchedHistory


@pytest.fixture
def history(redis: Redis) -> WatchedHistory:
    return WatchedHistory(redis)


@pytest.fixture
async def here(history: WatchedHistory) -> AsyncIterator[Conversations]:
    """This process."""
    conversations = Conversations(history, pace=QUICK)
    yield conversations
    history.gate.set()
    await conversations.close(1)


@pytest.fixture
async def elsewhere(redis: Redis) -> AsyncIterator[Conversations]:
    """Another process with the same Redis."""
    conversations = Conversations(History(redis, 60), pace=QUICK)
    yield conversations
    await conversations.close(1)
