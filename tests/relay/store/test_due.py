"""Work that is due: who gets it, and what becomes of it."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.store.client import connect
from relay.store.due import Claimed, Due

LEASE = 10.0


@pytest.fixture
def due(redis: Redis) -> Due:
    return Due(redis, "work", LEASE)


async def test_nobody_gets_it_before_its_time(due: Due) -> None:
    """The earlier of two moments counts, whichever was asked for last."""
    await due.add(0, {"a": 500, "b": 2000})
    await due.add(0, {"a": 900, "b": 1000})
    assert await due.claim(499, 10) == []
    assert await due.claim(500, 10) == [Claimed("a", 10_500)]
    assert await due.claim(1000, 10) == [Claimed("b", 11_000)]


async def test_one_of_many_gets_it(redis_url: str, due: Due) -> None:
    """However many ask at once."""
    await due.add(0, {str(number): 0 for number in range(20)})
    clients = [connect(redis_url) for _ in range(10)]
    taken = await asyncio.gather(*(Due(client, "work", LEASE).claim(1, 3) for client in clients for _ in range(2)))
    members = [each.member for batch in taken for each in batch]
    assert sorted(members) == sorted(str(number) for number in range(20))
    for client in clients:
        await client.aclose()


async def test_another_gets_it_when_the_lease_has_passed(due: Due) -> None:
    """And whoever had it before has no say any more."""
    await due.add(0, {"a": 0})
    [first] = await due.claim(0, 10)
    assert await due.claim(9_999, 10) == []
    [second] = await due.claim(10_000, 10)
    assert not await due.release(first, None)
    assert await due.claim(10_001, 10) == []
    assert await due.release(second, None)
    assert await due.claim(99_999, 10) == []


async def test_released_it_is_done_or_due_again(due: Due, redis: Redis) -> None:
    """Twice is as once; nothing is left of what is done."""
    await due.add(0, {"a": 0})
    [first] = await due.claim(0, 10)
    assert await due.release(first, 3000)
    assert not await due.release(first, None)
    assert await due.claim(2999, 10) == []
    [second] = await due.claim(3000, 10)
    assert await due.release(second, None)
    assert await redis.keys("*") == []


async def test_what_is_asked_for_during_a_lease_is_not_lost(due: Due) -> None:
    """It is due when the holder is done, if they would have looked later or never; the lease holds meanwhile."""
    await due.add(0, {"a": 0})
    [first] = await due.claim(0, 10)
    await due.add(5, {"a": 100})
    await due.add(5, {"a": 300})
    assert await due.claim(200, 10) == []
    assert await due.release(first, None)
    assert await due.claim(99, 10) == []
    [second] = await due.claim(100, 10)
    assert await due.release(second, None)
    assert await due.claim(99_999, 10) == []


async def test_forgotten_it_is_nobodys(due: Due, redis: Redis) -> None:
    """Its holder too learns that there is nothing to give back."""
    await due.add(0, {"a": 0, "b": 50})
    [first] = await due.claim(0, 10)
    assert await due.forget(["a", "b", "c"]) == 2
    assert await due.forget([]) == 0
    assert not await due.release(first, 7)
    assert await redis.keys("*") == []
