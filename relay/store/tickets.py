"""The first use of a ticket, remembered for as long as the ticket could be used: ``ticket:{digest}``.

A ticket is a signed statement that is checked without Redis; this record only tells of its second use.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from relay.store.client import translate
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Tickets:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def use(self, ticket: str, user: str, seconds: float) -> Literal["first", "again", "other"]:
        """Whether this user (a session's id) is the first to use the ticket, comes again, or comes after another.
        Remembered for ``seconds``. Raises StoreError: used or not, nobody knows; so after a cancel."""
        key = f"ticket:{{{sha256(ticket.encode()).hexdigest()}}}"
        with translate():
            if await self._redis.set(key, user, nx=True, px=max(1, int(seconds * 1000))):
                return "first"
            first = await self._redis.get(key)
        # Expired between the two commands: then the ticket has expired with it.
        return "again" if first is not None and text(first) == user else "other"


__all__ = ["Tickets"]
