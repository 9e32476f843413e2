"""GET /voice/relay: the websocket Twilio opens for a call. Admission here, the conversation in ``relay/session.py``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Self

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from channels.twilio.tickets import InvalidTicket, Ticket
from handlers.admission import Admission, Admitted
from handlers.connecting import ATTEMPT
from handlers.guard import TwilioGate
from relay.errors import InvalidFrame
from relay.frames import Setup, parse_incoming
from relay.outgoing import WRITE_LIMIT
from relay.telemetry import Telemetry

FRAME_LIMIT = 64 * 1024  # bytes of the longest frame that is read
HEARTBEAT = 25.0  # seconds between pings; a dead socket is noticed after one and a half
CLOSE_DEADLINE = 1.0
LONGEST_ID = 128
# No writer is ever made to wait for its peer: how much that may leave unread is the session's to say.
HIGH_WATER = 1 << 30

log = structlog.get_logger(__name__)


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


Serve = Callable[[AiohttpSocket, Setup, Ticket, int, Callable[[], Awaitable[bool]]], Awaitable[str]]
"""(socket, setup, ticket, attempt, whether the call may go on) -> why the call ended."""


class RelaySocket:
    """``serve`` runs one call. ``account_sid`` "": calls of any account. ``upgrading``: called for each handshake that
    is let in, to open what the first turn will need. ``heartbeat``: seconds between pings. ``leaving``: True once calls
    are handed on; until then whoever was told to come here is let in."""

    def __init__(
        self,
        gate: TwilioGate,
        admission: Admission,
        telemetry: Telemetry,
        serve: Serve,
        *,
        account_sid: str = "",
        setup_deadline: float = 5.0,
        heartbeat: float = HEARTBEAT,
        upgrading: Callable[[], object] = lambda: None,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._gate = gate
        self._admission = admission
        self._telemetry = telemetry
        self._serve = serve
        self._account_sid = account_sid
        self._setup_deadline = setup_deadline
        self._heartbeat = heartbeat
        self._upgrading = upgrading
        self._leaving = leaving
        self.calls = 0  # sockets open now
        self._none_open = asyncio.Event()
        self._none_open.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one call; returns when its socket is closed."""
        self._gate.handshake(request)
        if self._leaving():
            raise web.HTTPServiceUnavailable(text="This process is leaving and takes no calls any more.\n")
        ws = web.WebSocketResponse(
            compress=False,
            heartbeat=self._heartbeat,
            autoping=False,  # which writes without looking at what is unread
            max_msg_size=FRAME_LIMIT + 1,  # aiohttp refuses what is as long as that
            timeout=CLOSE_DEADLINE,
        )
        if not ws.can_prepare(request):
            raise web.HTTPUpgradeRequired(text="This is a websocket.\n", headers={"Upgrade": "websocket"})
        transport = request.transport  # None on the request once the connection is lost
        if transport is None:
            raise web.HTTPBadRequest(text="The connection is lost.\n")
        await ws.prepare(request)
        socket = AiohttpSocket(ws, transport, request.protocol)
        self.calls += 1
        self._none_open.clear()
        try:
            await self._call(socket)
        finally:
            self.calls -= 1
            if not self.calls:
                self._none_open.set()
            socket.release()
            if socket.broken:
                self._telemetry.frames_rejected.labels(socket.broken).inc()
        return ws

    async def none_open(self) -> None:
        """Returns when no call is open."""
        await self._none_open.wait()

    async def _call(self, socket: AiohttpSocket) -> None:
        self._upgrading()
        try:
            setup, admitted = await self._admit(socket)
        except _Refused as refused:
            self._telemetry.frames_rejected.labels(refused.reason).inc()
            log.warning("call refused", reason=refused.reason)
            await socket.close(refused.code, refused.reason)
            return

        ticket = admitted.ticket
        attempt = setup.custom_parameters.get(ATTEMPT, "")
        number = int(attempt) if re.fullmatch(r"[0-9]{1,3}", attempt) else 0
        with structlog.contextvars.bound_contextvars(
            call_sid=setup.call_sid, session_id=setup.session_id, agent=ticket.agent
        ):
            try:
                await self._serve(socket, setup, ticket, number, admitted.confirmed)
            except Exception as error:
                # Twilio's action callback then takes the call up again.
                log.error("bug in a call", error=type(error).__name__, exc_info=error)
                await socket.close(1011, "error")

    async def _admit(self, socket: AiohttpSocket) -> tuple[Setup, Admitted]:
        """The first frame, if it is a ``setup`` in time of a call that is ours."""
        try:
            async with asyncio.timeout(self._setup_deadline):
                setup = parse_incoming(_text(await anext(socket)))
        except (TimeoutError, StopAsyncIteration, InvalidFrame):
            raise _Refused("no_setup") from None
        if not isinstance(setup, Setup) or max(len(setup.call_sid), len(setup.session_id)) > LONGEST_ID:
            raise _Refused("no_setup")
        if self._account_sid and setup.account_sid != self._account_sid:
            raise _Refused("account")
        try:
            return setup, await self._admission.admit(setup)
        except InvalidTicket as invalid:
            raise _Refused(f"ticket_{invalid.reason}") from None


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise _Refused("binary", code=1003)
    return frame


class _Refused(Exception):
    def __init__(self, reason: str, *, code: int = 1008) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
