"""Who watches a running application by its ``/dashboard/events``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import ClientSession

from handlers.watching import PATH
from relay.models.sse import EventSplitter
from tests.running import Running

SOON = 5.0


@asynccontextmanager
async def watching(process: Running, token: str = "") -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    """The events that are told from now on, in all processes: this one hears the others already."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with ClientSession() as http, http.get(process.url + PATH, headers=headers) as stream:
        assert stream.status == 200

        async def read() -> None:
            splitter = EventSplitter()
            async for piece in stream.content.iter_any():
                for data in splitter.feed(piece):
                    events.put_nowait(orjson.loads(data))

        reading = asyncio.create_task(read())
        async with asyncio.timeout(SOON):
            while not (await events.get())["others"]:
                pass
        yield events
        reading.cancel()
        await asyncio.wait([reading])
