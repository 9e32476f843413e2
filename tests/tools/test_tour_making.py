"""The tours of the coming days: what is planned, and when it is made."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.store.client import connect
from relay.store.tours import AHEAD, Tours
from tests.relay.store.servers import fragile_redis
from tests.tools.house import ANN, DENVER, MONDAY, Clock
from tools.listings import APARTMENT_TYPES, TOUR_TYPES
from tools.tour_making import RETRY, TIMES, keep_tours, make_tours, plan


@given(st.dates(max_value=MONDAY.replace(year=9990)))
def test_a_plan_is_the_same_for_every_process(today: Any) -> None:
    """Seven days from tomorrow, each layout and kind of tour once a day, at one of sixteen times; and the days two
    plans share are equal."""
    slots = plan(today, APARTMENT_TYPES)
    assert len(set(slots)) == len(slots) == 56
    assert {slot.day for slot in slots} == {today + timedelta(ahead) for ahead in range(1, AHEAD + 1)}
    assert {(slot.apartment_type, slot.tour_type) for slot in slots} == {
        (kind, tour) for kind in APARTMENT_TYPES for tour in TOUR_TYPES
    }
    assert {slot.at for slot in slots} <= set(TIMES)
    tomorrow = plan(today + timedelta(1), APARTMENT_TYPES)
    assert {slot for slot in slots if slot.day > today + timedelta(1)} == {
        slot for slot in tomorrow if slot.day <= today + timedelta(AHEAD)
    }


def test_tours_begin_at_sixteen_times() -> None:
    """Between eight and half past four."""
    assert (len(TIMES), min(TIMES), max(TIMES)) == (16, time(8), time(16, 30))


class Sleeper:
    """Stands for the time that passes: each sleep moves the clock, and is let go by the test."""

    def __init__(self, clock: Clock) -> None:
        self.slept: list[float] = []
        self._clock = clock
        self._steps = asyncio.Semaphore(0)
        self._asleep = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._asleep.set()
        await self._steps.acquire()
        self._clock.now += timedelta(seconds=seconds)

    async def step(self) -> None:
        """One sleep is over, and the next one has begun."""
        self._asleep.clear()
        self._steps.release()
        async with asyncio.timeout(20):
            await self._asleep.wait()

    async def asleep(self) -> None:
        async with asyncio.timeout(20):
            await self._asleep.wait()


async def test_tours_are_made_at_once_and_after_midnight(redis: Redis) -> None:
    """Of the house's time zone, once a day; what was booked is kept, what is past goes."""
    clock = Clock()
    clock.now = datetime(2026, 11, 23, 23, 40, tzinfo=DENVER)
    tours, sleeper = Tours(redis, DENVER, clock), Sleeper(clock)
    keeper = asyncio.create_task(keep_tours(tours, APARTMENT_TYPES, sleeper))
    await sleeper.asleep()
    first = await tours.open()
    assert len(first) == 56
    await tours.book(first[-1], ANN)
    await sleeper.step()
    assert clock.now.hour == 23 and (await tours.open())[-1].day == MONDAY + timedelta(AHEAD)
    await sleeper.step()
    assert (clock.now.date(), clock.now.hour) == (MONDAY + timedelta(1), 0)
    assert sum(sleeper.slept[:2]) == 20 * 60 + 5
    opened = await tours.open()
    assert len(opened) == 63  # those of the day that has begun are to come as well
    assert opened[-1].day == MONDAY + timedelta(AHEAD + 1)
    assert await tours.of(ANN) == [first[-1]]
    keeper.cancel()
    await asyncio.wait([keeper])
    assert keeper.cancelled()


async def test_a_store_that_was_away() -> None:
    """Is tried again until it answers."""
    clock = Clock()
    with fragile_redis() as server:
        server.stop()
        client = connect(server.url)
        tours, sleeper = Tours(client, DENVER, clock), Sleeper(clock)
        keeper = asyncio.create_task(keep_tours(tours, APARTMENT_TYPES, sleeper))
        await sleeper.asleep()
        await sleeper.step()
        assert sleeper.slept == [RETRY, RETRY]
        server.start()
        await sleeper.step()
        assert sleeper.slept[2] > RETRY and len(await tours.open()) == 56
        keeper.cancel()
        await asyncio.wait([keeper])
        await client.aclose()


async def test_a_clock_with_summer_time(redis: Redis) -> None:
    """On the day that has twenty five hours the next midnight is that much later, and every day ends at its own."""
    clock = Clock()
    clock.now = datetime(2026, 11, 1, 0, 0, tzinfo=DENVER)
    tours = Tours(redis, DENVER, clock)
    assert len((await make_tours(tours, APARTMENT_TYPES)).made) == 56
    assert 49 * 3600 - 60 < await redis.ttl("{tours}:2026-11-02") <= 49 * 3600


@pytest.mark.parametrize("processes", [2, 8])
async def test_several_processes_make_the_same(redis: Redis, processes: int) -> None:
    """At the same moment: each slot is made once."""
    tours = Tours(redis, DENVER, Clock())
    done = await asyncio.gather(*(make_tours(tours, APARTMENT_TYPES) for _ in range(processes)))
    assert sum(len(each.made) for each in done) == 56
    assert len(await tours.open()) == 56
