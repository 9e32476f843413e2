"""A socket of the live chat that speaks ``chat.v1``: one visitor, from the ticket to the close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

from handlers.chat_peer import TRY_LATER, Peer
from handlers.chat_presence import Presence, present
from handlers.chat_rules import (
    REPLACED,
    TOO_MANY_FRAMES,
    TOO_SLOW_TO_AUTHENTICATE,
    UNAUTHENTICATED,
    ChatLimits,
    Manners,
    MessageRates,
    Refusal,
)
from handlers.websocket import AiohttpSocket
from relay.errors import InvalidFrame, StoreError
from relay.live.chats import LiveChats
from relay.live.conversation import LiveConversation
from relay.live.feed import Feed
from relay.live.frames import (
    Ack,
    Auth,
    Failed,
    Message,
    Outgoing,
    Ping,
    Pong,
    Ready,
    Reset,
    Resume,
    Stop,
    dump,
    parse,
)
from relay.live.line import Wish
from relay.live.problems import PROBLEMS
from relay.store.chat_current import CurrentChats
from relay.store.person import person_id

MOST_RESUMES = 10  # of one conversation on one socket: each may be answered by all there is of it

log = structlog.get_logger(__name__)


class Tickets(Protocol):
    """``relay.store.chat_tickets.ChatTickets``."""

    async def redeem(self, ticket: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What all sockets share. ``messages``: counts them. ``stop_elsewhere``: ends a turn of this conversation in
    another process."""

    chats: LiveChats
    tickets: Tickets
    presence: Presence
    current: CurrentChats
    messages: MessageRates
    stop_elsewhere: Callable[[LiveConversation, str], Awaitable[object]]
    limits: ChatLimits


class ChatSocket:
    """``agent``: whom the visitor wants to talk to. ``address``: that their messages are counted by, "" for none;
    ``language``: what they read, "" where it is not known."""

    def __init__(self, socket: AiohttpSocket, parts: ChatParts, agent: str, *, address: str, language: str) -> None:
        self.peer = Peer(socket)
        self._socket = socket
        self._parts = parts
        self._agent = agent
        self._language = language
        self._manners = Manners(self.peer, parts.limits, parts.messages, address)
        self._visitor = ""
        self._kept = False
        self._conversation: LiveConversation | None = None
        self._feed: Feed | None = None
        self._held: asyncio.TimerHandle | None = None
        self._resumes = 0

    async def serve(self) -> None:
        """Returns when the socket is closed. A cancel leaves its turns to the process."""
        try:
            if await self._authenticate():
                await self._stay()
        finally:
            await self.peer.gone()

    def depart(self) -> None:
        """The process leaves: the socket is closed once its turn is over."""
        conversation = self._conversation
        self.peer.depart(busy=conversation is not None and conversation.line.busy)

    def cease(self) -> None:
        """Its turn ends where it is."""
        if self._conversation is not None:
            self._conversation.line.cease()

    async def _authenticate(self) -> bool:
        try:
            async with asyncio.timeout(self._parts.limits.auth_deadline):
                frame = await anext(self._socket)
                text = self._manners.text(frame)
                if text is None:
                    return False
                first = parse(text)
                visitor = await self._parts.tickets.redeem(first.ticket) if isinstance(first, Auth) else None
        except TimeoutError:
            self.peer.leave(TOO_SLOW_TO_AUTHENTICATE, "auth timeout")
            return False
        except StopAsyncIteration:
            return False
        except InvalidFrame:
            visitor = None
        except StoreError as error:
            log.warning("chat not let in", code=error.code)
            self.peer.leave(TRY_LATER, "store")
            return False
        if visitor is None:
            self.peer.leave(UNAUTHENTICATED, "unauthenticated")
            return False
        self._visitor = self._manners.who = visitor
        return True

    async def _stay(self) -> None:
        parts = self._parts
        async with present(parts.presence, self._visitor, self._replaced, every=parts.limits.renewed):
            try:
                await self._enter(await parts.current.of(self._visitor, self._agent))
                async for frame in self._socket:
                    if (text := self._manners.text(frame)) is None:
                        break
                    await self._take(text)
            except StoreError as error:
                log.warning("chat closed", code=error.code)
                self.peer.leave(TRY_LATER, "store")
            finally:
                await self._leave()

    def _replaced(self) -> None:
        self.peer.leave(REPLACED, "replaced")

    # -- the conversation

    async def _enter(self, conversation: str) -> None:
        """Raises StoreError."""
        person = person_id("chat", self._visitor, conversation)
        opened = self._conversation = self._parts.chats.open(conversation, self._agent, person)
        feed = self._feed = Feed(self.peer.send, opened.since, lambda: self.peer.leave(TRY_LATER, "store"))
        await opened.attach(feed, self.peer)
        self._send(Ready(conversation, feed.seen, self._visitor))
        self._held = asyncio.get_running_loop().call_later(self._parts.limits.resume_within, self._go)

    async def _leave(self) -> None:
        if self._held is not None:
            self._held.cancel()
        if self._conversation is None or self._feed is None:
            return
        conversation, feed = self._conversation, self._feed
        self._conversation = self._feed = None
        conversation.detach(feed)
        self._parts.chats.left(conversation)
        await feed.close()

    def _go(self) -> None:
        if self._feed is not None and self._feed.held:
            self._feed.go()

    # -- frames

    async def _take(self, text: str) -> None:
        """Raises StoreError where a new conversation cannot be begun."""
        try:
            frame = parse(text)
            if isinstance(frame, Auth):
                raise InvalidFrame("The socket is authenticated.")
        except InvalidFrame as error:
            self._refuse(self._manners.bad(error))
            return
        assert self._conversation is not None and self._feed is not None
        if isinstance(frame, Resume):
            self._resume(self._conversation, self._feed, frame)
            return
        self._go()
        match frame:
            case Message():
                await self._keep()
                self._message(self._conversation, frame)
            case Stop(turn):
                if not self._conversation.line.stop(turn):
                    await self._parts.stop_elsewhere(self._conversation, turn)
            case Ping():
                self._send(Pong())
            case Reset() if self._manners.over():
                self._refuse(Refusal("rate"))
            case Reset():
                if not self._conversation.line.cease():  # nobody would read it
                    await self._parts.stop_elsewhere(self._conversation, "")
                await self._leave()
                self._kept, self._resumes = False, 0
                await self._enter(await self._parts.current.begin_anew(self._visitor, self._agent))
            case _:
                assert_never(frame)

    def _resume(self, conversation: LiveConversation, feed: Feed, frame: Resume) -> None:
        self._resumes += 1
        if self._resumes > MOST_RESUMES:
            self.peer.leave(TOO_MANY_FRAMES, "rate")
        elif frame.conversation == conversation.name:
            feed.go(frame.after)
        else:
            feed.reset()

    async def _keep(self) -> None:
        """The visitor says something: they are to find the conversation again."""
        if self._kept:
            return
        try:
            await self._parts.current.keep(self._visitor)
            self._kept = True
        except StoreError as error:
            log.warning("chat not kept", code=error.code)  # nor is the answer: that tells the visitor

    def _message(self, conversation: LiveConversation, message: Message) -> None:
        line = conversation.line
        if (known := line.find(message.client_id)) is not None:
            if known.turn:
                self._send(Ack(message.client_id, known.turn))
            return  # it is told when its turn begins
        try:
            self._manners.check(message.text)
            now = asyncio.get_running_loop().time()
            wish = Wish(message.text, key=message.client_id, language=self._language, read=now)
            if line.submit(wish) == "busy":
                raise Refusal("busy")
        except Refusal as refusal:
            self._refuse(refusal, message.client_id)

    def _refuse(self, refusal: Refusal, client_id: str = "") -> None:
        usual = PROBLEMS[refusal.code]
        self._send(Failed(refusal.code, refusal.message or usual.message, usual.retryable, client_id=client_id))

    def _send(self, frame: Outgoing) -> None:
        self.peer.send(dump(frame))


__all__ = ["ChatParts", "ChatSocket", "Tickets"]
