"""The browser's side of live chats, for load: ``chat.v1`` without a widget's manners, and no task a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import orjson
from aiohttp import ClientSession
from websockets.frames import CloseCode, Frame, Opcode

from benchmarks.processes import BenchError
from phone.load import CallLost
from phone.wire import Wire

SUBPROTOCOL = "chat.v1"
READY_SECONDS = 20.0

Hear = Callable[[dict[str, Any], float], None]
"""A frame, and when its last byte arrived by the machine's monotonic clock."""


class ChatSocket:
    """One socket. Made by ``open``; ``close`` it, or ``drop`` it. ``ready``: its first frame, once it has come."""

    def __init__(self, hear: Hear) -> None:
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._hear = hear
        self._wire: Wire

    @classmethod
    async def open(cls, base: str, path: str, hear: Hear, *, subprotocol: str = SUBPROTOCOL) -> Self:
        """Connects to ``base``, a host with its port, as a page of its own would. Raises CallLost."""
        made = cls(hear)
        headers = {"Origin": f"http://{base}"}
        made._wire = await Wire.open(f"ws://{base}{path}", made, headers=headers, subprotocol=subprotocol)
        return made

    def send(self, frame: dict[str, Any]) -> None:
        """Raises CallLost."""
        self._wire.send(orjson.dumps(frame))

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        await self._wire.close(code)

    def drop(self) -> None:
        """Loses the connection without a word."""
        self._wire.abort()

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done once it is closed, by whoever."""
        return self._wire.lost

    @property
    def closed_with(self) -> str:
        return self._wire.closed_with

    # -- from the wire

    def received(self, frame: Frame, at: float) -> None:
        if frame.opcode is not Opcode.TEXT:
            return
        data = orjson.loads(frame.data)
        if data.get("type") == "ready" and not self.ready.done():
            self.ready.set_result(data)
        self._hear(data, at)

    def hung_up(self) -> None:
        if not self.ready.done():
            self.ready.set_exception(CallLost("the chat was closed before it was ready"))
            self.ready.exception()  # nobody may be waiting


async def visit(http: ClientSession, base: str, hear: Hear, visitor: str = "") -> tuple[ChatSocket, str]:
    """A socket that is let in, and whose it is: a new visitor, or the one named. Raises CallLost."""
    async with http.post(f"http://{base}/chat/ticket", json={"visitor": visitor or None}) as response:
        if response.status != 200:
            raise BenchError(f"POST /chat/ticket answered {response.status}")
        given = await response.json()
    socket = await ChatSocket.open(base, "/chat/ws", hear)
    try:
        socket.send({"type": "auth", "ticket": given["ticket"]})
        async with asyncio.timeout(READY_SECONDS):
            await socket.ready
    except TimeoutError:
        socket.drop()
        raise CallLost(f"a chat was not ready within {READY_SECONDS:g} s") from None
    except BaseException:
        socket.drop()
        raise
    return socket, given["visitor"]


__all__ = ["ChatSocket", "Hear", "visit"]
