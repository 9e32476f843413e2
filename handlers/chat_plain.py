"""A socket of the live chat that speaks the plain contract: ``{"message": "..."}`` both ways, an answer each.

It has a conversation of its own, which nobody else has, and which nobody comes back to.
"""

from __future__ import annotations

import asyncio

from handlers.chat_peer import Peer
from handlers.chat_presence import present
from handlers.chat_rules import Manners, Refusal
from handlers.chat_socket import ChatParts
from handlers.websocket import AiohttpSocket
from relay.chats import Answered, OpenTurn
from relay.errors import InvalidFrame
from relay.live.conversation import HUNG_UP
from relay.live.frames import dump_plain, dump_plain_error, parse_plain
from relay.live.line import Wish
from relay.live.problems import PROBLEMS
from relay.parting import nobody
from relay.store.chat_current import new_conversation
from relay.store.person import person_id


class PlainSocket:
    """Satisfies ``relay.live.answering.Told`` and ``relay.live.chats.Alone``."""

    def __init__(self, socket: AiohttpSocket, parts: ChatParts, agent: str, *, address: str, language: str) -> None:
        self.name = new_conversation()
        self.agent = agent
        self.person = person_id("chat", "", self.name)
        self.peer = Peer(socket)
        self._socket = socket
        self._language = language
        self._parts = parts
        self._manners = Manners(self.peer, parts.limits, parts.messages, address, self.name)
        self.line = parts.chats.line(self, self._rest)
        self._over = False

    async def serve(self) -> None:
        """Returns when the socket is closed."""
        parts = self._parts
        try:
            # Its conversation stands for a visitor of whom nothing else is known.
            async with present(parts.presence, self.name, nobody, every=parts.limits.renewed):
                with parts.chats.alone(self):
                    await self._read()
        finally:
            self._over = True
            if not self.line.busy:
                self.line.let_go()
            await self.peer.gone()

    async def _read(self) -> None:
        async for frame in self._socket:
            if (text := self._manners.text(frame)) is None:
                break
            try:
                self._take(text)
            except Refusal as refusal:
                message = refusal.message or PROBLEMS[refusal.code].message
                self.peer.send(dump_plain_error(refusal.code, message))

    @property
    def watched(self) -> bool:
        return not self._over

    def hang_up(self) -> bool:
        self.peer.leave(HUNG_UP, "ended")
        return True

    def depart(self) -> None:
        self.peer.depart(busy=self.line.busy)

    def cease(self) -> None:
        self.line.cease()

    def _rest(self) -> None:
        self.peer.rest()
        if self._over:
            self.line.let_go()

    def _take(self, text: str) -> None:
        try:
            message = parse_plain(text)
        except InvalidFrame as error:
            raise self._manners.bad(error) from None
        self._manners.check(message)
        now = asyncio.get_running_loop().time()
        if self.line.submit(Wish(message, language=self._language, read=now)) == "busy":
            raise Refusal("busy")

    # -- what its turns tell

    async def begin(self, turn: OpenTurn, wish: Wish) -> None:
        pass

    async def repeat(self, wish: Wish, answered: Answered) -> None:
        raise AssertionError("messages of the plain contract have no names")

    async def look(self, turn: OpenTurn) -> None:
        pass

    async def over(self) -> None:
        pass

    def delta(self, wish: Wish, text: str) -> None:
        pass

    def done(self, wish: Wish, text: str, *, stopped: bool = False, ended: bool = False, handoff: bool = False) -> None:
        self.peer.send(dump_plain(text))

    def failed(self, wish: Wish, code: str, message: str, retryable: bool) -> None:
        self.peer.send(dump_plain_error(code, message))


__all__ = ["PlainSocket"]
