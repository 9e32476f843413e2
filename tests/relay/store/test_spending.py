"""The tokens of a day, on a real server."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from relay.store.spending import EVERYBODY, KEPT, Spending

ANN, BOB = "phone:+15551234567", "phone:+15557654321"
TODAY, TOMORROW = "2026-07-01", "2026-07-02"


async def test_what_was_spent_adds_up(redis: Redis) -> None:
    """Of each person and of all, across processes."""
    spending = Spending(redis)
    adding = [
        spending.add(TODAY, who, tokens, process=process, number=number)
        for number, (who, tokens, process) in enumerate(
            [(ANN, 5, "a"), (ANN, 7, "b"), (BOB, 100, "a"), (EVERYBODY, 12, "a"), (EVERYBODY, 100, "b")], 1
        )
    ]
    assert sorted(await asyncio.gather(*adding)) == [5, 12, 12, 100, 112]
    assert [await spending.read(TODAY, who) for who in (ANN, BOB, EVERYBODY)] == [12, 100, 112]


async def test_an_addition_made_twice_counts_once(redis: Redis) -> None:
    """Whoever does not know whether it has arrived makes it again."""
    spending = Spending(redis)
    for _ in range(3):
        assert await spending.add(TODAY, ANN, 5, process="a", number=1) == 5
    assert await spending.add(TODAY, ANN, 5, process="a", number=2) == 10
    assert await spending.add(TODAY, ANN, 5, process="b", number=1) == 15


async def test_another_day_begins_at_nothing(redis: Redis) -> None:
    """What comes late for the day before is dropped."""
    spending = Spending(redis)
    await spending.add(TODAY, ANN, 5, process="a", number=1)
    assert await spending.read(TOMORROW, ANN) == 0
    assert await spending.add(TOMORROW, ANN, 2, process="a", number=2) == 2
    assert await spending.add(TODAY, ANN, 9, process="b", number=1) == 0
    assert await spending.read(TOMORROW, ANN) == 2
    assert await spending.read(TODAY, ANN) == 0


async def test_it_expires_and_is_forgotten(redis: Redis) -> None:
    """No count outlives the day for long."""
    spending = Spending(redis)
    await spending.add(TODAY, ANN, 5, process="a", number=1)
    (key,) = await redis.keys("*")
    assert key == f"person:{{{ANN}}}:tokens".encode()
    assert 0 < await redis.pttl(key) <= KEPT * 1000
    assert (await spending.forget(ANN), await spending.forget(ANN)) == (1, 0)
