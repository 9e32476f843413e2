"""Traces written behind calls: in Redis, told to whoever watches, and gone without harm where Redis is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from relay.store.client import connect
from relay.store.events import CHANNEL, Event, Events
from relay.store.person import person_hash
from relay.store.trace import LONGEST_CALL_MS, MOST_AT_ONCE, MOST_KEPT, Traces, hash_key, trace_key
from relay.trace import Entry
from tests.calls.checks import eventually
from tests.relay.store.servers import FragileRedis, fragile_redis, patient

CALL, OTHER = "CA1", "CA2"
ANN = "phone:+15551234567"
KEY = b"a key of thirty-two bytes at least"
HASH = person_hash(KEY, ANN)
BEGUN: Entry = {"v": 1, "kind": "session", "at": 1000, "session": "VX1", "resumed": False, "agent": "desk"}
ENDED: Entry = {"v": 1, "kind": "ended", "at": 9000, "reason": "completed", "seconds": 8.0, "turns": 1, "tools": []}
USED = {"input": 100, "cached": 60, "output": 9}


def turn(number: int = 1) -> Entry:
    return {
        "v": 1,
        "kind": "turn",
        "at": 2000,
        "turn": number,
        "agent": "desk",
        "outcome": "done",
        "first_text_ms": 412.0,
        "segments_ms": {"queue": 1.0},
        "rounds": [{"model": "", **USED}, {"model": "other", **USED}],
        "tools": [{"name": "book"}, {"name": "book"}],
    }


class Process:
    """What one process has: its traces, what it was told of, and how many entries were lost."""

    def __init__(self, redis: Redis, **options: Any) -> None:
        self.told: list[Event] = []
        self.lost = 0
        events = Events("desk-1")
        events.subscribe(self.told.append)
        self.traces = Traces(
            redis, events, ttl=60, key=KEY, model="usual", lost=self._lose, **{"window": 0.005, **options}
        )

    def _lose(self, count: int) -> None:
        self.lost += count

    def add(self, *entries: Entry, call: str = CALL) -> None:
        trail = self.traces.of(call, "voice", ANN)
        for entry in entries:
            trail.add(entry)


@asynccontextmanager
async def process(redis: Redis, **options: Any) -> AsyncIterator[Process]:
    made = Process(redis, **options)
    made.traces.start()
    yield made
    await made.traces.close(2)


async def kept(redis: Redis, call: str = CALL) -> list[Entry]:
    return [orjson.loads(fields[b"j"]) for _, fields in await redis.xrange(trace_key(call))]


async def test_entries_are_kept_in_order_as_long_as_the_history(redis: Redis) -> None:
    """Those of a call in its own stream, which expires; a request that names no model was to the usual one."""
    async with process(redis) as here:
        here.add(BEGUN, turn(1))
        here.add({**BEGUN, "session": "VX2"}, call=OTHER)
        here.add(turn(2), ENDED)
    first, *turns, last = await kept(redis)
    assert (first, last) == (BEGUN, ENDED)
    assert [each["turn"] for each in turns] == [1, 2]
    assert [each["model"] for each in turns[0]["rounds"]] == ["usual", "other"]
    assert [each["session"] for each in await kept(redis, OTHER)] == ["VX2"]
    assert 50_000 < await redis.pttl(trace_key(CALL)) <= 60_000
    assert here.lost == 0


async def test_a_channel_may_keep_its_traces_longer(redis: Redis) -> None:
    """As long as what was said there."""
    async with process(redis, ttls={"chat": 120}) as here:
        here.traces.of(CALL, "chat", ANN).add(BEGUN)
        here.add(BEGUN, call=OTHER)
    assert 110_000 < await redis.pttl(trace_key(CALL)) <= 120_000
    assert 50_000 < await redis.pttl(trace_key(OTHER)) <= 60_000


async def test_whoever_watches_is_told(redis: Redis) -> None:
    """Here and by Redis, in order: that a call has begun, its turns, that it has ended; no word of anybody's."""
    async with redis.pubsub() as elsewhere:
        await elsewhere.subscribe(CHANNEL)
        async with process(redis) as here:
            here.add(BEGUN, turn(), ENDED)
        heard: list[Event] = []
        async with asyncio.timeout(20):
            while len(heard) < 3:
                message = await elsewhere.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None:
                    heard.append(orjson.loads(message["data"]))
    assert heard == here.told
    common = {"id": CALL, "worker": "desk-1"}
    assert heard == [
        {
            "event": "call_started",
            "at": 1000,
            "agent": "desk",
            "channel": "voice",
            "person": HASH,
            "resumed": False,
            **common,
        },
        {
            "event": "turn",
            "at": 2000,
            "agent": "desk",
            "turn": 1,
            "outcome": "done",
            "first_text_ms": 412.0,
            "segments_ms": {"queue": 1.0},
            "tools": ["book", "book"],
            "tokens": {"input": 200, "cached": 120, "output": 18},
            **common,
        },
        {"event": "call_ended", "at": 9000, "reason": "completed", "seconds": 8.0, "turns": 1, "unsaid": 0, **common},
    ]


async def test_a_session_that_another_one_has_replaced_is_no_end_of_the_call(redis: Redis) -> None:
    """Its trace tells that it ended; nobody is told that the call did."""
    async with process(redis) as here:
        here.add({**ENDED, "reason": "fenced"})
    assert [each["reason"] for each in await kept(redis)] == ["fenced"]
    assert here.told == []


async def test_a_person_is_found_by_their_hash_without_being_named(redis: Redis) -> None:
    """It leads to their latest conversation; the hash is another one under another key."""
    async with process(redis) as here:
        here.add(BEGUN)
        here.add(BEGUN, call=OTHER)
    assert await redis.get(hash_key(HASH)) == OTHER.encode()
    assert 50_000 < await redis.pttl(hash_key(HASH)) - LONGEST_CALL_MS <= 60_000
    assert not [key for key in await redis.keys("*") if b"1555" in key]
    assert person_hash(b"another", ANN) != HASH == person_hash(KEY, ANN)
    assert len(HASH) == 24


async def test_a_trace_is_capped(redis: Redis) -> None:
    """A call without end keeps its latest entries."""
    async with process(redis, most=5000) as here:
        here.add(*(turn(number) for number in range(3 * MOST_KEPT)))
    found = await kept(redis)
    assert MOST_KEPT <= len(found) <= MOST_KEPT + 200
    assert found[-1]["turn"] == 3 * MOST_KEPT - 1


async def answers(redis: Redis) -> None:
    """Waits until it does again."""
    async with asyncio.timeout(20):
        while True:
            try:
                await redis.ping()
                return
            except RedisError:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("harm", [FragileRedis.stop, FragileRedis.freeze], ids=["away", "silent"])
async def test_redis_that_does_not_answer(harm: Callable[[FragileRedis], None]) -> None:
    """What it does not take is dropped and counted, and told once; who watches here is told all the same; when it is
    back, what comes then is kept."""
    with fragile_redis() as server:
        redis = connect(server.url)
        async with process(redis) as here:
            here.add(BEGUN)
            await eventually(lambda: here.told)
            harm(server)
            with capture_logs() as records:
                here.add(turn(1))
                await eventually(lambda: here.lost == 1, within=20)
                here.add(turn(2))
                await eventually(lambda: here.lost == 2, within=20)
            assert [record["event"] for record in records] == ["traces not written"]
            assert len(here.told) == 3
            if harm is FragileRedis.stop:
                server.start()
            else:
                server.thaw()
            await answers(redis)
            here.add(turn(3))
        assert (await kept(redis))[-1]["turn"] == 3
        assert here.lost == 2
        await redis.aclose()


async def test_who_leaves_does_not_wait_for_others_to_join(redis: Redis) -> None:
    """What waits in the window is written as the process leaves, however long the window is."""
    async with process(redis, window=600.0) as here:
        here.add(BEGUN)
    assert (await kept(redis), here.lost) == ([BEGUN], 0)


async def test_no_more_waits_than_so_much() -> None:
    """However long Redis is silent: the rest is dropped and counted at once, and a process that leaves does not wait
    for it longer than it may."""
    with fragile_redis() as server:
        redis = connect(patient(server.url))
        server.freeze()
        here = Process(redis, most=2 * MOST_AT_ONCE)
        here.traces.start()
        here.add(*(turn(number) for number in range(3 * MOST_AT_ONCE)))
        assert here.lost == MOST_AT_ONCE
        async with asyncio.timeout(30):
            await here.traces.close(0.2)
        assert here.lost == 3 * MOST_AT_ONCE
        await redis.aclose()


async def test_a_bug_in_an_entry_costs_its_batch_only(redis: Redis) -> None:
    """It is logged and counted; what comes after it is kept."""
    async with process(redis) as here:
        with capture_logs() as records:
            here.add({"v": 1, "kind": "session", "at": object()})
            await eventually(lambda: here.lost == 1)
            here.add(ENDED)
    assert await kept(redis) == [ENDED]
    assert [record["log_level"] for record in records] == ["error"]
