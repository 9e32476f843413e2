"""Messages we sent, and what became of them: ``message:{id}``, a hash that is only ever changed by scripts, and
``person:{id}:messages``, which ones a person was sent, by time.

Who it was sent to and what it said is not kept. Reports of a status come in any order and more than once: a status
never goes back, and one that says how a message ended stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from relay.messages import LOST, Kind, Status
from relay.store.client import translate
from relay.store.people import is_known
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEPT = 30 * 24 * 3600.0
MOST_OF_A_PERSON = 10_000
UNCLAIMED = 600.0
"""Seconds a message is on record, and a status that came before its message was: Twilio may be faster than we are."""

_DELIVERED = 6
_RANKS = {
    "queued": 1,
    "accepted": 2,
    "scheduled": 3,
    "sending": 4,
    "sent": 5,
    "delivered": _DELIVERED,
    "read": 7,
    **dict.fromkeys(LOST, 9),
}

STATUSES = frozenset(_RANKS)
"""Those that are kept. Twilio has more, which are not of messages we sent, and may make others."""


@dataclass(frozen=True, slots=True)
class Message:
    """One that was sent, ``sent`` in seconds since the epoch. A mail's status is ``sent`` and stays so."""

    kind: str
    status: str
    error: str
    conversation: str
    person: str = field(repr=False)
    sent: float


def message_key(message: str) -> str:
    return f"message:{{{message}}}"


def messages_key(person: str) -> str:
    return f"person:{{{person}}}:messages"


class Messages:
    """``kept``: seconds a message is remembered. ``now``: epoch seconds."""

    def __init__(self, redis: Redis, kept: float = KEPT, *, now: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._kept_ms = int(kept * 1000)
        self._now = now
        self._put = script(redis, "message_put", fenced=False)
        self._index = script(redis, "index_add", fenced=False)
        self._advance = script(redis, "message_status", fenced=False)

    async def sent(self, message: str, /, *, kind: Kind, conversation: str, person: str) -> None:
        """Remembers a message that the vendor has accepted; an anonymous caller has no list of theirs. Raises
        StoreError; then, as after a cancel, it is remembered or not. Doing it twice is doing it once."""
        now = int(self._now() * 1000)
        with translate():
            if person and is_known(person):
                # Listed first, so that nothing of a person is kept that ``forget`` does not find.
                await self._index(
                    keys=[messages_key(person)],
                    args=[message, now, self._kept_ms, now - self._kept_ms, MOST_OF_A_PERSON],
                )
            status = "sent" if kind == "mail" else "queued"
            await self._put(keys=[message_key(message)], args=[self._kept_ms, kind, conversation, person, now, status])

    async def report(self, message: str, status: str, error: str = "") -> bool:
        """Takes down a status (one of ``STATUSES``), unless a later one is known; ``error`` is the vendor's code.
        False: no such message is on record; the report is kept for a while in case it was the faster one. Raises
        StoreError; then, as after a cancel, it is taken down or not."""
        rank = _RANKS[status]
        before = _DELIVERED if status in LOST else rank
        with translate():
            known = await self._advance(
                keys=[message_key(message)], args=[status, rank, before, error, int(UNCLAIMED * 1000)]
            )
        return bool(known)

    async def status(self, message: str, /) -> Status | None:
        """Raises StoreError."""
        with translate():
            status, error = await cast(Any, self._redis.hmget(message_key(message), ["status", "error"]))
        return None if status is None else Status(text(status), text(error or b""))

    async def get(self, message: str) -> Message | None:
        """Raises StoreError."""
        with translate():
            raw = await cast(Any, self._redis.hgetall(message_key(message)))
        found = {text(name): text(value) for name, value in raw.items()}
        if "kind" not in found:
            return None
        return Message(
            kind=found["kind"],
            status=found["status"],
            error=found.get("error", ""),
            conversation=found["conversation"],
            person=found["person"],
            sent=int(found["sent"]) / 1000,
        )

    async def of(self, person: str) -> list[str]:
        """The ids of what a person was sent, oldest first. Raises StoreError."""
        with translate():
            return [text(each) for each in await cast(Any, self._redis.zrange(messages_key(person), 0, -1))]

    async def forget(self, person: str) -> int:
        """Deletes all messages of a person and returns how many. Raises StoreError; then some may be left, which doing
        it again finds. An alias of a person has messages of its own."""
        count = 0
        while found := await self.of(person):
            with translate():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for each in found:
                        pipe.delete(message_key(each))
                    await pipe.execute()
                await cast(Any, self._redis.zrem(messages_key(person), *found))
            count += len(found)
        return count


__all__ = ["STATUSES", "Message", "Messages", "message_key", "messages_key"]
