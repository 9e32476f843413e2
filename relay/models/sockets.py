"""The websockets to the Responses API that the turns of a process share: how many, how old, and what if none.

A turn never waits for any of this: it leases a lane of a socket that is ready, or learns that there is none. Sockets
are opened and closed in the background; one that ends is replaced, after a while that grows if the next ends as well
and is long where a turn had been given to one that never answered.
An endpoint that knows no lanes costs the turn that finds it out a second request, so it is tried again very seldom.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from relay.models.client import ModelClient
from relay.models.failures import root_name
from relay.models.lanes import STREAMS, Lane, Listener, Socket

MOST_SOCKETS = 16  # 62 KB each with TLS on uvloop, 304 on asyncio's own loop
KEPT_SOCKETS = 2
SPARE_STREAMS = 4  # with fewer free another socket is opened
MAX_AGE = 55 * 60.0  # of the provider's 60 minutes
CONNECT_SECONDS = 5.0
WARM_SECONDS = 2.0
CLOSE_SECONDS = 0.2
PROVEN_SECONDS = 60.0  # of life, or a reply that began: then it was worth opening
BACKOFF = (0.5, 60.0)  # seconds after the first failed socket and at most; doubled by each
LANELESS_SECONDS = 1800.0  # until an endpoint without lanes is tried again

OPTIONS: Mapping[str, Any] = {
    "open_timeout": CONNECT_SECONDS,
    "close_timeout": CLOSE_SECONDS,  # 10 s by default, which a stale reply can fill
    # A connection that is gone without a word is known after 8 s at most, and no turn is given to it then.
    "ping_interval": 5.0,
    "ping_timeout": 3.0,
    "max_size": 4 * 1024 * 1024,
    # Sending a request does not wait for the other side unless that has not read for a long time.
    "write_limit": 1024 * 1024,
}

log = structlog.get_logger(__name__)


class Sockets:
    """All of a process's. ``lease`` from a turn; ``warm`` before the first, ``close`` at the end."""

    def __init__(
        self,
        client: ModelClient,
        *,
        most: int = MOST_SOCKETS,
        keep: int = KEPT_SOCKETS,
        max_age: float = MAX_AGE,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._most = most
        self._keep = keep
        self._max_age = max_age
        self._options = {**OPTIONS, **(options or {})}
        self._ready: dict[Socket, asyncio.Task[None]] = {}
        self._opened: dict[Socket, float] = {}  # of those that may still turn out to be of no use
        self._connecting: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._laneless = False  # has been said
        self.closed = False

    def lease(self, listener: Listener) -> Lane | None:
        """A lane of the socket with the fewest replies; None if none is free. Opens more sockets if they get scarce."""
        socket = max(self._ready, key=lambda each: each.free, default=None)
        lane = socket.lease(listener) if socket is not None and socket.free > 0 else None
        self._fill()
        return lane

    async def warm(self) -> None:
        """Opens the first sockets; waits for them, but not long. Never raises but on cancellation."""
        self._fill()
        if self._connecting:
            await asyncio.wait(list(self._connecting), timeout=WARM_SECONDS)

    async def close(self) -> None:
        """Closes all sockets, with whatever streams on them, within a second. May be called twice."""
        self.closed = True
        closing = {task for socket, task in self._ready.items() if socket.leaving}  # not to be stopped in that
        tasks = self._connecting | self._tasks
        for task in tasks - closing:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _fill(self) -> None:
        """Sees to it that there are sockets enough, or soon will be."""
        fit = [socket for socket in self._ready if not socket.retired]
        coming = len(self._connecting)
        free = sum(socket.free for socket in fit) + STREAMS * coming
        short = len(fit) + coming < self._keep or free < SPARE_STREAMS
        room = len(self._ready) + coming < self._most
        if self.closed or not (short and room) or asyncio.get_running_loop().time() < self._not_before:
            return
        task = self._spawn(self._connect(), "model-connect", self._connecting)
        task.add_done_callback(lambda _: None if task.cancelled() else self._fill())
        if len(fit) + len(self._connecting) < self._keep:
            self._fill()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._client.connect(**self._options)
        except Exception as error:  # refused, not upgraded, silent: HTTP goes on
            self._failed(root_name(error))
            return
        socket = Socket(connection, self._spawn, self._retired)
        self._opened[socket] = asyncio.get_running_loop().time()
        self._ready[socket] = self._spawn(self._serve(socket), "model-socket")

    async def _serve(self, socket: Socket) -> None:
        # Not all at the same moment.
        age = self._max_age * random.uniform(0.9, 1.0)
        old = asyncio.get_running_loop().call_later(age, socket.retire)
        try:
            await socket.read()
        except Exception as error:  # it was closed, or says what cannot be read
            self._judge(socket, root_name(error))
        finally:
            old.cancel()
            try:
                await socket.close()
            finally:
                del self._ready[socket]
                self._fill()

    def _retired(self, socket: Socket) -> None:
        if socket.laneless:
            self._give_up(socket)
        self._judge(socket, "retired")
        if socket.leaving:
            self._ready[socket].cancel()
        self._fill()

    def _give_up(self, socket: Socket) -> None:
        """The endpoint knows no lanes: none of its sockets is of any use, nor will the next be."""
        if self._opened.pop(socket, None) is None:
            return
        self._not_before = asyncio.get_running_loop().time() + LANELESS_SECONDS
        for task in self._connecting:
            task.cancel()
        self._opened.clear()
        for other in list(self._ready):
            other.retire()
        if not self._laneless:
            self._laneless = True
            log.warning(
                "the model's endpoint does not name the lanes of its websockets: HTTP is used",
                next_try_after=LANELESS_SECONDS,
            )

    def _judge(self, socket: Socket, reason: str) -> None:
        """A socket is of no use any more. One that never was is a reason to wait with the next."""
        opened = self._opened.pop(socket, None)
        if opened is None:
            return
        if socket.proven or asyncio.get_running_loop().time() - opened >= PROVEN_SECONDS:
            self._failures = 0
            log.info("model socket ended", reason=reason)
        else:
            self._failed(reason, costly=socket.asked)

    def _failed(self, reason: str, *, costly: bool = False) -> None:
        """``costly``: a caller may have waited for it."""
        first, most = BACKOFF
        delay = most if costly else min(most, first * 2 ** min(self._failures, 16))
        self._not_before = asyncio.get_running_loop().time() + delay
        self._failures += 1
        log.warning("model socket failed", reason=reason, failures=self._failures, next_try_after=delay)

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str, tasks: set[asyncio.Task[None]] | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        kept = self._tasks if tasks is None else tasks
        kept.add(task)
        task.add_done_callback(kept.discard)
        return task
