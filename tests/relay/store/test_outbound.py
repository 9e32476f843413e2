"""The record of the calls we place, on a real server."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.store.outbound import KEPT, OutboundCalls

NOW = 1_800_000_000.0


@pytest.fixture
def calls(redis: Redis) -> OutboundCalls:
    return OutboundCalls(redis, 2)


async def test_a_claim_made_twice_is_one(calls: OutboundCalls) -> None:
    """The same claimant counts once, with a key and without."""
    for _ in range(3):
        assert (await calls.claim("one", "key", "wish", NOW)).kind == "claimed"
        assert (await calls.claim("two", "", "wish", NOW)).kind == "claimed"
    assert (await calls.claim("three", "", "wish", NOW)).kind == "rate"


async def test_what_others_meet(calls: OutboundCalls) -> None:
    """While it is placed, and when it was; with another wish."""
    await calls.claim("one", "key", "wish", NOW)
    claim = await calls.claim("two", "key", "wish", NOW + 1)
    assert (claim.kind, claim.since) == ("pending", NOW)
    assert (await calls.claim("two", "key", "another", NOW)).kind == "other"
    await calls.placed("two", "key", "CA2")  # not the claimant: nothing happens
    await calls.placed("one", "key", "CA1")
    claim = await calls.claim("two", "key", "wish", NOW + 2)
    assert (claim.kind, claim.call_sid) == ("done", "CA1")


async def test_a_claim_given_back(calls: OutboundCalls) -> None:
    """The key is free; the call stays counted."""
    await calls.claim("one", "key", "wish", NOW)
    await calls.give_back("two", "key")
    assert (await calls.claim("two", "key", "wish", NOW)).kind == "pending"
    await calls.give_back("one", "key")
    assert (await calls.claim("two", "key", "another", NOW)).kind == "claimed"
    assert (await calls.claim("three", "", "wish", NOW)).kind == "rate"


async def test_a_claim_of_which_nobody_will_know(calls: OutboundCalls) -> None:
    """It stays claimed, and nobody waits for it."""
    await calls.claim("one", "key", "wish", NOW)
    await calls.in_doubt("two", "key")  # not the claimant: nothing happens
    assert (await calls.claim("two", "key", "wish", NOW)).since == NOW
    await calls.in_doubt("one", "key")
    claim = await calls.claim("two", "key", "wish", NOW)
    assert (claim.kind, claim.since) == ("pending", 0.0)


async def test_a_key_is_kept_for_a_day(calls: OutboundCalls, redis: Redis) -> None:
    """Under a name that does not tell it."""
    await calls.claim("one", "the-key", "wish", NOW)
    (name,) = await redis.keys("{outbound}:key:*")
    assert b"the-key" not in name
    assert KEPT * 1000 - 60_000 < await redis.pttl(name) <= KEPT * 1000


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(0, 200), min_size=1, max_size=40).map(sorted), limit=st.integers(1, 5))
async def test_no_minute_has_more_calls_than_are_allowed(redis: Redis, times: list[float], limit: int) -> None:
    """Whenever they are asked for; who is refused is told when there is room, and then there is."""
    await redis.flushall()
    calls = OutboundCalls(redis, limit)
    placed: list[float] = []
    for number, at in enumerate(times):
        claim = await calls.claim(f"c{number}", "", "wish", NOW + at)
        recent = [each for each in placed if at - each < 60]
        if claim.kind == "claimed":
            assert len(recent) < limit
            placed.append(at)
        else:
            assert len(recent) >= limit
            assert abs(recent[0] + 60 - at - claim.wait) < 0.01


async def test_many_at_once_are_counted_as_one_after_the_other(redis: Redis) -> None:
    """Of fifty, five."""
    calls = OutboundCalls(redis, 5)
    claims = await asyncio.gather(*(calls.claim(f"c{n}", "", "wish", NOW) for n in range(50)))
    assert [claim.kind for claim in claims].count("claimed") == 5
