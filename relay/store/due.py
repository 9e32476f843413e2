"""Work that is to be done once, at or after a moment, by whichever process gets there first.

``{<name>}:due``      sorted set: what is to be done -> ms since 1970 when somebody must look, be it the end of a lease
``{<name>}:leases``   hash: what somebody is at work on -> the end of their lease
``{<name>}:again``    hash: what was asked for meanwhile -> when

A name is that of one kind of work: a process that does not know it leaves it alone. A crash is a lease that passes.
Times are the processes' own: their clocks are to agree to within a few seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Claimed:
    """The holder's alone until ``until`` (ms since 1970), which also tells one lease from the next."""

    member: str
    until: int


class Due:
    """``lease`` in seconds: a holder must be done, or have given up, by its end."""

    def __init__(self, redis: Redis, name: str, lease: float) -> None:
        self._redis = redis
        self._keys = [f"{{{name}}}:{part}" for part in ("due", "leases", "again")]
        self._lease_ms = int(lease * 1000)
        self._add = script(redis, "due_add", fenced=False)
        self._claim = script(redis, "due_claim", fenced=False)
        self._release = script(redis, "due_release", fenced=False)

    async def add(self, now_ms: int, wanted: Mapping[str, int]) -> None:
        """Somebody is to look at these at these moments, or earlier where that is asked for already. Raises StoreError;
        may be repeated."""
        with translate():
            await self._add(keys=self._keys, args=[now_ms, *(word for pair in wanted.items() for word in pair)])

    async def claim(self, now_ms: int, most: int) -> list[Claimed]:
        """What is due by now. Raises StoreError; what was claimed then is due again when the lease has passed."""
        until = now_ms + self._lease_ms
        with translate():
            members = await self._claim(keys=self._keys[:2], args=[now_ms, until, most])
        return [Claimed(text(member), until) for member in members]

    async def release(self, claimed: Claimed, again_ms: int | None) -> bool:
        """It is done, or somebody is to look again at that moment. False if the lease is another one's by now. Raises
        StoreError; may be repeated."""
        at = "" if again_ms is None else again_ms
        with translate():
            return bool(await self._release(keys=self._keys, args=[claimed.member, claimed.until, at]))

    async def forget(self, members: Collection[str]) -> int:
        """Nobody is to look at these any more. How many there were. Raises StoreError."""
        if not members:
            return 0
        with translate():
            removed = await self._redis.zrem(self._keys[0], *members)
            for key in self._keys[1:]:
                await cast(Any, self._redis.hdel(key, *members))
        return int(removed)


__all__ = ["Claimed", "Due"]
