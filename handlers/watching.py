"""``GET /dashboard/events``: what happens to calls, in all processes, as server-sent events.

    event: turn             call_started, turn, call_ended (``relay/store/events.py``), status, dropped
    id: 17
    data: {"event": "turn", ...}

``status`` comes first, and whenever it changes: ``{"event": "status", "others": true|false, "worker", "at"}`` tells
whether other processes are heard; events of this one come in any case. ``?conversation=`` leaves out other calls.

Each watcher has a queue. One that reads too slowly for it is told how much it has missed, by ``dropped``, and let go;
browsers come again by themselves.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import web

from handlers.bearer import problem
from handlers.dashboard_access import DASHBOARD, Access
from relay.store.events import CHANNEL, Event, Events
from relay.store.subscription import Subscription

PATH = f"{DASHBOARD}/events"

MOST_WATCHERS = 100  # of one process
MOST_WAITING = 500  # events of one watcher
LONGEST_EVENT = 16 * 1024  # bytes
RETRY = 2000  # milliseconds after which a browser comes again

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx, and what is like it, would keep events back
}

_NAME = re.compile(r"[a-z_]{1,32}", re.ASCII)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``ping``: of silence after which a comment is sent; ``together``: in which events are sent as one piece;
    ``write``: for a watcher to read a piece, else it is cut off; ``longest``: of a stream, for who comes again is
    admitted anew."""

    ping: float = 15.0
    together: float = 0.25
    write: float = 10.0
    longest: float = 3600.0


USUAL_PACE = Pace()


class Watcher:
    """One reader's queue. ``conversation``: the only one it wants to know of, "" for all."""

    def __init__(self, conversation: str, first: bytes, room: int = MOST_WAITING) -> None:
        self._conversation = conversation
        self._room = room
        self._waiting: deque[bytes] = deque([first])
        self._missed = 0
        self._news = asyncio.Event()
        self._news.set()
        self.over = False
        """Nothing comes any more."""

    def tell(self, conversation: str, piece: bytes) -> None:
        """Of one that waits for too much already only the number is kept."""
        if self._conversation and conversation not in ("", self._conversation):
            return
        if len(self._waiting) < self._room and not self._missed:
            self._waiting.append(piece)
        else:
            self._missed += 1
        self._news.set()

    def leave(self) -> None:
        self.over = True
        self._news.set()

    async def next(self, pace: Pace) -> bytes:
        """What is to be sent next; a comment where there is nothing."""
        try:
            async with asyncio.timeout(pace.ping):
                await self._news.wait()
        except TimeoutError:
            return b": ping\n\n"
        if not self.over:
            await asyncio.sleep(pace.together)
        self._news.clear()
        piece = b"".join(self._waiting)
        self._waiting.clear()
        if self._missed:
            self.over = True
            piece += encode({"event": "dropped", "missed": self._missed})
        return piece


def encode(event: Event, number: int = 0) -> bytes:
    """As it is sent. ``number`` 0: without an id."""
    data = orjson.dumps(event)
    head = f"event: {event['event']}\n" + (f"id: {number}\n" if number else "")
    return head.encode() + b"data: " + data + b"\n\n"


class Watching:
    """One a process: takes in its own events and those of others, each once, and passes them on. ``close`` lets every
    watcher go, at once."""

    def __init__(
        self,
        access: Access,
        events: Events,
        subscription: Subscription,
        *,
        most: int = MOST_WATCHERS,
        room: int = MOST_WAITING,
        pace: Pace = USUAL_PACE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._worker = events.worker
        self._others = False
        self._most = most
        self._room = room
        self._pace = pace
        self._now = now
        self._number = 0
        self._watchers: set[Watcher] = set()
        self._closed = False
        events.subscribe(self._tell)
        subscription.on(CHANNEL, self._heard)
        subscription.watch(self._status)

    def __len__(self) -> int:
        return len(self._watchers)

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(PATH, self.serve)

    def close(self) -> None:
        self._closed = True
        for watcher in self._watchers:
            watcher.leave()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Until the watcher goes, reads too slowly, or the process leaves."""
        self._access.check(request)
        if request.method == "HEAD":
            return web.Response(headers=HEADERS)
        if self._closed:
            raise problem(503, "leaving", "This process is leaving.", {"Retry-After": "1"})
        if len(self._watchers) >= self._most:
            raise problem(503, "too_many", f"{self._most} watch this process already.", {"Retry-After": "10"})
        watcher = Watcher(request.query.get("conversation", ""), encode(self._state()), self._room)
        response = web.StreamResponse(headers=HEADERS)
        clock = asyncio.get_running_loop().time
        until = clock() + self._pace.longest
        self._watchers.add(watcher)
        try:
            await response.prepare(request)
            await response.write(f"retry: {RETRY}\n\n".encode())
            while not watcher.over and clock() < until:
                piece = await watcher.next(self._pace)
                async with asyncio.timeout(self._pace.write):
                    await response.write(piece)
        except ConnectionError:
            pass  # nobody is there any more
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watchers.discard(watcher)
        return response

    def _state(self) -> Event:
        at = int(self._now() * 1000)
        return {"event": "status", "others": self._others, "worker": self._worker, "at": at}

    def _status(self, listening: bool) -> None:
        self._others = listening
        self._tell(self._state())

    def _heard(self, data: bytes) -> None:
        """Of any process; its own events were told already."""
        if not self._watchers or len(data) > LONGEST_EVENT:
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict) or not _NAME.fullmatch(str(event.get("event"))):
            log.warning("an event that cannot be read")
        elif event.get("worker") != self._worker:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if not self._watchers:
            return
        self._number += 1
        piece, conversation = encode(event, self._number), str(event.get("id", ""))
        for watcher in self._watchers:
            watcher.tell(conversation, piece)


__all__ = ["Pace", "Watching"]
