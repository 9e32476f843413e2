"""The model tokens spent in a day (UTC): of all people together and of each.

``{tokens}:all``, ``person:{id}:tokens``   hash: ``day`` it is of, ``tokens``, and for each process that has added to
                                           them the number of its last addition, ``by:<process>``

A day's counts take the place of the day before. They expire a day after the last addition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from relay.store.batch import Batch
from relay.store.client import translate
from relay.store.person import person_key
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

EVERYBODY = ""
"""Stands for all people together where a person is named."""

KEPT = 2 * 86400.0


class Spending:
    """Days are ISO dates. Every method raises StoreError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._add = Batch(redis, script(redis, "spending_add", fenced=False))

    async def add(self, day: str, person: str, tokens: int, *, process: str, number: int) -> int:
        """Adds to what was spent that day and returns all of it. ``number``: of this addition, higher than any before
        it of the same process; the same addition may be made again. Nothing is added to a day that is over."""
        total = await self._add([_key(person)], [day, tokens, process, number, int(KEPT * 1000)])
        return int(total)

    async def read(self, day: str, person: str) -> int:
        """What was spent that day."""
        with translate():
            found = await cast(Any, self._redis.hmget(_key(person), ["day", "tokens"]))
        known, tokens = (text(value) if value else "" for value in found)
        return int(tokens or 0) if known == day else 0

    async def forget(self, person: str) -> int:
        """What this person has spent is not on record any more."""
        with translate():
            return int(await self._redis.delete(_key(person)))


def _key(person: str) -> str:
    return f"{person_key(person)}:tokens" if person else "{tokens}:all"


__all__ = ["EVERYBODY", "Spending"]
