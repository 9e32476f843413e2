"""Sessions of one conversation: never two that write, late results, and what the process remembers."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from relay.conversations import Conversations
from relay.errors import Fenced
from relay.items import AssistantItem, ToolItem
from relay.store.history import UNKNOWN_OUTCOME, History
from tests.calls.checks import eventually
from tests.relay.histories import CALL, PATIENT, QUICK, WatchedHistory, hi, items, reply, session
from tests.relay.store.servers import FragileRedis

# -- sessions of one conversation


async def test_a_newer_session_elsewhere_fences_this_one(
    here: Conversations, elsewhere: Conversations, redis: Redis
) -> None:
    """The refused session is told once and writes nothing more."""
    told: list[str] = []
    writer = here.open(CALL, 1, on_fenced=lambda: told.append("fenced"))
    await writer.prepare(1)
    writer.put(0, hi(0))
    await writer.flush(2)
    await session(elsewhere, 2)
    writer.put(1, hi(1))
    assert await writer.flush(2)
    writer.put(2, hi(2))
    await writer.flush(2)
    assert told == ["fenced"]
    assert writer.over and not writer.pending
    assert await items(redis) == [hi(0)]
    here.release(writer)
    assert len(here) == 0


async def test_an_older_session_cannot_be_prepared(here: Conversations, elsewhere: Conversations) -> None:
    """It is refused wherever the newer one is."""
    await session(elsewhere, 5)
    told: list[str] = []
    writer = here.open(CALL, 4, on_fenced=lambda: told.append("fenced"))
    with pytest.raises(Fenced):
        await writer.prepare(1)
    assert told == ["fenced"]
    with pytest.raises(Fenced):
        elsewhere.open(CALL, 4)


async def test_a_newer_session_of_this_process_replaces_the_older_at_once(here: Conversations, redis: Redis) -> None:
    """The older one is told before anything is loaded, and what it says from then on is nobody's."""
    told: list[str] = []
    older = here.open(CALL, 1, on_fenced=lambda: told.append("fenced"))
    await older.prepare(1)
    older.put(0, hi(0))
    newer = here.open(CALL, 2)
    assert told == ["fenced"]
    older.put(1, hi(1))
    assert (await newer.prepare(1)).items == (hi(0),)
    newer.put(0, hi(2))
    assert await newer.flush(2)
    here.release(older)
    assert len(here) == 1
    assert await items(redis) == [hi(0), hi(2)]
    assert told == ["fenced"]


async def test_what_was_in_flight_is_taken_over(here: Conversations, history: WatchedHistory, redis: Redis) -> None:
    """A write that reaches Redis after the newer session's claim is refused there; the newer session writes it."""
    told: list[str] = []
    older = here.open(CALL, 1, on_fenced=lambda: told.append("fenced"))
    await older.prepare(1)
    history.gate.clear()
    older.put(0, hi(0))
    await history.waiting.wait()
    newer = here.open(CALL, 2)
    await history.load(CALL, 2)
    history.gate.set()
    await asyncio.sleep(0.02)  # the older write comes back refused
    assert told == ["fenced"]
    assert (await newer.prepare(1)).items == (hi(0),)
    assert await newer.flush(2)
    assert await items(redis) == [hi(0)]


async def test_what_was_being_removed_is_removed(here: Conversations, history: WatchedHistory, redis: Redis) -> None:
    """A removal that did not reach Redis is made up for by the next session, also one that could not ask."""
    older = await session(here, 1)
    older.put(0, hi(0))
    older.put(1, reply("Never heard"))
    await older.flush(2)
    history.gate.clear()
    history.waiting.clear()
    older.put(1, None)
    await history.waiting.wait()
    history.away = True
    newer = here.open(CALL, 2)
    assert (await newer.prepare(0.01)).items == (hi(0),)
    history.away = False
    await history.load(CALL, 2)
    history.gate.set()
    newer.put(0, hi(1))
    assert await newer.flush(2)
    assert await items(redis) == [hi(0), hi(1)]


async def test_one_process_resumes_a_dropped_call_without_redis(weak: Redis, fragile: FragileRedis) -> None:
    """The items of the dropped session are in memory; those that were never written are written by the next one."""
    history = WatchedHistory(weak)
    conversations = Conversations(history, pace=QUICK)
    first = await session(conversations, 1_700_000_000_000)
    first.put(0, hi(0))
    await first.flush(2)
    fragile.stop()
    first.note(agent="default")
    first.put(1, ToolItem("c1", "book", "{}", "", "running"))
    first.put(2, reply("One two three", heard=2))
    conversations.release(first)
    second = conversations.open(CALL, 1_700_000_001_000)
    prepared = await second.prepare(0.3)
    tool = ToolItem("c1", "book", "{}", UNKNOWN_OUTCOME, "unknown")
    heard = AssistantItem("One two", "interrupted")
    assert prepared.items == (hi(0), tool, heard)
    assert prepared.state == {"agent": "default"}
    assert not prepared.stored
    second.put(0, hi(1))
    fragile.start()
    assert await second.flush(5)
    loaded = await history.load(CALL, 1 << 41)
    assert [item for _, item in loaded.entries] == [hi(0), tool, heard, hi(1)]
    assert loaded.state["agent"] == "default"
    await conversations.close(1)


@pytest.mark.parametrize("asked", [True, False])
async def test_memory_gives_way_to_a_session_that_went_on_elsewhere(
    redis: Redis, elsewhere: Conversations, asked: bool
) -> None:
    """What this process remembers of a call is dropped when another process has had it since, also if that can be known
    only later: nothing of it overwrites the other's items."""

    history = WatchedHistory(redis)
    conversations = Conversations(history, pace=QUICK)
    first = await session(conversations, 1)
    first.put(0, hi(0))
    await first.flush(2)
    history.gate.clear()
    history.waiting.clear()
    first.put(1, hi(1))  # never reaches Redis
    await history.waiting.wait()
    second = await session(elsewhere, 2)
    second.put(0, hi(2))
    await second.flush(2)
    history.away = not asked
    third = conversations.open(CALL, 3)
    prepared = await third.prepare(0.05)
    assert prepared.items == ((hi(0), hi(2)) if asked else (hi(0), hi(1)))
    history.away = False
    history.gate.set()
    third.put(0, hi(3))
    assert await third.flush(2)
    assert await items(redis) == [hi(0), hi(2), hi(3)]
    await conversations.close(1)


async def test_a_reply_is_cut_where_the_line_dropped(redis: Redis, elsewhere: Conversations) -> None:
    """Without proof of what was heard it is estimated up to the moment the session left, on whatever process."""
    now = 10_000
    conversations = Conversations(History(redis, 60), pace=QUICK, now_ms=lambda: now)
    writer = await session(conversations, 1)
    writer.put(0, AssistantItem("Twelve chars and more", "open", started=10_000))
    writer.put(1, ToolItem("c1", "book", "{}", "", "running"))
    now = 11_349
    conversations.release(writer)
    now = 60_000
    done = ToolItem("c1", "book", "{}", '"booked"')
    writer.put(1, done)  # late, and no sign of the line
    cut = (AssistantItem("Twelve chars", "interrupted", started=10_000), done)
    assert (await conversations.open(CALL, 2).prepare(1)).items == cut
    await conversations.close(1)
    assert (await elsewhere.open(CALL, 3).prepare(1)).items == cut


async def test_a_kill_costs_at_most_what_was_not_written(redis: Redis, elsewhere: Conversations) -> None:
    """The last write carries the moment up to which the next process estimates what was heard."""
    now = 10_000
    conversations = Conversations(History(redis, 60), pace=QUICK, now_ms=lambda: now)
    writer = await session(conversations, 1)
    writer.put(0, AssistantItem("Twelve chars and more", "open", started=10_000))
    now = 11_349
    writer.put(1, hi(1))
    await writer.flush(2)  # and nothing more ever comes from this process
    cut = AssistantItem("Twelve chars", "interrupted", started=10_000)
    assert (await elsewhere.open(CALL, 2).prepare(1)).items == (cut, hi(1))
    await conversations.close(1)


# -- results that come late


async def test_a_late_result_reaches_the_history(here: Conversations, redis: Redis) -> None:
    """A side effect may end after its session."""
    writer = await session(here, 1)
    writer.put(0, ToolItem("c1", "book", "{}", "", "running"))
    here.release(writer)
    assert await writer.flush(2)
    done = ToolItem("c1", "book", "{}", '"booked"')
    writer.put(0, done)
    assert await writer.flush(2)
    assert await items(redis) == [done]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_late_result_reaches_the_session_that_took_over(here: Conversations, redis: Redis, moment: str) -> None:
    """It replaces the unknown outcome in its history, and the session hears of it once it has been told otherwise."""
    first = await session(here, 1)
    first.put(0, ToolItem("c1", "book", "{}", "", "running"))
    first.put(1, reply("On my way", heard=1))
    late: list[ToolItem] = []
    second = here.open(CALL, 2, on_late=late.append)
    done = ToolItem("c1", "book", "{}", '"booked"')
    if moment == "before":
        first.put(0, done)
    prepared = await second.prepare(1)
    if moment == "after":
        assert prepared.items[0] == ToolItem("c1", "book", "{}", UNKNOWN_OUTCOME, "unknown")
        first.put(0, done)
        first.put(0, done)
        first.put(1, AssistantItem("On my way to you"))
        assert late == [done]
    else:
        assert prepared.items[0] == done
        assert late == []
    assert await second.flush(2)
    assert await items(redis) == [done, AssistantItem("On", "interrupted")]


# -- the process


async def test_a_conversation_is_forgotten_after_a_while(history: WatchedHistory) -> None:
    """It is remembered for ``keep`` seconds after its session, and until it is written."""
    conversations = Conversations(history, keep=0.01, pace=QUICK)
    writer = await session(conversations, 1)
    history.gate.clear()
    writer.put(0, hi(0))
    conversations.release(writer)
    conversations.release(writer)
    await asyncio.sleep(0.05)
    assert len(conversations) == 1
    history.gate.set()
    assert await writer.flush(2)
    async with asyncio.timeout(20):
        while len(conversations):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await conversations.close(1)


async def test_a_resumed_conversation_is_not_forgotten(history: WatchedHistory) -> None:
    """The timer of the dropped session does not end the one that followed."""
    conversations = Conversations(history, keep=0.01, pace=QUICK)
    conversations.release(await session(conversations, 1))
    await session(conversations, 2)
    await asyncio.sleep(0.03)
    assert len(conversations) == 1
    await conversations.close(1)


async def test_memory_is_bounded(weak: Redis, fragile: FragileRedis) -> None:
    """Of the conversations that are over at most ``limit`` are remembered; the oldest goes first, written ones before
    those that wait for Redis."""
    conversations = Conversations(History(weak, 60), limit=2, pace=PATIENT)
    one, two, three, four = [await session(conversations, 1, f"CA{n}") for n in range(4)]
    fragile.stop()
    one.put(0, hi(0))
    conversations.release(one)
    assert not await one.flush(0.05)
    fragile.start()
    conversations.release(two)
    assert await two.flush(2)
    fragile.stop()
    conversations.release(three)
    assert (len(conversations), one.over) == (3, False)
    conversations.release(four)
    assert (len(conversations), one.over, three.over, four.over) == (2, True, False, False)
    assert await conversations.close(0.01) == 2


async def test_a_flush_and_a_close_do_not_sit_out_the_pause_after_an_error(weak: Redis, fragile: FragileRedis) -> None:
    """What somebody waits for is tried now."""
    conversations = Conversations(History(weak, 60), pace=PATIENT)
    one, two = [await session(conversations, 1, f"CA{n}") for n in range(2)]
    fragile.stop()
    one.put(0, hi(0))
    two.put(0, hi(0))
    conversations.release(two)
    for writer in (one, two):
        assert not await writer.flush(0.05)
    fragile.start()
    assert await one.flush(2)
    assert two.pending
    assert await conversations.close(2) == 0
    assert await items(weak, "CA0") == await items(weak, "CA1") == [hi(0)]


async def test_closing_writes_everything(here: Conversations, redis: Redis) -> None:
    """At shutdown open replies and sessions still open are written without waiting for their time."""
    for n in range(20):
        writer = await session(here, 1, f"CA{n}")
        writer.put(0, reply("Good"))
        await writer.flush(2)
        writer.put(0, reply("Good bye"))
    assert await here.close(2) == 0
    assert len(here) == 0
    for n in range(20):
        assert await items(redis, f"CA{n}") == [reply("Good bye")]


async def test_closing_without_redis_ends_in_time(weak: Redis, fragile: FragileRedis) -> None:
    """What cannot be written is counted, no task is left, and later words are nobody's."""
    conversations = Conversations(History(weak, 60), pace=QUICK)
    writer = await session(conversations, 1)
    fragile.stop()
    writer.put(0, hi(0))
    begun = time.monotonic()
    assert await conversations.close(0.1) == 1
    assert time.monotonic() - begun < 20
    writer.put(1, hi(1))
    # What the writer had given to the store is still on its way, and ends by itself.
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_session_that_never_got_ready_loses_nothing(here: Conversations, history: WatchedHistory) -> None:
    """Cancelled while it prepared: what it had put is written when it has left."""
    history.away = True
    writer = here.open(CALL, 9)
    preparing = asyncio.create_task(writer.prepare(1))
    writer.put(0, hi(0))
    await asyncio.sleep(0)
    preparing.cancel()
    await asyncio.wait([preparing])
    assert preparing.cancelled()
    here.release(writer)
    assert await writer.flush(2)
    assert history.puts == [[(9 << 12, hi(0))]]


async def test_a_cancelled_flush_leaves_the_writing_going_on(
    here: Conversations, history: WatchedHistory, redis: Redis
) -> None:
    """Only the waiting ends."""
    writer = await session(here, 1)
    history.gate.clear()
    writer.put(0, hi(0))
    flush = asyncio.create_task(writer.flush(5))
    await history.waiting.wait()
    flush.cancel()
    await asyncio.wait([flush])
    assert flush.cancelled()
    history.gate.set()
    assert await writer.flush(2)
    assert await items(redis) == [hi(0)]


async def test_a_quiet_call_has_no_task(here: Conversations) -> None:
    """A writer's task lives only while there is something to write, and has a name."""
    writer = await session(here, 1)
    writer.put(0, hi(0))
    assert f"history {CALL}" in {task.get_name() for task in asyncio.all_tasks()}
    await writer.flush(2)
    assert asyncio.all_tasks() == {asyncio.current_task()}
