"""How often a person has called, on a real server."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.callers import WINDOW, Callers
from relay.store.client import connect

ANN, BOB = "phone:+15551234567", "phone:+15557654321"
NOW = 1_800_000_000.0


async def test_so_many_in_an_hour(redis: Redis) -> None:
    """The limit's number is taken, each person's by itself; when the first is an hour old there is room again."""
    callers = Callers(redis, 2)
    taken = [await callers.take(ANN, f"CA{number}", NOW + number * 60) for number in range(3)]
    assert taken == [True, True, False]
    assert await callers.take(BOB, "CA9", NOW)
    assert not await callers.take(ANN, "CA4", NOW + WINDOW - 1)
    assert await callers.take(ANN, "CA4", NOW + WINDOW + 1)


async def test_a_call_counts_once(redis: Redis) -> None:
    """However often it is told of, by whatever process, also when the person has had as many as they may."""
    for callers in (Callers(redis, 1), Callers(redis, 1), Callers(redis, 1)):
        assert await callers.take(ANN, "CA1", NOW)
        assert not await callers.take(ANN, "CA2", NOW)


async def test_it_expires_and_is_forgotten(redis: Redis) -> None:
    """An hour after the last call that was taken nothing is left; nor is after ``forget``."""
    callers = Callers(redis, 5)
    await callers.take(ANN, "CA1", NOW)
    (key,) = await redis.keys("*")
    assert key == f"person:{{{ANN}}}:hour".encode()
    assert 0 < await redis.pttl(key) <= WINDOW * 1000
    assert (await callers.forget(ANN), await callers.forget(ANN)) == (1, 0)
    assert await redis.keys("*") == []


async def test_a_server_that_is_away() -> None:
    """Said by StoreError."""
    redis = connect("unix:///nonexistent/redis.sock")
    with pytest.raises(StoreError):
        await Callers(redis, 1).take(ANN, "CA1", NOW)
    await redis.aclose()
