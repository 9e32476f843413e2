"""A way to a port of this machine that is as long as one through a network: what is sent arrives later.

A new connection costs what it does over a distance: the first bytes of its client wait for the round trip of TCP's
handshake, which the loopback has done in no time, and those of TLS take their round trips by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast


@asynccontextmanager
async def distance(port: int, one_way: float) -> AsyncIterator[int]:
    """Listens on a port, which is yielded, and passes every byte on ``one_way`` seconds later, in both directions."""
    loop = asyncio.get_running_loop()
    ends: set[_End] = set()
    server = await loop.create_server(lambda: _Near(port, one_way, ends), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for end in list(ends):
            end.abort()


class _End(asyncio.Protocol):
    """One end; what it receives it hands to the other in time and in order."""

    def __init__(self, one_way: float, ends: set[_End]) -> None:
        self.earliest = 0.0
        self._other: _End | None = None
        self._one_way = one_way
        self._ends = ends
        self._transport: asyncio.Transport | None = None
        self._under_way: deque[bytes | None] = deque()  # None: the end of the connection
        self._arrived = 0  # of these; more than none only while there is no other end yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ends.add(self)

    def data_received(self, data: bytes) -> None:
        self._pass(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        self._pass(None)

    def join(self, other: _End) -> None:
        """What this end receives goes to the other one, also what has arrived already."""
        self._other = other
        self._deliver()

    def write(self, data: bytes | None) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if data is None:
            self._transport.close()
        else:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _pass(self, data: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        self._under_way.append(data)
        loop.call_at(max(loop.time() + self._one_way, self.earliest), self._arrive)

    def _arrive(self) -> None:
        self._arrived += 1
        self._deliver()

    def _deliver(self) -> None:
        while self._arrived and self._other is not None:
            self._arrived -= 1
            self._other.write(self._under_way.popleft())


class _Near(_End):
    """The client's end; it opens the far one."""

    def __init__(self, port: int, one_way: float, ends: set[_End]) -> None:
        super().__init__(one_way, ends)
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # A handshake's first two messages have gone there and back before anything else can.
        self.earliest = asyncio.get_running_loop().time() + 3 * self._one_way
        self._connecting = asyncio.create_task(self._connect(), name="far end")

    async def _connect(self) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(
                lambda: _End(self._one_way, self._ends), "127.0.0.1", self._port
            )
        except OSError:
            self.abort()
            return
        self.join(far)
        far.join(self)
