"""Who may open a socket for a call: whoever brings its ticket first, and after that the session that was let in.

With ``applicationReconnect`` Twilio opens another socket for a session whose socket was lost, anywhere and at any time
of the call, and brings what it was given at the beginning: a ticket that was used, and that may have expired. So a
session counts that this process or Redis knows: its socket is open, or was lost less than a minute ago. One that ended
in order is not known any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from channels.twilio.tickets import InvalidTicket, Ticket, Tickets
from handlers.connecting import TICKET
from relay.errors import StoreError
from relay.frames import Setup

KNOWN_DEADLINE = 0.5

log = structlog.get_logger(__name__)


class Sessions(Protocol):
    """The sessions that may come back (``relay.conversations.Conversations``)."""

    def known_here(self, conversation: str, session: str, /) -> bool | None:
        """What this process knows; None for nothing."""
        ...

    async def known_to_store(self, conversation: str, session: str, /) -> bool | None:
        """What Redis knows; raises StoreError when it cannot be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """``confirmed`` tells, behind the call, whether it may go on: what this process did not know others may."""

    ticket: Ticket
    confirmed: Callable[[], Awaitable[bool]]


class Admission:
    """``deadline``: seconds that Redis is given to tell of a session. ``now``: epoch seconds."""

    def __init__(
        self,
        tickets: Tickets,
        sessions: Sessions,
        *,
        deadline: float = KNOWN_DEADLINE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tickets = tickets
        self._sessions = sessions
        self._deadline = deadline
        self._now = now

    async def admit(self, setup: Setup) -> Admitted:
        """Lets in what brings an unused ticket, as far as this process knows, or is known; raises InvalidTicket.

        Before a socket that brings no ticket of its own is let in, Redis is waited for: from then on it replaces the
        socket that has the call. A cancel may leave the ticket used by the session.
        """
        now = self._now()
        ticket = self._tickets.verify(setup.custom_parameters.get(TICKET, ""), setup.call_sid)
        expired = ticket.expires <= now
        use = "other" if expired else self._tickets.use(ticket, setup.session_id, now)
        if use == "first":
            return Admitted(ticket, lambda: self._first_anywhere(ticket, setup, now))
        known = self._sessions.known_here(setup.call_sid, setup.session_id)
        if known is None:
            known = await self._known_to_store(setup, otherwise=use == "again")
        if not known:
            raise InvalidTicket("expired" if expired else "used")
        return Admitted(ticket, _yes)

    async def _first_anywhere(self, ticket: Ticket, setup: Setup, now: float) -> bool:
        use = await self._tickets.record(ticket, setup.session_id, now)
        # Not what is known here: by now that is this very socket.
        return use == "first" or await self._known_to_store(setup, otherwise=use == "again")

    async def _known_to_store(self, setup: Setup, *, otherwise: bool) -> bool:
        """``otherwise``: the answer where Redis gives none."""
        known: bool | None = None
        try:
            async with asyncio.timeout(self._deadline):
                known = await self._sessions.known_to_store(setup.call_sid, setup.session_id)
        except (StoreError, TimeoutError) as error:
            log.warning("session not looked up", call_sid=setup.call_sid, error=type(error).__name__)
        return otherwise if known is None else known


async def _yes() -> bool:
    return True
