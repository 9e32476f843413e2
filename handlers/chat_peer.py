"""The socket of a live chat, as everybody who has something to tell it sees it: it is written to and closed from
anywhere, and nobody ever waits for it."""

from __future__ import annotations

import asyncio

from handlers.websocket import AiohttpSocket
from relay.outgoing import WRITE_LIMIT

RESTART = 1012
TRY_LATER = 1013
"""Close codes, of which a client knows to come again."""


class Peer:
    """``relay.live.conversation.Client``."""

    def __init__(self, socket: AiohttpSocket) -> None:
        self._socket = socket
        self._closing: asyncio.Task[None] | None = None
        self._gone = False
        self.departing = False
        """The process leaves: nothing is begun any more, and the socket is closed once nothing is answered on it."""

    @property
    def left(self) -> bool:
        return self._closing is not None

    def send(self, frame: bytes) -> None:
        """Writes it, unless the peer reads so slowly that it is let go."""
        if self._closing is not None or self._gone:
            return
        if self._socket.unread() > WRITE_LIMIT:
            self.leave(TRY_LATER, "slow")
            return
        self._socket.send(frame)

    def leave(self, code: int, reason: str) -> None:
        """Closes it, behind what was written; only the first reason counts."""
        if self._closing is None and not self._gone:
            self._closing = asyncio.create_task(self._socket.close(code, reason), name="chat: close")

    def depart(self, *, busy: bool) -> None:
        """The process leaves. ``busy``: something is being answered."""
        self.departing = True
        if not busy:
            self.leave(RESTART, "restart")

    def rest(self) -> None:
        """Nothing is being answered any more."""
        if self.departing:
            self.leave(RESTART, "restart")

    async def gone(self) -> None:
        """Nobody reads from it any more. Returns when it is closed, if it was to be; a turn that goes on without it may
        still tell it what it likes."""
        self._gone = True
        if self._closing is not None:
            await asyncio.wait([self._closing])


__all__ = ["RESTART", "TRY_LATER", "Peer"]
