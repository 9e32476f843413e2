"""The calls a person is remembered by."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from relay.store.people import MOST_CALLS, EarlierCall, People

ANN = "phone:+15551234567"


@pytest.fixture
async def people(redis: Redis) -> People:
    """Where Ann is known."""
    people = People(redis, anonymous_ttl=60)
    await people.seen(ANN, 1000)
    return people


def call(number: int, summary: str = "", *follow_ups: str) -> EarlierCall:
    return EarlierCall(f"CA{number}", number * 1000, summary or f"Call {number}.", follow_ups)


async def calls_of(people: People, person: str = ANN) -> tuple[EarlierCall, ...]:
    found = await people.get(person)
    return found.calls if found else ()


async def test_the_last_calls_are_remembered(people: People) -> None:
    """The newest first, whatever the order in which they were summed up; older ones go."""
    for number in (3, 1, 7, 2, 6, 4, 5):
        await people.remember(ANN, call(number))
    assert await calls_of(people) == tuple(call(number) for number in (7, 6, 5, 4, 3))
    assert len(await calls_of(people)) == MOST_CALLS


async def test_a_call_is_remembered_once(people: People) -> None:
    """A second summary of it takes the place of the first; lists without members stay lists."""
    await people.remember(ANN, call(1, "First.", "Send the list"))
    await people.remember(ANN, call(1, "Second."))
    await people.remember(ANN, call(1, "Second."))
    assert await calls_of(people) == (call(1, "Second."),)


async def test_nobody_is_made_by_a_summary(people: People, redis: Redis) -> None:
    """Who was forgotten meanwhile stays forgotten, and a caller without a number is not remembered."""
    await people.remember("phone:+15550000001", call(1))
    await people.seen("anonymous:CA1", 1)
    await people.remember("anonymous:CA1", call(1))
    assert await calls_of(people, "anonymous:CA1") == ()
    assert await redis.exists("person:{phone:+15550000001}") == 0


async def test_a_person_may_be_exempt(people: People) -> None:
    """Memory off removes what is remembered and keeps what comes later from being; on again, it begins anew."""
    await people.remember(ANN, call(1))
    await people.set_memory(ANN, on=False)
    await people.remember(ANN, call(2))
    assert await calls_of(people) == ()
    await people.set_memory(ANN, on=True)
    assert await calls_of(people) == ()
    await people.remember(ANN, call(3))
    assert await calls_of(people) == (call(3),)


async def test_memory_off_for_everybody(people: People, redis: Redis) -> None:
    """What was remembered before is not told; it is not deleted either."""
    await people.remember(ANN, call(1))
    assert await calls_of(People(redis, memory=False)) == ()
    assert await calls_of(people) == (call(1),)


async def test_a_call_under_an_alias(people: People) -> None:
    """It is remembered of the person."""
    assert await people.link("telegram:77", ANN)
    await people.remember("telegram:77", call(1))
    assert await calls_of(people) == await calls_of(people, "telegram:77") == (call(1),)


def test_a_remembered_call_prints_no_words() -> None:
    """What a call came to stays out of logs."""
    assert "secret" not in repr(EarlierCall("CA1", 1, "secret", ("secret",)))
