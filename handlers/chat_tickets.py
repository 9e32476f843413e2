"""``POST /chat/ticket``: what a socket of ``chat.v1`` is opened with.

    {"visitor": text|null}  ->  {"ticket", "visitor"}

A visitor's name is ours, random and signed: who brings one that is not gets a new one, as does who brings none,
or no body at all.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from handlers.bearer import answer, json_object, problem
from handlers.chat_origins import Origins
from relay.errors import StoreError
from relay.store.chat_tickets import ChatTickets
from relay.visitors import Visitors

TICKET = "/chat/ticket"

log = structlog.get_logger(__name__)


class ChatTicketRoute:
    def __init__(self, origins: Origins, visitors: Visitors, tickets: ChatTickets) -> None:
        self._origins = origins
        self._visitors = visitors
        self._tickets = tickets

    async def issue(self, request: web.Request) -> web.Response:
        """A cancel may leave a ticket that nobody has."""
        self._origins.admit(request)
        # There may be nothing to tell: without a body it is somebody new.
        given = (await json_object(request)).get("visitor") if request.can_read_body else None
        if given is not None and not isinstance(given, str):
            raise problem(400, "bad_visitor", "visitor must be a text, or null.")
        visitor = self._visitors.admit(given)
        try:
            ticket = await self._tickets.issue(visitor)
        except StoreError as error:
            log.warning("no ticket", code=error.code)
            raise problem(503, "store", "No ticket can be given just now.", {"Retry-After": "1"}) from None
        return answer(200, {"ticket": ticket, "visitor": visitor})


__all__ = ["TICKET", "ChatTicketRoute"]
