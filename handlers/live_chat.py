"""``GET /chat/ws``: the websocket of the live web chat. Who is let in, how many, and how they are let go.

With the subprotocol ``chat.v1`` a socket is a visitor's (``chat_socket.py``), without one the plain contract's
(``chat_plain.py``). docs/live-chat.md has both.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Container

import structlog
from aiohttp import hdrs, web

from handlers.bearer import problem
from handlers.chat_origins import Origins
from handlers.chat_peer import RESTART
from handlers.chat_plain import PlainSocket
from handlers.chat_socket import ChatParts, ChatSocket
from handlers.guard import VOUCHED, is_local
from handlers.websocket import HEARTBEAT, AiohttpSocket, open_socket
from relay.live.frames import SUBPROTOCOL
from relay.telemetry import Telemetry

SOCKET = "/chat/ws"

STOPPED_WITHIN = 2.0  # seconds for answers that were ended to be stored and told
CLOSED_WITHIN = 1.5

_LANGUAGE = re.compile(r"\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)", re.ASCII)

log = structlog.get_logger(__name__)


class LiveChat:
    """``agents``: the names of all; ``default``: of the one where none is named. ``most``: sockets at once;
    ``most_of_one``: of one address, 0 for any number. ``client``: the address that a request counts as. ``fresh``:
    awaited before an agent is looked up. ``draining``: whether the process is about to leave. ``development``: messages
    of this machine itself are not counted by its address."""

    def __init__(
        self,
        origins: Origins,
        parts: ChatParts,
        telemetry: Telemetry,
        agents: Container[str],
        default: str,
        *,
        most: int,
        most_of_one: int,
        client: Callable[[web.BaseRequest], str],
        fresh: Callable[[], Awaitable[object]],
        draining: Callable[[], bool],
        development: bool,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._origins = origins
        self._parts = parts
        self._telemetry = telemetry
        self._agents = agents
        self._default = default
        self._most = most
        self._most_of_one = most_of_one
        self._client = client
        self._fresh = fresh
        self._draining = draining
        self._development = development
        self._heartbeat = heartbeat
        self._sockets: set[ChatSocket | PlainSocket] = set()
        self._places = 0  # sockets that are open, or about to be
        self._places_of: Counter[str] = Counter()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._hurried = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sockets)

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(SOCKET, self.handle, allow_head=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one socket; returns when it is closed."""
        self._origins.admit(request)
        if self._draining():
            raise problem(503, "leaving", "This process is leaving.", {"Retry-After": "1"})
        await self._fresh()
        agent = request.query.get("agent") or self._default
        if agent not in self._agents:
            raise problem(404, "unknown_agent", "There is no agent of that name.")
        address = self._client(request)
        if self._places >= self._most:
            raise self._refused(503, "busy", "No more chats can be taken just now.")
        if self._most_of_one and self._places_of[address] >= self._most_of_one:
            raise self._refused(429, "too_many_sockets", "There are too many chats of this address already.")
        self._places += 1
        self._places_of[address] += 1
        try:
            return await self._open(request, agent)
        finally:
            self._places -= 1
            self._places_of[address] -= 1
            if not self._places_of[address]:
                del self._places_of[address]

    def _refused(self, status: int, code: str, message: str) -> web.HTTPException:
        self._telemetry.refused.labels("chat_sockets").inc()
        return problem(status, code, message, {"Retry-After": "10"})

    async def _open(self, request: web.Request, agent: str) -> web.StreamResponse:
        offered = {each.strip() for each in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")}
        ws, socket = await open_socket(request, heartbeat=self._heartbeat, protocols=(SUBPROTOCOL,))
        kind = ChatSocket if SUBPROTOCOL in offered else PlainSocket
        # As in the limit for strangers.
        counted = VOUCHED not in request and not (self._development and is_local(request))
        served = kind(
            socket,
            self._parts,
            agent,
            address=self._client(request) if counted else "",
            language=_language(request),
        )
        await self._serve(served, socket)
        return ws

    async def _serve(self, served: ChatSocket | PlainSocket, socket: AiohttpSocket) -> None:
        self._sockets.add(served)
        self._none_open.clear()
        self._telemetry.chat_sockets.inc()
        try:
            if self._draining():
                served.peer.leave(RESTART, "restart")
            await served.serve()
        except Exception as error:
            log.error("bug in a chat", error=type(error).__name__, exc_info=error)
            await socket.close(1011, "error")
        finally:
            self._telemetry.chat_sockets.dec()
            self._sockets.discard(served)
            if not self._sockets:
                self._none_open.set()
            socket.release()
            if socket.broken:
                self._telemetry.frames_rejected.labels(socket.broken).inc()

    # -- the process leaves

    async def leave(self, seconds: float) -> None:
        """Closes every socket once its turn is over; after ``seconds``, or when somebody hurries, turns end where they
        are: what was written stands. New sockets are refused by then. A cancel leaves what is left as it is."""
        for served in [*self._sockets]:
            served.depart()
        if await self._over(seconds, hurried=True):
            return
        log.info("ending chats", sockets=len(self._sockets), answering=self._parts.chats.answering)
        self._parts.chats.cease()
        for served in [*self._sockets]:
            served.cease()
        if not await self._over(STOPPED_WITHIN):
            self.close()
            await self._over(CLOSED_WITHIN)

    def hurry(self) -> None:
        """Turns end now."""
        self._hurried.set()

    def close(self) -> None:
        """Every socket is closed, whatever goes on."""
        for served in [*self._sockets]:
            served.peer.leave(RESTART, "restart")

    async def _over(self, seconds: float, *, hurried: bool = False) -> bool:
        """Waits until no socket is open and nothing is answered; whether that came to be."""
        async with asyncio.TaskGroup() as group:
            over = group.create_task(self._ended(), name="chats end")
            waited = {over, group.create_task(self._hurried.wait(), name="chats hurried")} if hurried else {over}
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            done = over.done()
            for each in waited:
                each.cancel()
        return done

    async def _ended(self) -> None:
        await self._none_open.wait()
        await self._parts.chats.quiet()


def _language(request: web.BaseRequest) -> str:
    """The tag of the language that the visitor's browser prefers; "" for none."""
    found = _LANGUAGE.match(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    return found[1] if found else ""


__all__ = ["SOCKET", "LiveChat"]
