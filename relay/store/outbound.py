"""The calls we place: how many in a minute, and which wish each was for, across all processes.

``{outbound}:minute`` is a sorted set of the calls of the last minute; ``{outbound}:key:<digest>`` is the hash of one
idempotency key: who claimed it, a fingerprint of what was asked for, and the call's sid once it was placed. A claim is
made before Twilio is asked, so a key is never good for two calls, whatever ends between.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

WINDOW = 60.0
"""Seconds over which calls are counted."""
KEPT = 24 * 3600.0
"""Seconds for which an idempotency key is remembered."""

_MINUTE = "{outbound}:minute"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a wish for a call met.

    claimed: it is the claimant's to place. done: it was placed, ``call_sid``. pending: somebody claimed it at ``since``
    (epoch seconds; 0 where nobody will ever tell) and has not told what became of it. other: the key was used for
    another wish. rate: too many calls; ``wait`` is the seconds until there is room.
    """

    kind: Literal["claimed", "done", "pending", "other", "rate"]
    call_sid: str = ""
    since: float = 0.0
    wait: float = 0.0


class OutboundCalls:
    """``limit``: calls in ``WINDOW`` seconds. Every method raises StoreError; then, as after a cancel, it is done or
    not, and may be repeated by the same claimant."""

    def __init__(self, redis: Redis, limit: int) -> None:
        self._limit = limit
        self._claim = script(redis, "outbound_claim", fenced=False)
        self._settle = script(redis, "outbound_settle", fenced=False)

    async def claim(self, claimant: str, key: str, fingerprint: str, now: float) -> Claim:
        """Counts a call and claims its key ("" for none), or neither. ``now``: epoch seconds."""
        now_ms, window_ms, kept_ms = int(now * 1000), int(WINDOW * 1000), int(KEPT * 1000)
        args: list[int | str] = [now_ms, window_ms, self._limit, claimant, int(bool(key)), fingerprint, kept_ms]
        with translate():
            reply = await self._claim(keys=[_MINUTE, _entry(key)], args=args)
        kind, *rest = [text(word) for word in reply]
        match kind:
            case "done":
                return Claim("done", call_sid=rest[0])
            case "pending":
                return Claim("pending", since=int(rest[0]) / 1000)
            case "rate":
                return Claim("rate", wait=float(rest[0]) / 1000)
            case "other":
                return Claim("other")
            case _:
                return Claim("claimed")

    async def placed(self, claimant: str, key: str, call_sid: str) -> None:
        """The call of a claimed key has this sid."""
        await self._settled(claimant, key, call_sid)

    async def give_back(self, claimant: str, key: str) -> None:
        """No call was placed: the key may be used again. The call stays counted."""
        await self._settled(claimant, key, "")

    async def in_doubt(self, claimant: str, key: str) -> None:
        """Whether a call was placed is not known, and will not be: the key is good for nothing any more."""
        await self._settled(claimant, key, "?")

    async def _settled(self, claimant: str, key: str, call_sid: str) -> None:
        if key:
            with translate():
                await self._settle(keys=[_entry(key)], args=[claimant, call_sid])


def _entry(key: str) -> str:
    return f"{{outbound}}:key:{sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}"


__all__ = ["KEPT", "WINDOW", "Claim", "OutboundCalls"]
