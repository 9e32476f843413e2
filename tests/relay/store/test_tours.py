"""Tours: which can be booked, and who has booked which."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.client import connect
from relay.store.tours import AHEAD, Slot, Tours, day_key, person_tours_key
from tests.relay.store.servers import FragileRedis, fragile_redis, patient
from tests.scale import scaled
from tests.tools.house import DENVER, MONDAY, Clock

ANN, BOB = "phone:+15551234567", "anonymous:CA1"


def slot(ahead: int = 1, at: time = time(10), kind: str = "studio", tour: str = "in-person") -> Slot:
    return Slot(MONDAY + timedelta(ahead), at, kind, tour)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tours(redis: Redis, clock: Clock) -> Tours:
    return Tours(redis, DENVER, clock)


async def test_a_planned_tour_can_be_booked_once(tours: Tours) -> None:
    """By the first who asks; it is no longer open then, and the same person asking again has it already."""
    await tours.refresh([slot(1), slot(2)])
    assert await tours.open() == [slot(1), slot(2)]
    assert await tours.book(slot(1), ANN) == "booked"
    assert await tours.book(slot(1), ANN) == "yours"
    assert await tours.book(slot(1), BOB) == "taken"
    assert await tours.open() == [slot(2)]
    assert (await tours.of(ANN), await tours.of(BOB)) == ([slot(1)], [])


async def test_what_does_not_exist_cannot_be_booked(tours: Tours, clock: Clock, redis: Redis) -> None:
    """A slot nobody planned, or one that has begun; nothing is written."""
    await tours.refresh([slot(1)])
    before = {key: await redis.hgetall(key) for key in await redis.keys("*")}
    assert await tours.book(slot(1, time(10, 30)), ANN) == "none"
    assert await tours.book(slot(9), ANN) == "none"
    clock.now += timedelta(hours=22)  # ten o'clock of the next day
    assert await tours.book(slot(1), ANN) == "none"
    assert {key: await redis.hgetall(key) for key in await redis.keys("*")} == before


async def test_a_refresh_adds_what_is_missing_and_keeps_what_is_booked(tours: Tours) -> None:
    """It may be done as often as one likes, by any process."""
    plan = [slot(ahead) for ahead in range(1, AHEAD + 1)]
    assert (await tours.refresh(plan)).made == tuple(plan)
    await tours.book(slot(3), ANN)
    assert await tours.refresh(plan) == await tours.refresh(reversed(plan))
    assert (await tours.refresh(plan)).made == ()
    assert await tours.open() == [each for each in plan if each != slot(3)]
    assert await tours.of(ANN) == [slot(3)]


async def test_a_refresh_removes_what_is_past_or_not_planned(tours: Tours, clock: Clock, redis: Redis) -> None:
    """And open: what somebody has booked stays, also where it is not planned any more."""
    early, late = slot(1, time(9)), slot(1, time(15))
    await tours.refresh([early, late, slot(1, time(9), "one-bedroom"), slot(2), slot(3)])
    await tours.book(slot(1, time(9), "one-bedroom"), ANN)
    await tours.book(slot(3), ANN)
    clock.now += timedelta(days=1)  # Tuesday, noon
    assert await tours.open() == [late, slot(2)]
    done = await tours.refresh([slot(4)])
    assert (done.made, done.removed) == ((slot(4),), (early, slot(2)))
    assert await tours.open() == [late, slot(4)]
    assert await redis.hgetall(day_key(early.day)) == {
        b"09:00|one-bedroom|in-person": ANN.encode(),
        b"15:00|studio|in-person": b"",
    }
    assert await tours.of(ANN) == [slot(3)]  # the other one has been
    clock.now += timedelta(days=1)
    assert (await tours.refresh([slot(4)])).removed == (late,)


async def test_a_day_goes_when_it_is_over(tours: Tours, redis: Redis) -> None:
    """Days and what people have booked expire with the day, in the house's time zone."""
    await tours.refresh([slot(1), slot(5)])
    await tours.book(slot(5), ANN)
    await tours.book(slot(1), ANN)  # the later one decides
    assert 36 * 3600 - 60 < await redis.ttl(day_key(slot(1).day)) <= 36 * 3600
    for key in (day_key(slot(5).day), person_tours_key(ANN)):
        assert 132 * 3600 - 60 < await redis.ttl(key) <= 132 * 3600


async def test_forgetting_frees_what_is_to_come(tours: Tours, clock: Clock, redis: Redis) -> None:
    """Of this person and nobody else; nothing names them any more, and doing it again changes nothing."""
    await tours.refresh([slot(1), slot(2), slot(3)])
    for each, person in ((slot(1), ANN), (slot(2), ANN), (slot(3), BOB)):
        await tours.book(each, person)
    clock.now += timedelta(days=1)  # the first has been
    assert await tours.forget(ANN) == 1
    assert await tours.forget(ANN) == 0
    assert await tours.open() == [slot(2)]
    assert (await tours.of(ANN), await tours.of(BOB)) == ([], [slot(3)])
    days = [await redis.hgetall(day_key(slot(ahead).day)) for ahead in (1, 2, 3)]
    assert ANN not in str(days) and not await redis.exists(person_tours_key(ANN))


async def test_forgetting_finds_what_has_been_today(tours: Tours, clock: Clock, redis: Redis) -> None:
    """A tour of the morning is kept until the day is over; booking another one in the meantime does not hide it."""
    await tours.refresh([slot(1), slot(2)])
    await tours.book(slot(1), ANN)
    clock.now += timedelta(days=1)
    await tours.book(slot(2), ANN)
    assert await tours.of(ANN) == [slot(2)]
    assert await tours.forget(ANN) == 1
    assert ANN not in str([await redis.hgetall(day_key(slot(ahead).day)) for ahead in (1, 2)])


async def test_what_is_no_slot_is_left_out(tours: Tours, redis: Redis) -> None:
    """Something else in a day's hash hurts nobody."""
    await tours.refresh([slot(1)])
    await redis.hset(day_key(slot(1).day), "lunch", "")
    assert await tours.open() == [slot(1)]


async def test_a_store_that_is_away(fragile: FragileRedis, weak: Redis, clock: Clock) -> None:
    """Every question is answered with StoreError."""
    tours = Tours(weak, DENVER, clock)
    fragile.stop()
    for asking in (tours.open(), tours.of(ANN), tours.book(slot(), ANN), tours.refresh([slot()]), tours.forget(ANN)):
        with pytest.raises(StoreError):
            await asking


@pytest.fixture(scope="module")
def quick() -> Iterator[str]:
    """The URL of a server that waits for no disk, and is waited for: so many at once may take a machine a while."""
    with fragile_redis() as server:
        yield patient(server.url)


@settings(max_examples=scaled(25, 6))
@given(st.randoms(use_true_random=False))
def test_two_hundred_callers_race_for_twenty_tours(quick: str, random: object) -> None:
    """Twenty are booked, each by one person who is told so, whatever order the callers come in."""
    asyncio.run(race(quick, random))


async def race(redis_url: str, random: object) -> None:
    wanted = [slot(1 + number % 5, time(8 + number // 5), tour="in-person") for number in range(20)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(redis_url, connections=8)) for _ in range(5)]
        await clients[0].flushall()
        houses = [Tours(client, DENVER, Clock()) for client in clients]
        await houses[0].refresh(wanted)
        people = [f"phone:+1555{number:07}" for number in range(200)]
        random.shuffle(people)  # type: ignore[attr-defined]

        async def caller(number: int, person: str) -> tuple[Slot, str, str]:
            wish = wanted[random.randrange(20)] if number >= 20 else wanted[number]  # type: ignore[attr-defined]
            return wish, person, await houses[number % 5].book(wish, person)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(caller(number, person)) for number, person in enumerate(people)]
            for house in houses:
                group.create_task(house.refresh(wanted))  # processes that begin their day meanwhile
        answers = [task.result() for task in tasks]
        assert Counter(answer for _, _, answer in answers) == {"booked": 20, "taken": 180}
        holders = {wish: person for wish, person, answer in answers if answer == "booked"}
        assert set(holders) == set(wanted)
        assert await houses[0].open() == []
        for person in people:
            assert await houses[0].of(person) == [wish for wish, holder in holders.items() if holder == person]
