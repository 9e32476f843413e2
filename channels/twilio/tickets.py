"""Tickets: the signed statement that a websocket belongs to a call whose webhook we answered.

A ticket goes out as a ``<Parameter>`` of the TwiML and comes back in ``setup``. It is an HMAC over CallSid, agent and
expiry, so any process that shares the key can check it while Redis is away (the handshake's own signature has no time
in it and could be replayed). Who used it first is remembered in the process and, where Redis answers, there; what an
expired or a used one is still good for is for ``handlers/admission.py`` to say.

Text: ``1.<expiry, epoch seconds>.<ticket id>.<HMAC-SHA256, base64url>.<agent, percent-encoded>``.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote, unquote

import structlog

from relay.errors import RelayError, StoreError

KEY_FILE = "ticket.key"
REMEMBERED = 20_000
RECORD_DEADLINE = 0.1

_KEY_BYTES = 32
_LABEL = b"relay: ticket key 1"
_TEXT = re.compile(r"1\.(\d{1,12})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_.~%-]{1,300})", re.ASCII)

log = structlog.get_logger(__name__)


class InvalidTicket(RelayError):
    """Not a ticket of ours for this call, or not any more. ``reason`` is a stable word for logs and counters."""

    code = "invalid_ticket"

    def __init__(self, reason: Literal["malformed", "signature", "expired", "used"]) -> None:
        super().__init__(f"The ticket was not accepted ({reason}).")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket of ours says. ``expires`` in epoch seconds; ``id`` names it once for all."""

    id: str = field(repr=False)
    call_sid: str
    agent: str
    expires: int


Use = Literal["first", "again", "other"]
"""Of a ticket: nobody had used it; the same user had; another had."""


class TicketRecord(Protocol):
    """Where first uses are shared between processes (``relay.store.tickets.Tickets``)."""

    async def use(self, ticket: str, user: str, seconds: float, /) -> Use:
        """Remembers the first user for so many seconds. Raises StoreError when nobody knows."""
        ...


class UsedTickets:
    """The first uses this process has seen: at most ``limit``, each until its ticket has expired."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._used: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._used)

    def use(self, ticket_id: str, user: str, expires: float, now: float) -> Use:
        # Tickets live equally long, so the order of use is the order of expiry but for a few seconds.
        while self._used and self._used[oldest := next(iter(self._used))][1] <= now:
            del self._used[oldest]
        if ticket_id in self._used:
            return "again" if self._used[ticket_id][0] == user else "other"
        if len(self._used) >= self._limit:
            # Forgetting the oldest is better than refusing a caller: its signature and expiry are still checked.
            del self._used[next(iter(self._used))]
        self._used[ticket_id] = (user, expires)
        return "first"


class Tickets:
    """Makes tickets with the first key, checks them with any. ``lifetime`` in seconds (TICKET_SECONDS).

    ``record`` None: first uses are known to this process only.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        lifetime: float,
        record: TicketRecord | None = None,
        *,
        used: UsedTickets | None = None,
        record_deadline: float = RECORD_DEADLINE,
    ) -> None:
        if not keys or any(len(key) < _KEY_BYTES for key in keys):
            raise ValueError("a ticket key has at least 32 bytes")
        self._keys = tuple(keys)
        self._lifetime = lifetime
        self._record = record
        self._used = UsedTickets() if used is None else used
        self._record_deadline = record_deadline

    def __len__(self) -> int:
        """How many first uses this process remembers."""
        return len(self._used)

    def mint(self, call_sid: str, agent: str, now: float) -> str:
        """A new ticket for this call. ``now`` in epoch seconds."""
        expires, ticket_id, name = str(int(now + self._lifetime)), secrets.token_urlsafe(12), quote(agent, safe="")
        return ".".join(("1", expires, ticket_id, _mac(self._keys[0], expires, ticket_id, name, call_sid), name))

    def verify(self, text: str, call_sid: str) -> Ticket:
        """What the ticket says, if we made it for this call; raises InvalidTicket. Whether it has expired is not asked.

        Looks at nothing but its arguments and the keys: it does not use the ticket up.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidTicket("malformed")
        expires, ticket_id, mac, name = match.groups()
        valid = False
        for key in self._keys:
            valid |= hmac.compare_digest(mac, _mac(key, expires, ticket_id, name, call_sid))
        if not valid:
            raise InvalidTicket("signature")
        return Ticket(ticket_id, call_sid, unquote(name), int(expires))

    def use(self, ticket: Ticket, session_id: str, now: float) -> Use:
        """Uses a verified ticket up for this session, as far as this process knows."""
        return self._used.use(ticket.id, session_id, ticket.expires, now)

    async def record(self, ticket: Ticket, session_id: str, now: float) -> Use:
        """The same as far as all processes know.

        A record that does not answer within its deadline, or answers an error, is not waited for: the ticket is good.
        A cancel leaves the ticket used by the session or not.
        """
        if self._record is None:
            return "first"
        try:
            async with asyncio.timeout(self._record_deadline):
                return await self._record.use(ticket.id, session_id, ticket.expires - now)
        except (StoreError, TimeoutError) as error:
            log.info("ticket use not recorded", error=type(error).__name__)
            return "first"


def ticket_keys(auth_tokens: Sequence[str], data_dir: Path) -> tuple[bytes, ...]:
    """The keys in order: derived from TWILIO_AUTH_TOKEN's values, or without one the key kept in ``data_dir``.

    Derived, so that nothing made with a ticket key tells anything about Twilio's own signatures. Raises OSError when
    the key cannot be kept. Blocks; meant for start-up.
    """
    if auth_tokens:
        return tuple(hmac.digest(token.encode(), _LABEL, hashlib.sha256) for token in auth_tokens)
    return (_kept_key(data_dir / KEY_FILE),)


def _kept_key(path: Path) -> bytes:
    """Reads the key, or makes it. The lock makes one of several processes the author; a half-written key of one that
    died is written anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        key = file.read(_KEY_BYTES)
        if len(key) < _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            file.seek(0)
            file.write(key)
            os.fsync(file.fileno())
        return key


def _mac(key: bytes, expires: str, ticket_id: str, name: str, call_sid: str) -> str:
    # None of the first three can hold a line break (see _TEXT), so the statement can be read in one way only.
    statement = "\n".join((expires, ticket_id, name, call_sid)).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hmac.digest(key, statement, hashlib.sha256)).rstrip(b"=").decode()
