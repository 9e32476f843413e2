"""Sessions that come back on another socket: who knows them, for how long, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.conversations import Conversations
from relay.errors import StoreError
from relay.items import AssistantItem, ToolItem
from relay.store.client import connect
from relay.store.history import History, items_key, state_key
from relay.writer import MOST_AT_ONCE, ConversationWriter
from tests.relay.histories import CALL, QUICK, WatchedHistory, hi, reply


class Clock:
    """Two processes' time, in ms."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ours(redis: Redis, clock: Clock) -> AsyncIterator[Conversations]:
    conversations = Conversations(History(redis, 60), pace=QUICK, now_ms=clock)
    yield conversations
    await conversations.close(1)


@pytest.fixture
async def theirs(redis: Redis, clock: Clock) -> AsyncIterator[Conversations]:
    """Of another process."""
    conversations = Conversations(History(redis, 60), pace=QUICK, now_ms=clock)
    yield conversations
    await conversations.close(1)


async def begun(conversations: Conversations, epoch: int = 1, session: str = "VX1") -> ConversationWriter:
    """A session that Redis knows."""
    writer = conversations.open(CALL, epoch, session=session)
    await writer.prepare(1)
    assert await writer.flush(2)
    return writer


async def known(conversations: Conversations, session: str = "VX1") -> tuple[bool | None, bool | None]:
    """(here, in Redis)"""
    return conversations.known_here(CALL, session), await conversations.known_to_store(CALL, session)


async def left(conversations: Conversations, writer: ConversationWriter) -> None:
    conversations.release(writer)
    assert await writer.flush(2)


async def test_a_session_is_known_by_its_name(ours: Conversations, theirs: Conversations) -> None:
    """While it has a socket; to its process at once, to others by Redis. Nobody knows another one."""
    assert await known(ours) == (None, None)
    writer = await begun(ours)
    assert await known(ours) == (True, True)
    assert await known(theirs) == (None, True)
    assert await known(ours, "VX2") == (None, False)
    ours.release(writer)


async def test_a_lost_session_is_known_for_a_minute(ours: Conversations, theirs: Conversations, clock: Clock) -> None:
    """From the moment its socket was lost."""
    writer = await begun(ours)
    clock.now += 500_000
    await left(ours, writer)
    clock.now += 60_000
    assert (await known(ours), await known(theirs)) == ((True, True), (None, True))
    clock.now += 1
    assert (await known(ours), await known(theirs)) == ((None, False), (None, False))


async def test_a_session_that_ended_is_not_known(ours: Conversations, theirs: Conversations) -> None:
    """To its process from the moment it ended, whatever Redis still says."""
    writer = await begun(ours)
    writer.end()
    assert await known(ours) == (False, True)
    await left(ours, writer)
    assert (await known(ours), await known(theirs)) == ((False, False), (None, False))


async def test_the_next_session_is_known_instead(ours: Conversations, theirs: Conversations) -> None:
    """One session of a call may come back, the last."""
    first = await begun(ours)
    await left(ours, first)
    second = await begun(theirs, 2, "VX2")
    assert (await known(ours, "VX2"), await known(theirs, "VX2")) == ((None, True), (True, True))
    assert not await theirs.known_to_store(CALL, "VX1")
    theirs.release(second)


async def test_asking_claims_nothing(ours: Conversations, theirs: Conversations, redis: Redis) -> None:
    """The session that has the conversation keeps it."""
    writer = await begun(ours)
    await theirs.known_to_store(CALL, "VX1")
    assert await redis.hget(state_key(CALL), "epoch") == b"1"
    writer.put(0, hi(0))
    assert await writer.flush(2)
    ours.release(writer)


async def test_a_redis_that_is_away_knows_nothing() -> None:
    """It raises; only this process's own knowledge is left."""
    redis = connect("unix:///nonexistent/redis.sock")
    conversations = Conversations(History(redis, 60), pace=QUICK)
    with pytest.raises(StoreError):
        await conversations.known_to_store(CALL, "VX1")
    writer = conversations.open(CALL, 1, session="VX1")
    assert conversations.known_here(CALL, "VX1")
    conversations.release(writer)
    assert conversations.known_here(CALL, "VX1")
    await conversations.close(0.05)
    await redis.aclose()


async def test_what_may_still_be_played_is_left_open(ours: Conversations, theirs: Conversations) -> None:
    """The next socket of the session takes over what plays on, by numbers under which it may be put anew; for another
    session it is cut."""
    writer = await begun(ours)
    job = ToolItem("c1", "book", "{}", "", "running")
    for number, item in enumerate([hi(0), job, reply("One two three.", heard=1), hi(3)]):
        writer.put(number, item)
    await left(ours, writer)
    second = theirs.open(CALL, 2, session="VX1")
    prepared = await second.prepare(1)
    assert prepared.same
    assert [getattr(item, "status", "") for item in prepared.items] == ["", "unknown"]
    assert prepared.playing == ((-2, reply("One two three.", heard=1)), (-1, hi(3)))
    second.put(-2, AssistantItem("One two", "interrupted"))
    await left(theirs, second)
    third = await ours.open(CALL, 3, session="VX2").prepare(1)
    assert not third.same
    assert third.playing == ()
    assert third.items[2:] == (AssistantItem("One two", "interrupted"), hi(3))


async def test_what_may_still_be_played_without_redis() -> None:
    """The same within one process."""
    redis = connect("unix:///nonexistent/redis.sock")
    conversations = Conversations(History(redis, 60), pace=QUICK)
    writer = conversations.open(CALL, 1, session="VX1")
    await writer.prepare(0.01)
    writer.put(0, hi(0))
    writer.put(1, reply("One two three.", heard=1))
    writer.note(told="abc")
    conversations.release(writer)
    prepared = await conversations.open(CALL, 2, session="VX1").prepare(0.01)
    assert (prepared.same, prepared.stored, prepared.state["told"]) == (True, False, "abc")
    assert prepared.items == (hi(0),)
    assert [item for _, item in prepared.playing] == [reply("One two three.", heard=1)]
    await conversations.close(0.05)
    await redis.aclose()


async def test_the_state_is_written_with_the_last_of_the_items(history: WatchedHistory, redis: Redis) -> None:
    """What it says was taken in is in the history whenever a process is killed."""
    conversations = Conversations(history, pace=QUICK)
    writer = conversations.open(CALL, 1, session="VX1")
    for number in range(MOST_AT_ONCE + 1):
        writer.put(number, hi(number))
    writer.note(told="all of it")
    history.gate.clear()
    await writer.prepare(1)
    async with asyncio.timeout(20):
        await history.waiting.wait()
        history.waiting.clear()
        history.gate.set()
        history.gate.clear()
        await history.waiting.wait()
    assert await redis.zcard(items_key(CALL)) == MOST_AT_ONCE
    assert await redis.hget(state_key(CALL), "told") is None
    history.gate.set()
    assert await writer.flush(2)
    assert [len(put) for put in history.puts] == [MOST_AT_ONCE, 1]
    assert await redis.hget(state_key(CALL), "told") == b"all of it"
    await conversations.close(1)
