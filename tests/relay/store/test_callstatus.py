"""What is kept of a phone call, on a real server."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.callstatus import CallState, CallStatus, call_key
from relay.store.client import connect

CALL = "CA1"


@pytest.fixture
def calls(redis: Redis) -> CallStatus:
    return CallStatus(redis, 60)


async def test_nothing_is_known_of_a_call_nobody_has_told_of(calls: CallStatus) -> None:
    """And asking leaves nothing behind."""
    assert await calls.read(CALL) == CallState()


async def test_what_is_noted_is_read_with_what_the_session_noted(calls: CallStatus, redis: Redis) -> None:
    """Both hashes, in whatever languages; a field noted again is replaced, the others stay."""
    await redis.hset(f"conversation:{{{CALL}}}:state", mapping={"agent": "sales", "language": "es-US"})  # type: ignore[misc]
    await calls.note(CALL, reason="queja", summary="Quiere más.")
    await calls.note(CALL, reason="otra")
    state = await calls.read(CALL)
    assert (state.agent, state.language, state.reason, state.summary) == ("sales", "es-US", "otra", "Quiere más.")
    assert "Quiere" not in repr(state)
    assert 0 < await redis.pttl(call_key(CALL)) <= 60_000


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_status_is_replaced_by_later_ones_alone(calls: CallStatus, order: tuple[int, ...]) -> None:
    """Each is news once, and only if nothing later was."""
    latest = -1
    for number in order:
        assert await calls.status(CALL, number, f"status {number}") is (number > latest)
        assert not await calls.status(CALL, number, f"status {number}")
        latest = max(latest, number)
    assert (await calls.read(CALL)).status == "status 2"


async def test_one_of_many_claims_a_field(calls: CallStatus) -> None:
    """The claimant may ask again; once the claim is given back another may have it."""
    claimed = await asyncio.gather(*(calls.claim(CALL, "answered_by", "fax", f"c{n}") for n in range(20)))
    assert claimed.count(True) == 1
    owner = f"c{claimed.index(True)}"
    assert await calls.claim(CALL, "answered_by", "fax", owner)
    assert (await calls.read(CALL)).answered_by == "fax"
    await calls.release(CALL, "answered_by")
    assert (await calls.read(CALL)).answered_by == ""
    assert await calls.claim(CALL, "answered_by", "fax", "another")


async def test_errors_are_ours() -> None:
    """Of each method."""
    away = connect("unix:///nowhere/redis.sock")
    calls = CallStatus(away, 60)
    for attempt in (
        calls.read(CALL),
        calls.note(CALL, reason="r"),
        calls.status(CALL, 1, "ringing"),
        calls.claim(CALL, "answered_by", "fax", "c"),
        calls.release(CALL, "answered_by"),
    ):
        with pytest.raises(StoreError):
            await attempt
    await away.aclose()
