"""Frames of chats written behind their sockets: late where Redis is away, bounded, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.chat_entries import log_key
from tests.calls.checks import eventually
from tests.relay.store.chats import CHAT, OTHER, Process, frames, process
from tests.relay.store.servers import FragileRedis


@pytest.fixture
async def one(redis: Redis) -> AsyncIterator[Process]:
    async with process(redis) as made:
        yield made


async def test_an_outage_delays_what_is_written(fragile: FragileRedis, weak: Redis) -> None:
    """Adding goes on, who flushes and who reads is told, the log says so once; all of it is there afterwards, nothing
    of it twice."""
    async with process(weak) as one:
        await one.turn(2)
        with capture_logs() as logs:
            fragile.freeze()
            await one_by_one(one, 3, 5)
            fragile.thaw()
            await eventually(lambda: not len(one.log), 10)
        one.add(6, ends=True)
        assert await one.log.since(CHAT, 0) == frames(*range(1, 7))
        assert [each["event"] for each in logs] == ["chat log not written"]
        assert one.lost == 0


async def one_by_one(process: Process, first: int, last: int) -> None:
    """Frames added while Redis does not answer; each may be sent, and sent again."""
    for number in range(first, last + 1):
        process.add(number)
        with pytest.raises(StoreError):
            await process.log.flush(CHAT)
    with pytest.raises(StoreError):
        await process.log.since(CHAT, 0)


async def test_a_server_that_lost_everything(fragile: FragileRedis, weak: Redis) -> None:
    """A log that is gone is not begun in the middle: who comes back is told to load anew, and the next turn is kept."""
    async with process(weak) as one:
        await one.turn(2)
        await one.log.begin(CHAT)
        fragile.stop()
        one.add(3, 4)
        with pytest.raises(StoreError):
            await one.log.flush(CHAT)
        fragile.start()
        await one.log.flush(CHAT)
        assert await weak.keys() == []
        assert await one.log.since(CHAT, 2) is None
        assert await one.turn(2) == [1, 2]
        assert await one.log.since(CHAT, 0) == frames(1, 2)


async def test_what_waits_is_bounded(weak: Redis, fragile: FragileRedis) -> None:
    """What is too much is dropped and counted, and its place is known to be empty."""
    async with process(weak, most=5, patient=0) as one:
        await one.turn(1)
        fragile.stop()
        one.add(*range(2, 12))
        assert (len(one.log), one.lost) == (5, 5)
    assert one.lost == 10


async def test_what_was_dropped_is_missed(redis: Redis) -> None:
    """A gap inside a turn is seen by those who were before it, and by nobody else."""
    async with process(redis, most=5, window=0.05) as one:
        await one.log.begin(CHAT)
        one.add(*range(1, 9))
        await one.log.flush(CHAT)
        one.add(9, 10, ends=True)
        await one.log.flush(CHAT)
        assert await one.log.since(CHAT, 4) is None
        assert await one.log.since(CHAT, 5) is None
        assert await one.log.since(CHAT, 8) == frames(9, 10)
        assert one.lost == 3


async def test_a_key_that_is_no_log_keeps_nobody_else_from_writing(one: Process, redis: Redis) -> None:
    """It is given up, the others are written."""
    await redis.set(log_key(OTHER), "in the way")
    await one.log.begin(CHAT)
    one.add(1, conversation=OTHER)
    one.add(1)
    await one.log.flush(OTHER)
    assert await one.log.since(CHAT, 0) == frames(1)


async def test_what_was_forgotten_meanwhile_stays_so(one: Process, redis: Redis) -> None:
    """Frames of a turn whose conversation was removed bring nothing of it back."""
    await one.turn(2)
    await one.log.begin(CHAT)
    await redis.delete(log_key(CHAT))
    one.add(3, 4, ends=True)
    await one.log.flush(CHAT)
    assert await redis.keys() == []


async def test_closing_writes_what_waits(redis: Redis) -> None:
    """And takes nothing more."""
    async with process(redis, window=0.2) as one:
        await one.log.begin(CHAT)
        one.add(1, 2)
    one.add(3)
    assert one.lost == 1
    async with process(redis) as two:
        assert await two.log.since(CHAT, 0) == frames(1, 2)


async def test_a_flush_that_is_given_up_harms_nobody(one: Process) -> None:
    """Neither the frames nor others who wait for them."""
    await one.log.begin(CHAT)
    one.add(1)
    first = asyncio.create_task(one.log.flush(CHAT), name="flush")
    second = asyncio.create_task(one.log.flush(CHAT), name="flush")
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert await one.log.since(CHAT, 0) == frames(1)


async def test_what_is_dropped_is_not_taken_for_written(weak: Redis, fragile: FragileRedis) -> None:
    """Who waits for a flush learns that the process leaves without it."""
    async with process(weak, patient=0) as one:
        await one.turn(1)
        fragile.stop()
        one.add(2)
        flush = asyncio.create_task(one.log.flush(CHAT), name="flush")
        await asyncio.sleep(0)
    with pytest.raises(StoreError):
        await flush
