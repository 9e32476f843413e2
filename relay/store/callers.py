"""How often a person has called of late, across all processes.

``person:{id}:hour``   sorted set: the calls of the last hour that were taken, score = ms since 1970
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.client import translate
from relay.store.person import person_key
from relay.store.scripts import script

if TYPE_CHECKING:
    from redis.asyncio import Redis

WINDOW = 3600.0
"""Seconds over which calls are counted."""


class Callers:
    """``limit``: calls of one person in ``WINDOW`` seconds. Every method raises StoreError."""

    def __init__(self, redis: Redis, limit: int) -> None:
        self._redis = redis
        self._limit = limit
        self._take = script(redis, "callers_take", fenced=False)

    async def take(self, person: str, call_sid: str, now: float) -> bool:
        """Counts this call, once however often it is told of; False, and it is not counted, where the person has had as
        many as they may. ``now``: epoch seconds. A cancel leaves it counted or not."""
        args: list[int | str] = [int(now * 1000), int(WINDOW * 1000), self._limit, call_sid]
        with translate():
            return bool(await self._take(keys=[_key(person)], args=args))

    async def forget(self, person: str) -> int:
        """That this person has called is not on record any more."""
        with translate():
            return int(await self._redis.delete(_key(person)))


def _key(person: str) -> str:
    return f"{person_key(person)}:hour"


__all__ = ["WINDOW", "Callers"]
