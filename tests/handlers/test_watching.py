"""Whoever watches is told what happens to calls in all processes, once, in order, and never holds anything up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from handlers.dashboard_access import Access
from handlers.watching import HEADERS, PATH, Pace, Watching
from relay.models.sse import EventSplitter
from relay.store.client import connect
from relay.store.events import CHANNEL, Events
from relay.store.subscription import Subscription
from tests.relay.store.servers import FragileRedis, fragile_redis

SOON = 5.0
FAST = Pace(together=0.0)
NOW = 1_800_000_000.0
ROOM = 20
EVENTS = 200
PADDING = "x" * 60_000  # so many events of that size are more than a connection holds


def turn(call: str, number: int = 1, **more: object) -> dict[str, object]:
    return {"event": "turn", "id": call, "turn": number, **more}


class Process:
    """A process with a port, which watches a Redis server. ``happens``: to one of its calls."""

    def __init__(self, redis: Redis, access: Access, *, pace: Pace = FAST, most: int = 100) -> None:
        self._redis = redis
        self._events = Events("here")
        self.subscription = Subscription(redis, quiet=0.05, again=(0.01, 0.05))
        self.watching = Watching(
            access, self._events, self.subscription, most=most, room=ROOM, pace=pace, now=lambda: NOW
        )
        self.app = web.Application()
        self.watching.add_routes(self.app)
        self.app.on_shutdown.append(self._leaves)
        self.url = ""

    async def _leaves(self, app: web.Application) -> None:
        self.watching.close()

    async def happens(self, event: dict[str, object], *, told: bool = True) -> None:
        """``told``: by Redis too."""
        pipeline = self._redis.pipeline(transaction=False)
        self._events.publish(event, pipeline)
        if told:
            await pipeline.execute()


@asynccontextmanager
async def process(redis: Redis, *, token: str = "", pace: Pace = FAST, most: int = 100) -> AsyncIterator[Process]:
    """One that listens to other processes already."""
    made, listens = Process(redis, Access(token, None), pace=pace, most=most), asyncio.Event()
    made.subscription.watch(lambda listening: listens.set())
    made.subscription.start()
    await asyncio.wait_for(listens.wait(), SOON)
    runner = web.AppRunner(made.app, access_log=None, shutdown_timeout=20.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        async with asyncio.timeout(SOON):  # no stream keeps it from leaving
            await runner.cleanup()
        await made.subscription.close()


class Stream:
    """What a watcher reads."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.raw = b""
        self._splitter = EventSplitter()
        self._events: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any] | None:
        """The next event, None at the end of the stream."""
        async with asyncio.timeout(SOON):
            while not self._events:
                piece = await self.response.content.readany()
                if not piece:
                    return None
                self.raw = (self.raw + piece)[:1000]
                self._events += map(orjson.loads, self._splitter.feed(piece))
        return self._events.pop(0)

    async def rest(self) -> list[dict[str, Any]]:
        """All there is until the end of the stream."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def watching(url: str, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with ClientSession() as http, http.get(url + PATH + query, headers=headers) as response:
        assert response.status == 200
        yield Stream(response)


@pytest.fixture
def fragile() -> Iterator[FragileRedis]:
    with fragile_redis() as server:
        yield server


async def test_events_of_all_processes_come_once(redis: Redis) -> None:
    """This process's own, which Redis repeats, and those of others."""
    async with process(redis) as here, watching(here.url) as stream:
        assert await stream.next() == {"event": "status", "others": True, "worker": "here", "at": int(NOW * 1000)}
        await here.happens(turn("CA1"))
        assert await stream.next() == turn("CA1", worker="here")
        await redis.publish(CHANNEL, orjson.dumps(turn("CA2", worker="there")))
        assert await stream.next() == turn("CA2", worker="there")
        await here.happens(turn("CA3"))
        assert await stream.next() == turn("CA3", worker="here")
        assert stream.raw.startswith(b'retry: 2000\n\nevent: status\ndata: {"event":"status"')
        assert b'event: turn\nid: 2\ndata: {"event":"turn","id":"CA2"' in stream.raw


async def test_the_stream_passes_proxies_as_it_is(redis: Redis) -> None:
    """Nothing keeps events back or packs them, also where the reader would take it."""
    async with process(redis) as here, watching(here.url, **{"Accept-Encoding": "gzip, deflate"}) as stream:
        headers = stream.response.headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "Content-Encoding" not in headers


async def test_one_conversation_can_be_watched(redis: Redis) -> None:
    """Others are left out; how things stand is told all the same."""
    async with process(redis) as here, watching(here.url, "?conversation=CA2") as stream:
        assert (await stream.next() or {})["event"] == "status"
        await here.happens(turn("CA1"))
        await here.happens(turn("CA2", 7))
        assert await stream.next() == turn("CA2", 7, worker="here")


@pytest.mark.parametrize(
    "message", [b"", b"[]", b"{}", b'{"event": 3}', b'{"event": "a\\nb"}', b'{"event": "turn"' + b" " * 20_000 + b"}"]
)
async def test_what_is_no_event_is_left_out(redis: Redis, message: bytes) -> None:
    """Nothing of it is logged, and the next one comes."""
    async with process(redis) as here, watching(here.url) as stream:
        await stream.next()
        with capture_logs() as records:
            await redis.publish(CHANNEL, message)
            await here.happens(turn("CA1"))
            assert await stream.next() == turn("CA1", worker="here")
        assert all(record["event"] == "an event that cannot be read" and len(record) == 2 for record in records)


async def test_without_redis_this_process_s_own_events_still_come(fragile: FragileRedis) -> None:
    """A watcher is told that others are not heard, and when they are again."""
    redis = connect(fragile.url)
    async with process(redis) as here, watching(here.url) as stream:
        assert (await stream.next() or {})["others"] is True
        fragile.stop()
        assert (await stream.next() or {})["others"] is False
        await here.happens(turn("CA1"), told=False)
        assert await stream.next() == turn("CA1", worker="here")
        async with watching(here.url) as other:
            assert (await other.next() or {})["others"] is False
        fragile.start()
        assert (await stream.next() or {})["others"] is True
    await redis.aclose()


async def test_a_watcher_that_reads_too_slowly_is_let_go(redis: Redis) -> None:
    """It reads what there was room for, in order, and how much it has missed; nobody else is kept waiting."""
    async with process(redis) as here, watching(here.url) as slow, watching(here.url) as quick:
        await slow.next()
        await quick.next()
        for number in range(1, EVENTS + 1):
            await here.happens(turn("CA1", number, padding=PADDING), told=False)
            assert (await quick.next() or {})["turn"] == number
        *turns, dropped = await slow.rest()
        # What the connection held, and then what waited here; one event more than there was room for ends it.
        assert [event["turn"] for event in turns] == list(range(1, len(turns) + 1))
        assert dropped == {"event": "dropped", "missed": EVENTS - len(turns)}
        assert len(turns) >= ROOM and dropped["missed"] > 0
        await here.happens(turn("CA2"), told=False)
        assert await quick.next() == turn("CA2", worker="here")


async def test_a_watcher_that_reads_nothing_is_cut_off(redis: Redis) -> None:
    """After a while its connection is closed, whatever is unread."""
    async with process(redis, pace=Pace(together=0.0, write=0.05)) as here, watching(here.url) as stream:
        await stream.next()
        async with asyncio.timeout(SOON):
            for number in range(1_000_000):
                if not len(here.watching):
                    break
                await here.happens(turn("CA1", number, padding=PADDING), told=False)
                await asyncio.sleep(0.001)
        assert not len(here.watching)


async def test_silence_is_broken_by_a_comment(redis: Redis) -> None:
    """It keeps proxies from taking the connection for a dead one, and tells us of readers that are gone."""
    async with process(redis, pace=Pace(ping=0.01, together=0.0)) as here:
        async with watching(here.url) as stream:
            async with asyncio.timeout(SOON):
                while stream.raw.count(b": ping\n\n") < 2:
                    stream.raw += await stream.response.content.readany()
        async with asyncio.timeout(SOON):
            while len(here.watching):  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def test_a_stream_does_not_last_for_ever(redis: Redis) -> None:
    """Who comes again is admitted anew, or is not."""
    pace = Pace(ping=0.01, together=0.0, longest=0.05)
    async with process(redis, pace=pace) as here, watching(here.url) as stream:
        assert [event["event"] for event in await stream.rest()] == ["status"]


async def test_events_close_together_are_one_piece(redis: Redis) -> None:
    """Many watchers of many calls cost little."""
    async with process(redis, pace=Pace(together=0.05)) as here, watching(here.url) as stream:
        await stream.next()
        for number in range(ROOM):
            await here.happens(turn("CA1", number), told=False)
        assert [(await stream.next() or {})["turn"] for _ in range(ROOM)] == list(range(ROOM))


async def test_no_more_than_so_many_watch_a_process(redis: Redis) -> None:
    """The next one is told to come again; when one has gone there is room."""
    async with process(redis, most=1) as here, ClientSession() as http, watching(here.url) as stream:
        await stream.next()
        async with http.get(here.url + PATH) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "too_many")
            assert answer.headers["Retry-After"] == "10"


async def test_streams_end_when_the_process_leaves(redis: Redis) -> None:
    """At once, and in order: the reader comes again elsewhere. Who comes now is sent away."""
    async with process(redis) as here, watching(here.url) as stream, ClientSession() as http:
        await stream.next()
        here.watching.close()
        assert await stream.next() is None
        async with http.get(here.url + PATH) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "leaving")


async def test_a_process_with_open_streams_leaves_at_once(redis: Redis) -> None:
    """Its shutdown waits for no reader (``process`` would time out)."""
    async with ClientSession() as http:
        async with process(redis) as here:
            stream = Stream(await http.get(here.url + PATH))
            await stream.next()
        assert await stream.next() is None


async def test_only_who_is_admitted_watches(redis: Redis) -> None:
    """Without the token nothing is told."""
    async with process(redis, token="t0ken") as here, ClientSession() as http:
        async with http.get(here.url + PATH) as answer:
            assert answer.status == 401
        async with watching(here.url, Authorization="Bearer t0ken") as stream:
            assert (await stream.next() or {})["event"] == "status"
