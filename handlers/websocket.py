"""A websocket that a peer has opened to us, as conversations use it: writing never waits, what is unread is seen."""

from __future__ import annotations

import asyncio
from typing import Self

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from relay.outgoing import WRITE_LIMIT

FRAME_LIMIT = 64 * 1024  # bytes of the longest frame that is read
HEARTBEAT = 25.0  # seconds between pings; a dead socket is noticed after one and a half
CLOSE_DEADLINE = 1.0
# No writer is ever made to wait for its peer: how much that may leave unread is the session's to say.
HIGH_WATER = 1 << 30


async def open_socket(
    request: web.Request, *, heartbeat: float = HEARTBEAT, protocols: tuple[str, ...] = ()
) -> tuple[web.WebSocketResponse, AiohttpSocket]:
    """Upgrades the connection; the response is what the handler returns. Raises what is to be answered instead."""
    ws = web.WebSocketResponse(
        compress=False,
        heartbeat=heartbeat,
        autoping=False,  # which writes without looking at what is unread
        max_msg_size=FRAME_LIMIT + 1,  # aiohttp refuses what is as long as that
        timeout=CLOSE_DEADLINE,
        protocols=protocols,
    )
    if not ws.can_prepare(request):
        raise web.HTTPUpgradeRequired(text="This is a websocket.\n", headers={"Upgrade": "websocket"})
    transport = request.transport  # None on the request once the connection is lost
    if transport is None:
        raise web.HTTPBadRequest(text="The connection is lost.\n")
    await ws.prepare(request)
    return ws, AiohttpSocket(ws, transport, request.protocol)


class AiohttpSocket:
    """``relay.session.Socket`` on a prepared aiohttp websocket without compression, where writing does not suspend."""

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport, protocol: web.RequestHandler) -> None:
        self._ws = ws
        self._transport = transport
        self._protocol = protocol
        self._ended_by: WSMsgType | None = None
        self._wait_above(HIGH_WATER)

    def send(self, data: bytes) -> None:
        write = self._ws.send_frame(data, WSMsgType.TEXT)
        try:
            write.send(None)
        except (StopIteration, ConnectionError):
            return  # written; or the peer is gone, which the reader learns by itself
        raise AssertionError("below the high water writing does not suspend")

    def unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            while True:
                message: WSMessage = await self._ws.receive()
                if message.type is WSMsgType.PING:
                    await self._pong(message.data)
                elif message.type is not WSMsgType.PONG:
                    break
        except ConnectionError:
            raise StopAsyncIteration from None  # a ping was to be answered on a connection that is gone
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            data: str | bytes = message.data
            return data
        self._ended_by = message.type
        raise StopAsyncIteration

    async def _pong(self, data: bytes) -> None:
        """Answers a ping; a peer that asks and asks and reads no answer is cut off, by ConnectionError."""
        if self.unread() > WRITE_LIMIT:
            self._transport.abort()
            raise ConnectionError
        await self._ws.pong(data)

    async def close(self, code: int, reason: str = "") -> None:
        """Says goodbye behind all that was sent, and gives the peer ``CLOSE_DEADLINE`` seconds to read it."""
        self._wait_above(0)  # from now on aiohttp waits until everything has left
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._ws.close(code=code, message=reason.encode())
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def release(self) -> None:
        """The call is over. What its peer never reads would keep the connection open for good. And what aiohttp's
        objects know of each other in rings would wait for the garbage collector (see ``relay/parting.py``)."""
        if self.unread():
            asyncio.get_running_loop().call_later(CLOSE_DEADLINE, self._transport.abort)
        self._protocol._data_received_cb = None
        if (error := self._ws.exception()) is not None:
            error.__traceback__ = error.__context__ = None

    def _wait_above(self, size: int) -> None:
        """Has aiohttp wait for the peer when more bytes than these are unread."""
        if not self._transport.is_closing():  # uvloop raises for one that is closed
            self._transport.set_write_buffer_limits(high=size)

    @property
    def broken(self) -> str:
        """What the peer broke, if that is why the socket was closed: "too_large" or "protocol"; "" for nothing."""
        if self._ended_by is not WSMsgType.ERROR:
            return ""
        return "too_large" if self._ws.close_code == WSCloseCode.MESSAGE_TOO_BIG else "protocol"

    @property
    def closed_cleanly(self) -> bool:
        """Whether the peer, or we, said goodbye; a lost connection did not."""
        return self._ended_by in (WSMsgType.CLOSE, WSMsgType.CLOSING) and self._ws.close_code == 1000


__all__ = ["FRAME_LIMIT", "HEARTBEAT", "AiohttpSocket", "open_socket"]
