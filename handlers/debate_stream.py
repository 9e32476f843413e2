"""An answer of the debate as it is written: an event stream, for clients that ask for one (``Accept``).

    event: delta    {"text": "..."}                 a piece of our reply, any number
    event: done     the JSON answer, as without a stream
    event: error    {"code": "...", "message": "..."}    in place of ``done``, once something has been sent

What fails before the first piece is answered as without a stream, with its status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web

WRITE_DEADLINE = 5.0

Run = Callable[[Callable[[str], None]], Coroutine[Any, Any, Mapping[str, object]]]
"""Makes the answer, and tells the pieces of our reply as they come, without waiting."""

log = structlog.get_logger(__name__)


async def stream(request: web.Request, run: Run) -> web.StreamResponse:
    """Whoever leaves does not end the turn: it is stored, and a retry with its key answers the same. A cancel does."""
    pieces: asyncio.Queue[str | None] = asyncio.Queue()  # at most the words of one reply
    turn = asyncio.create_task(run(pieces.put_nowait), name="debate turn")
    turn.add_done_callback(lambda _: pieces.put_nowait(None))
    out = _Events(request)
    try:
        while (piece := await pieces.get()) is not None:
            await out.write("delta", {"text": piece})
        try:
            await out.write("done", turn.result())
        except web.HTTPException as problem:
            if not out.begun:
                raise
            await out.write("error", orjson.loads(problem.text or "{}"))
        return await out.end()
    finally:
        turn.cancel()
        await asyncio.wait([turn])


class _Events:
    """The response; its head is sent with the first event. Nothing is written any more to who has gone."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        self._response.content_type = "text/event-stream"
        self._response.charset = "utf-8"
        self._gone = False

    @property
    def begun(self) -> bool:
        return self._response.prepared

    async def write(self, event: str, data: Mapping[str, object]) -> None:
        if self._gone:
            return
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                if not self._response.prepared:
                    await self._response.prepare(self._request)
                await self._response.write(b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data)))
        except (ConnectionError, TimeoutError) as error:
            self._gone = True
            log.info("reader of a debate has gone", error=type(error).__name__)
            if self._request.transport is not None:
                self._request.transport.abort()

    async def end(self) -> web.StreamResponse:
        if not self._gone:
            await self._response.write_eof()
        return self._response


__all__ = ["stream"]
