"""A websocket without a task of its own, for load: frames are taken where the bytes arrive, by the I/O-free half of the
``websockets`` library, so their order is the wire's and their time is not that of a task woken later.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from relay.errors import RelayError

CLOSE_SECONDS = 2.0

Clock = Callable[[], float]


class CallLost(RelayError):
    """The call could not be opened, was closed by the server, or did not answer in time. ``status``: the HTTP status
    of a handshake that was refused, 0 for anything else."""

    code = "call_lost"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Taker(Protocol):
    """Whose websocket it is."""

    def received(self, frame: Frame, at: float, /) -> None:
        """``at``: when its last byte arrived."""
        ...

    def hung_up(self) -> None:
        """It is closed, by whoever."""
        ...


class Wire(asyncio.Protocol):
    """Made by ``open``. ``lost``: done once it is closed."""

    def __init__(self, protocol: ClientProtocol, taker: Taker, headers: Mapping[str, str], clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._protocol = protocol
        self._taker = taker
        self._headers = headers
        self._clock = clock
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls,
        address: str,
        taker: Taker,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocol: str = "",
        tls: ssl.SSLContext | None = None,
        within: float = 10.0,
        clock: Clock = time.monotonic,
    ) -> Self:
        """Connects. ``tls``: for an address that begins with ``wss``, None for the system's certificates. Raises
        CallLost. A cancel leaves no connection behind."""
        uri = parse_uri(address)
        offered = [Subprotocol(subprotocol)] if subprotocol else None
        wire = cls(ClientProtocol(uri, subprotocols=offered), taker, headers or {}, clock)
        try:
            async with asyncio.timeout(within):
                loop, context = asyncio.get_running_loop(), (tls or True) if uri.secure else None
                await loop.create_connection(lambda: wire, uri.host, uri.port, ssl=context)
                await wire.opened
        except (OSError, TimeoutError) as error:
            wire.abort()
            raise CallLost(f"no websocket at {uri.host}:{uri.port}: {type(error).__name__}") from error
        except BaseException:
            wire.abort()
            raise
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not derive from asyncio's
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        at = self._clock()
        self._protocol.receive_data(data)
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._taker.received(event, at)
            elif isinstance(event, Response) and not self.opened.done():
                if self._protocol.handshake_exc is None:
                    self.opened.set_result(None)
                else:
                    error = self._protocol.handshake_exc
                    status = error.response.status_code if isinstance(error, InvalidStatus) else 0
                    self._refuse(f"the handshake was refused: {error}", status)

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._refuse("the connection was closed in the handshake")
        if not self.lost.done():
            self.lost.set_result(None)
        self._taker.hung_up()

    def send(self, data: bytes) -> None:
        if self.lost.done():
            raise CallLost("the websocket is closed")
        self._protocol.send_text(data)
        self._flush()

    def encoded(self, frames: Sequence[bytes]) -> bytes:
        for frame in frames:
            self._protocol.send_text(frame)
        return b"".join(self._protocol.data_to_send())

    def write(self, data: bytes) -> None:
        if self.lost.done() or self._transport is None:
            raise CallLost("the websocket is closed")
        self._transport.write(data)

    def unread(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def ping(self, data: bytes) -> None:
        self._protocol.send_ping(data)
        self._flush()

    async def close(self, code: int) -> None:
        if self._transport is None or self.lost.done():
            return
        if self.opened.done() and not self._protocol.close_expected():
            self._protocol.send_close(code)
            self._flush()
            await asyncio.wait([self.lost], timeout=CLOSE_SECONDS)
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def closed_with(self) -> str:
        close = self._protocol.close_rcvd
        return f"{close.code} {close.reason}".strip() if close is not None else ""

    def _refuse(self, why: str, status: int = 0) -> None:
        if not self.opened.done():
            self.opened.set_exception(CallLost(why, status))
            self.opened.exception()  # nobody may be waiting

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()


__all__ = ["CallLost", "Clock", "Taker", "Wire"]
