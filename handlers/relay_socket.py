"""GET /voice/relay: the websocket Twilio opens for a call. Admission here, the conversation in ``relay/session.py``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from channels.twilio.tickets import InvalidTicket, Ticket
from handlers.admission import Admission, Admitted
from handlers.connecting import ATTEMPT
from handlers.guard import TwilioGate
from handlers.websocket import HEARTBEAT, AiohttpSocket, open_socket
from relay.errors import InvalidFrame
from relay.frames import Setup, parse_incoming
from relay.telemetry import Telemetry

LONGEST_ID = 128

log = structlog.get_logger(__name__)


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
        ws, socket = await open_socket(request, heartbeat=self._heartbeat)
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
