"""Tickets to the live chat: what a page gets by HTTP, and gives away when it opens its socket.

``chat:{visitor}:tickets``    sorted set: ``opens:<digest>`` and ``reads:<digest>`` of each ticket -> when it expires
                              (ms since 1970); gone with the last of them

A ticket is ``<visitor>.<secret>``; what is stored names no ticket that could be used. It opens one socket; as long as
it lives it also reads the visitor's history, which is asked for over a socket that is open already.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from relay.store.client import translate
from relay.store.presence import PERSON

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIVES = 60.0  # seconds
MOST = 100  # tickets of one visitor that live at once; the oldest is given up first

_TICKET = re.compile(r"([A-Za-z0-9_-]{1,128})\.[A-Za-z0-9_-]{43}", re.ASCII)


def tickets_key(visitor: str) -> str:
    return f"chat:{{{visitor}}}:tickets"


def new_secret() -> str:
    return secrets.token_urlsafe(32)


class ChatTickets:
    """``now``: seconds since 1970. ``secret``: makes what nobody can guess. Every method raises StoreError: then
    nobody comes in."""

    def __init__(
        self, redis: Redis, *, now: Callable[[], float] = time.time, secret: Callable[[], str] = new_secret
    ) -> None:
        self._redis = redis
        self._now = now
        self._secret = secret

    async def issue(self, visitor: str) -> str:
        """A ticket for this visitor, whose name is one of ours. A cancel leaves one that nobody knows."""
        ticket = f"{visitor}.{self._secret()}"
        now, key = int(self._now() * 1000), tickets_key(visitor)
        until = now + int(LIVES * 1000)
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zremrangebyscore(key, "-inf", now)
                pipeline.zadd(key, {_opens(ticket): until, _reads(ticket): until})
                pipeline.zremrangebyrank(key, 0, -2 * MOST - 1)
                pipeline.pexpire(key, int(LIVES * 1000))
                await pipeline.execute()
        return ticket

    async def redeem(self, ticket: str) -> str | None:
        """Whose it is, for the one who comes first with it; None for all others, and for what is no ticket (any more).
        After a cancel it is used."""
        visitor, key = _visitor(ticket)
        if visitor is None:
            return None
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zremrangebyscore(key, "-inf", int(self._now() * 1000))
                pipeline.zrem(key, _opens(ticket))
                _, removed = await pipeline.execute()
        return visitor if removed else None

    async def reader(self, ticket: str) -> str | None:
        """Whose history it reads, as often as somebody comes with it in its time; None for what is no ticket."""
        visitor, key = _visitor(ticket)
        if visitor is None:
            return None
        with translate():
            until = await self._redis.zscore(key, _reads(ticket))
        return visitor if until is not None and until > self._now() * 1000 else None

    async def forget(self, person: str) -> int:
        """As ``relay.store.forgetting.Forgetter``."""
        if not person.startswith(PERSON):
            return 0
        with translate():
            return int(await self._redis.delete(tickets_key(person.removeprefix(PERSON))))


def _visitor(ticket: str) -> tuple[str | None, str]:
    """Whose ticket it says it is, and where that one's are."""
    found = _TICKET.fullmatch(ticket)
    return (found[1], tickets_key(found[1])) if found else (None, "")


def _opens(ticket: str) -> str:
    return f"opens:{sha256(ticket.encode()).hexdigest()}"


def _reads(ticket: str) -> str:
    return f"reads:{sha256(ticket.encode()).hexdigest()}"


__all__ = ["ChatTickets", "tickets_key"]
