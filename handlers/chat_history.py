"""GET /chat/history: what was said in a visitor's live chat, for a page that opens it anew or was away for too long.

    Authorization: Bearer <a ticket of POST /chat/ticket>
    GET /chat/history?agent=    ->  {"conversation", "seq", "messages": [{"role": "user"|"assistant", "text", "turn"?}]}

``seq`` is where the history ends in the frames of the socket: who asks to resume after it is sent all that is not among
the messages, a turn that is under way included. A turn that ended while this was read may come both ways; ``turn``
tells. A conversation of which nothing is there (yet) has no messages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from aiohttp import web

from handlers.bearer import answer, problem
from relay.chats import Stored, said
from relay.errors import StoreError

HISTORY = "/chat/history"
MOST = 500  # messages, the latest

log = structlog.get_logger(__name__)


class Tickets(Protocol):
    async def reader(self, ticket: str, /) -> str | None: ...


class Log(Protocol):
    async def settled(self, conversation: str, /) -> int: ...


class Chats(Protocol):
    async def read(self, conversation: str, /) -> Stored | None: ...


class ChatHistory:
    """``conversation_of``: the conversation that a visitor has with an agent, "" for none. ``agent``: whose it is where
    the page names none. ``admits_page``: whether the page that a request says it comes from may chat."""

    def __init__(
        self,
        tickets: Tickets,
        conversation_of: Callable[[str, str], Awaitable[str]],
        chats: Chats,
        log: Log,
        *,
        agent: str,
        admits_page: Callable[[web.Request], bool],
    ) -> None:
        self._tickets = tickets
        self._conversation_of = conversation_of
        self._chats = chats
        self._log = log
        self._agent = agent
        self._admits_page = admits_page

    async def show(self, request: web.Request) -> web.Response:
        """A program that is no page needs the ticket only. Changes nothing."""
        if "Origin" in request.headers and not self._admits_page(request):
            raise problem(403, "origin", "Live chats are not read from there.")
        scheme, _, ticket = request.headers.get("Authorization", "").partition(" ")
        try:
            visitor = await self._tickets.reader(ticket.strip()) if scheme.casefold() == "bearer" else None
            if visitor is None:
                raise problem(401, "unauthorized", "A ticket that is valid is needed.", {"WWW-Authenticate": "Bearer"})
            conversation = await self._conversation_of(visitor, request.query.get("agent") or self._agent)
            # In this order: what is stored in between is told twice, and not left out.
            seq = await self._log.settled(conversation) if conversation else 0
            stored = await self._chats.read(conversation) if conversation else None
        except StoreError as error:
            log.warning("history of a chat not read", code=error.code)
            raise problem(503, "store_away", "The store does not answer.", {"Retry-After": "1"}) from None
        messages = _messages(stored) if stored is not None else []
        data = {"conversation": conversation, "seq": seq, "messages": messages[-MOST:]}
        return answer(200, data, {"Cache-Control": "no-store"})


def _messages(stored: Stored) -> list[dict[str, str]]:
    messages = []
    for name, items in stored.turns():
        for role, text in said(items):
            messages.append({"role": role, "text": text} | ({"turn": name} if name else {}))
    return messages


__all__ = ["HISTORY", "ChatHistory"]
