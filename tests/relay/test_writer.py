"""History behind the call: paced, in order, and complete after an outage."""

from __future__ import annotations

import asyncio
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.conversations import Conversations
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem, dump_item
from relay.store.client import DEADLINE, connect
from relay.store.history import History, repair, state_key
from relay.writer import Pace
from tests.relay.histories import CALL, QUICK, WatchedHistory, hi, items, reply, session, written
from tests.relay.store.servers import FragileRedis, patient

# -- what is written, and when


async def test_a_callers_words_are_written_at_once(here: Conversations, redis: Redis) -> None:
    """Nothing has to be waited for nor asked for."""
    writer = await session(here, 1)
    writer.put(0, hi(0))
    assert writer.pending
    await written(writer)
    assert await items(redis) == [hi(0)]


async def test_a_session_goes_on_behind_what_is_there(here: Conversations, elsewhere: Conversations) -> None:
    """The base is behind the highest position found; the items before it are what the session starts from."""
    first = await session(elsewhere, 1)
    first.put(0, hi(0))
    first.put(1, AssistantItem("Hello."))
    assert await first.flush(2)
    second = here.open(CALL, 2)
    prepared = await second.prepare(1)
    assert prepared.items == (hi(0), AssistantItem("Hello."))
    assert prepared.stored
    second.put(0, hi(1))
    await second.flush(2)
    third = await elsewhere.open(CALL, 3).prepare(1)
    assert third.items == (hi(0), AssistantItem("Hello."), hi(1))


async def test_what_is_put_before_the_base_is_known_waits(here: Conversations, history: WatchedHistory) -> None:
    """Items put while the history is being loaded are written when their positions are known."""
    await history.put(CALL, 1, [(6, dump_item(hi(0)))])
    writer = here.open(CALL, 2)
    writer.put(1, hi(2))
    writer.put(0, hi(1))
    await asyncio.sleep(0)
    assert len(history.puts) == 1
    await writer.prepare(1)
    await writer.flush(2)
    assert history.puts[1:] == [[(7, hi(1)), (8, hi(2))]]


async def test_one_write_is_in_flight_and_a_rewrite_replaces(here: Conversations, history: WatchedHistory) -> None:
    """While a write is on its way everything else waits as one entry an item, and goes with the next in order."""
    writer = await session(here, 1)
    history.gate.clear()
    writer.put(0, hi(0))
    await history.waiting.wait()
    for n in range(100):
        writer.put(2, AssistantItem("x" * n))
        writer.put(1, ToolItem("c1", "book", "{}", str(n)))
        await asyncio.sleep(0)
    assert history.puts == [[(0, hi(0))]]
    history.gate.set()
    assert await writer.flush(2)
    assert history.puts[1:] == [[(1, ToolItem("c1", "book", "{}", "99")), (2, AssistantItem("x" * 99))]]


async def test_a_rewrite_of_what_is_in_flight_is_written_again(here: Conversations, history: WatchedHistory) -> None:
    """The later words win, though the earlier write ends after they were put."""
    writer = await session(here, 1)
    history.gate.clear()
    writer.put(0, hi(0))
    await history.waiting.wait()
    writer.put(0, hi(1))
    history.gate.set()
    await writer.flush(2)
    assert history.puts == [[(0, hi(0))], [(0, hi(1))]]


async def test_an_open_reply_is_written_every_so_often(redis: Redis) -> None:
    """However many tokens come, writes of an open reply keep their distance."""
    history = WatchedHistory(redis)
    conversations = Conversations(history, pace=Pace(open_reply=0.05))
    writer = await session(conversations, 1)
    begun = time.monotonic()
    text = ""
    async with asyncio.timeout(10):
        while len(history.puts) < 4:
            text += " word"
            writer.put(0, reply(text))
            await asyncio.sleep(0.001)
    assert time.monotonic() - begun > 3 * 0.05 - 0.01
    writer.put(0, AssistantItem(text))
    await writer.flush(2)
    assert await items(redis) == [AssistantItem(text)]
    await conversations.close(1)


async def test_proof_of_what_was_heard_and_other_items_do_not_wait(
    here: Conversations, history: WatchedHistory
) -> None:
    """An urgent open reply is written at once, and any other item takes the open reply along."""
    writer = await session(here, 1)
    writer.put(0, reply("One"))
    await writer.flush(2)
    history.waiting.clear()
    writer.put(0, reply("One two"))
    await asyncio.sleep(0.02)
    assert len(history.puts) == 1
    writer.put(0, reply("One two", heard=1), urgent=True)
    async with asyncio.timeout(20):
        await history.waiting.wait()
    writer.put(0, reply("One two three", heard=1))
    writer.put(1, hi(1))
    await written(writer)
    assert history.puts[1:] == [[(0, reply("One two", heard=1))], [(0, reply("One two three", heard=1)), (1, hi(1))]]


async def test_a_removed_item_is_gone(here: Conversations, redis: Redis) -> None:
    """None removes an item that was written, and leaves its position empty."""
    writer = await session(here, 1)
    for n in range(3):
        writer.put(n, hi(n))
    await writer.flush(2)
    writer.put(1, None)
    await writer.flush(2)
    assert await items(redis) == [hi(0), hi(2)]


async def test_notes_reach_the_state(here: Conversations, redis: Redis, elsewhere: Conversations) -> None:
    """What a session notes of the conversation is there for the next one."""
    writer = await session(here, 1)
    writer.note(agent="default", turn=3)
    await writer.flush(2)
    assert (await redis.hgetall(state_key(CALL)))[b"turn"] == b"3"
    assert (await elsewhere.open(CALL, 2).prepare(1)).state == {"agent": "default", "turn": "3"}


# -- Redis away


async def test_a_call_begins_without_redis(fragile: FragileRedis) -> None:
    """The base is then above everything that may be stored, and its items follow the earlier ones afterwards."""
    client = connect(patient(fragile.url))
    history = WatchedHistory(client)
    conversations = Conversations(history, pace=QUICK)
    await history.put(CALL, 1, [(0, dump_item(hi(0)))])
    fragile.freeze()
    writer = conversations.open(CALL, 1_700_000_000_000)
    async with asyncio.timeout(30):
        prepared = await writer.prepare(0.1)
    assert (prepared.items, prepared.stored) == ((), False)
    writer.put(0, hi(1))
    fragile.thaw()
    assert await writer.flush(5)
    assert history.puts[-1] == [(1_700_000_000_000 << 12, hi(1))]
    assert [item for _, item in (await history.load(CALL, 1 << 41)).entries] == [hi(0), hi(1)]
    await conversations.close(1)
    await client.aclose()


async def test_the_history_is_complete_after_an_outage(weak: Redis, fragile: FragileRedis) -> None:
    """A server that lost all it had gets the whole conversation again: what was confirmed before, what came while it
    was away (one entry an item, however often it changed), and what earlier sessions had left."""
    history = WatchedHistory(weak)
    await history.put(CALL, 1, [(0, dump_item(hi(0)))], {"agent": "default"})
    conversations = Conversations(history, pace=QUICK)
    writer = await session(conversations, 2)
    writer.put(0, hi(1))
    assert await writer.flush(2)
    fragile.stop()
    for n in range(200):
        writer.put(1, reply("word " * n))
        writer.put(2, hi(n))
        await asyncio.sleep(0)
    assert not await writer.flush(0.05)
    assert writer.pending
    fragile.start()
    assert await writer.flush(5)
    assert max(map(len, history.puts)) == 4
    loaded = await history.load(CALL, 3)
    assert [item for _, item in loaded.entries] == [hi(0), hi(1), reply("word " * 199), hi(199)]
    assert loaded.state["agent"] == "default"
    await conversations.close(1)


async def test_a_silent_server_costs_nothing_but_time(weak: Redis, fragile: FragileRedis) -> None:
    """put returns at once while Redis hangs; everything is written when it goes on."""
    conversations = Conversations(History(weak, 60), pace=QUICK)
    writer = await session(conversations, 1)
    fragile.freeze()
    begun = time.monotonic()
    for n in range(100):
        writer.put(n, hi(n))
    assert time.monotonic() - begun < 100 * DEADLINE / 10
    assert not await writer.flush(0.6)  # one write has failed by then
    fragile.thaw()
    assert await writer.flush(5)
    assert await items(weak) == [hi(n) for n in range(100)]
    await conversations.close(1)


async def test_a_long_conversation_is_written_again_in_several_steps(
    here: Conversations, history: WatchedHistory, redis: Redis
) -> None:
    """No single script gets more than some hundred items, and earlier items go first."""
    writer = here.open(CALL, 1)
    for n in range(450):
        writer.put(n, hi(n))
    await writer.prepare(1)
    assert await writer.flush(5)
    assert [len(put) for put in history.puts] == [200, 200, 50]
    assert await items(redis) == [hi(n) for n in range(450)]


# -- every prefix of the writes

STEPS = st.lists(
    st.one_of(
        st.just("user"),
        st.just("reply"),
        st.just("grow"),
        st.just("end reply"),
        st.just("remove reply"),
        st.just("call"),
        st.just("result"),
        st.just("note"),
        st.just("write"),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_every_prefix_of_the_writes_has_one_result_for_each_call(redis: Redis, steps: list[str]) -> None:
    """Wherever a call breaks off, what is loaded is in order, has each tool call once, each with a result, and no
    reply that is still open; and all of it is there when nothing broke."""
    await redis.flushall()
    history = WatchedHistory(redis)
    conversations = Conversations(history, pace=Pace(open_reply=0.0))
    writer = await session(conversations, 1)
    latest: dict[int, Item | None] = {}
    for step in steps:
        number = len(latest)
        replies = [n for n, item in latest.items() if isinstance(item, AssistantItem) and item.status == "open"]
        running = [n for n, item in latest.items() if isinstance(item, ToolItem) and item.status == "running"]
        match step:
            case "user":
                latest[number] = UserItem(f"{number} words")
            case "note":
                latest[number] = NoteItem(f"{number} pressed")
            case "reply":
                latest[number] = reply(f"{number} reply", heard=2)
            case "call":
                latest[number] = ToolItem(f"{number} id", "book", "{}", '"still running"', "running")
            case "grow" if replies:
                number = replies[-1]
                latest[number] = reply(f"{number} reply and more", heard=3)
            case "end reply" if replies:
                number = replies[-1]
                latest[number] = AssistantItem(f"{number} reply")
            case "remove reply" if replies:
                number = replies[-1]
                latest[number] = None
            case "result" if running:
                number = running[0]
                latest[number] = ToolItem(f"{number} id", "book", "{}", '"booked"')
            case "write":
                await writer.flush(2)
                continue
            case _:
                continue
        writer.put(number, latest[number])
    assert await conversations.close(2) == 0

    plain = History(redis, 60)
    for length in range(len(history.puts) + 1):
        await redis.flushall()
        for entries in history.puts[:length]:
            await plain.put(CALL, 1, [(n, dump_item(item) if item else b"") for n, item in entries])
        found, _ = repair((await plain.load(CALL, 2)).entries, 0)
        for number, item in found:
            assert (item.call_id if isinstance(item, ToolItem) else item.text).startswith(f"{number} ")
            if isinstance(item, ToolItem):
                assert item.status in ("done", "unknown") and item.output != '"still running"'
            assert not (isinstance(item, AssistantItem) and item.status == "open")
    whole = (await plain.load(CALL, 2)).entries
    assert whole == [(n, item) for n, item in sorted(latest.items()) if item is not None]


async def test_what_redis_has_lost_without_an_error_is_written_again(
    history: WatchedHistory, here: Conversations, redis: Redis
) -> None:
    """As a replica may lack the last writes when it takes over: the next write finds out, and all of it is there."""
    writer = await session(here, 1)
    for number in range(3):
        writer.put(number, hi(number))
        await written(writer)
    await redis.flushall()
    writer.put(3, hi(3))
    await written(writer)
    assert await items(redis) == [hi(number) for number in range(4)]
    history.puts.clear()
    writer.put(4, hi(4))
    await written(writer)
    assert history.puts == [[(4, hi(4))]]


async def test_what_redis_has_lost_since_a_session_was_taken_up_is_written_again(
    here: Conversations, elsewhere: Conversations, redis: Redis
) -> None:
    """What another process wrote, too: this one has read it."""
    there = await session(elsewhere, 1)
    there.put(0, hi(0))
    await written(there)
    writer = await session(here, 2)
    await redis.flushall()
    writer.put(0, hi(1))
    await written(writer)
    assert await items(redis) == [hi(0), hi(1)]
