"""Webhooks that must not be lost: while nothing can be stored they are answered 503, within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web
from redis.asyncio import Redis

from handlers.callbacks import STATUS as CALL_STATUS
from handlers.twilio_status import STATUS, TwilioStatus
from relay.store.client import connect
from relay.store.messages import Messages
from tests.handlers.standins import serving
from tests.handlers.test_status import status
from tests.handlers.test_twilio_status import GATE, form, post
from tests.handlers.voice_phone import phone
from tests.relay.store.servers import FragileRedis

CONNECTIONS, AT_ONCE = 4, 8
Post = Callable[[bool], Awaitable[int]]
"""Reports something, or what comes after it; the status of the answer."""


@pytest.fixture
async def redis(fragile: FragileRedis) -> AsyncIterator[Redis]:
    client = connect(fragile.url, connections=CONNECTIONS)
    yield client
    await client.aclose()


@asynccontextmanager
async def messages(redis: Redis) -> AsyncIterator[Post]:
    async with serving(web.post(STATUS, TwilioStatus(GATE, Messages(redis)).message)) as client:
        yield lambda later: post(client, form("delivered" if later else "sent"))


@asynccontextmanager
async def calls(redis: Redis) -> AsyncIterator[Post]:
    async with phone(redis=redis) as caller:

        async def report(later: bool) -> int:
            news = status("in-progress", 2) if later else status("ringing", 1)
            code, _ = await caller.post(CALL_STATUS, news)
            return code

        yield report


def full(server: FragileRedis) -> None:
    server.admin("CONFIG", "SET", "maxmemory", 1)


@pytest.mark.parametrize("route", [messages, calls])
@pytest.mark.parametrize("fault", [FragileRedis.stop, FragileRedis.freeze, full])
async def test_what_cannot_be_stored(
    fragile: FragileRedis,
    redis: Redis,
    route: Callable[[Redis], AbstractAsyncContextManager[Post]],
    fault: Callable[[FragileRedis], None],
) -> None:
    """More than there are connections, whatever is wrong with the server; they are taken again when it is well."""
    async with route(redis) as report:
        assert await report(False) < 300
        fault(fragile)

        async with asyncio.timeout(4):  # the promise is a second; so many at once on a busy machine take longer
            assert {*await asyncio.gather(*(report(True) for _ in range(AT_ONCE)))} == {503}
        if fault is FragileRedis.stop:
            fragile.start()
        elif fault is FragileRedis.freeze:
            fragile.thaw()
        else:
            fragile.admin("CONFIG", "SET", "maxmemory", 0)
        assert await report(True) < 300
