"""The first use of a ticket, remembered for as long as the ticket could be used: ``ticket:{digest}``.

A ticket is a signed statement that is checked without Redis; this record only refuses its second use.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from relay.store.client import translate
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Tickets:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def use(self, ticket: str, user: str, seconds: float) -> bool:
        """True if this user (a session's id) is the first to use the ticket, also when it asks again; False if another
        was. Remembered for ``seconds``. Raises StoreError: used or not, nobody knows; so after a cancel."""
        key = f"ticket:{{{sha256(ticket.encode()).hexdigest()}}}"
        with translate():
            if await self._redis.set(key, user, nx=True, px=max(1, int(seconds * 1000))):
                return True
            first = await self._redis.get(key)
        # Expired between the two commands: then the ticket has expired with it.
        return first is not None and text(first) == user


__all__ = ["Tickets"]
