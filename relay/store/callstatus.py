"""What is known of a phone call as Twilio sees it, and of its handing over: ``conversation:{id}:call``, a hash.

Its fields: ``status`` (Twilio's CallStatus), ``sequence`` (of that status: an older one never replaces a newer one),
``duration``, ``answered_by`` (the machine that answered a call we placed), ``outcome`` (what became of the call last),
and ``reason``, ``summary``, ``summary_language``, ``summary_at`` (ms since 1970): what is whispered to the person who
takes the call. They live as long as the conversation. Nothing a call needs waits for this store: who reads it has a
deadline, and an answer without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class CallState:
    """What the store holds of a call, "" for what it does not. ``agent`` and ``language``: who talks in it now, and the
    caller's language, as its session has noted them. The rest is described above."""

    agent: str = ""
    language: str = ""
    status: str = ""
    answered_by: str = ""
    outcome: str = ""
    reason: str = field(default="", repr=False)
    summary: str = field(default="", repr=False)
    summary_language: str = ""
    summary_at: str = ""


_OF_CALL = ("status", "answered_by", "outcome", "reason", "summary", "summary_language", "summary_at")


def call_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:call"


class CallStatus:
    """``ttl`` in seconds counts from the last write. Every method raises StoreError; then, as after a cancel, what was
    to be written is written or not, and may be written again."""

    def __init__(self, redis: Redis, ttl: float) -> None:
        self._redis = redis
        self._ttl_ms = int(ttl * 1000)
        self._put = script(redis, "fields_put", fenced=False)
        self._status = script(redis, "callstatus_status", fenced=False)
        self._claim = script(redis, "callstatus_claim", fenced=False)

    async def read(self, call_sid: str) -> CallState:
        """What is known of the call."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                cast(Any, pipe).hmget(state_key(call_sid), ["agent", "language"])
                cast(Any, pipe).hmget(call_key(call_sid), list(_OF_CALL))
                state, call = await pipe.execute()
        names = ("agent", "language", *_OF_CALL)
        return CallState(**{name: text(value) for name, value in zip(names, [*state, *call], strict=True) if value})

    async def note(self, call_sid: str, **fields: str) -> None:
        """Sets these fields and no others."""
        args = [word for pair in fields.items() for word in pair]
        with translate():
            await self._put(keys=[call_key(call_sid)], args=[self._ttl_ms, *args])

    async def status(self, call_sid: str, sequence: int, status: str, duration: str = "") -> bool:
        """Writes a status unless one of the same or a later number is there. Whether it was written."""
        fields = ["status", status, *(["duration", duration] if duration else [])]
        with translate():
            return bool(await self._status(keys=[call_key(call_sid)], args=[self._ttl_ms, sequence, *fields]))

    async def claim(self, call_sid: str, name: str, value: str, claimant: str) -> bool:
        """Sets a field that is set once in a call's life. Whether this claimant was the first."""
        with translate():
            return bool(await self._claim(keys=[call_key(call_sid)], args=[self._ttl_ms, name, value, claimant]))

    async def release(self, call_sid: str, name: str) -> None:
        """Takes a claim back, so that it can be made again."""
        with translate():
            await cast(Any, self._redis.hdel(call_key(call_sid), name, f"{name}_by"))


__all__ = ["CallState", "CallStatus", "call_key"]
