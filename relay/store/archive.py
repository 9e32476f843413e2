"""Which conversations there were, and what is left of each once it is over.

``conversations:{day}``          sorted set of conversations, score = when they began (ms since 1970); days are UTC's
``person:{id}:conversations``    the same, of one person
``conversation:{id}:after``      hash: what was done after the call (``relay/aftercall.py``)
``conversation:{id}:report``     the report that is to be delivered, as it will be sent

The lists live at least as long as what they list and are trimmed when they are written. Reading claims nothing: it
fences no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from relay.items import Item, load_item
from relay.store.client import translate
from relay.store.history import MOST_ITEMS, items_key, state_key
from relay.store.people import conversations_key
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_OF_A_PERSON = 1000
MOST_OF_A_DAY = 100_000


def day_key(at_ms: int) -> str:
    return f"conversations:{{{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}}}"


def after_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:after"


def report_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:report"


@dataclass(frozen=True, slots=True)
class Kept:
    """``state`` of the conversation and what was done ``after`` it; either is empty where there is nothing (any more).
    ``report``: what waits to be delivered, None for nothing."""

    conversation: str
    state: Mapping[str, str] = field(repr=False)
    after: Mapping[str, str] = field(repr=False)
    report: bytes | None = field(default=None, repr=False)

    def number(self, name: str) -> int:
        """A field of the state that is a number; 0 where it is not."""
        return _number(self.state, name)

    def done(self, name: str) -> int:
        """The same, of what was done after."""
        return _number(self.after, name)


class Archive:
    """``ttl`` in seconds: how long a call's history is kept. ``longest``: the same of the conversations that are kept
    longest. ``outlives``: seconds by which the lists outlive that, counted from a conversation's beginning, so that
    nothing is left of one that they do not name: its own length, and how long what follows it is kept."""

    def __init__(self, redis: Redis, *, ttl: float, longest: float = 0.0, outlives: float = 0.0) -> None:
        self._redis = redis
        self._ttl = ttl
        self._outlives = outlives
        self.longest = max(ttl, longest) + outlives
        """Seconds after its beginning in which a conversation may still be listed."""
        self._index = script(redis, "index_add", fenced=False)
        self._put = script(redis, "fields_put", fenced=False)

    async def record(self, conversation: str, person: str, at_ms: int, ttl: float | None = None) -> None:
        """Lists a conversation that began at this moment. Raises StoreError; may be repeated. ``ttl``: seconds it is
        kept, a call's if None."""
        ttl_ms, oldest = int(((ttl or self._ttl) + self._outlives) * 1000), at_ms - int(self.longest * 1000)
        lists = ((day_key(at_ms), MOST_OF_A_DAY), (conversations_key(person), MOST_OF_A_PERSON))
        with translate():
            for key, most in lists:
                await self._index(keys=[key], args=[conversation, at_ms, ttl_ms, oldest, most])

    async def listed(self, conversation: str, at_ms: int) -> bool:
        """Whether the conversation that began then is listed: if not, it was forgotten. Raises StoreError."""
        with translate():
            return await self._redis.zscore(day_key(at_ms), conversation) is not None

    async def forgotten(self, conversation: str, person: str, at_ms: int) -> bool:
        """Whether no list has the conversation, its day's or its person's: each has a limit, and drops the oldest.
        Raises StoreError."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zscore(day_key(at_ms), conversation)
                pipeline.zscore(conversations_key(person), conversation)
                return await pipeline.execute() == [None, None]

    async def unlist(self, conversations: Mapping[str, int]) -> None:
        """Takes conversations, by when each began, out of the days' lists: whoever is at work on one learns by it that
        it was forgotten. Raises StoreError."""
        with translate():
            for conversation, at_ms in conversations.items():
                await self._redis.zrem(day_key(at_ms), conversation)

    async def of(self, person: str) -> list[tuple[str, int]]:
        """A person's conversations and when each began, newest first. Raises StoreError."""
        with translate():
            found: Any = await self._redis.zrevrange(conversations_key(person), 0, -1, withscores=True)
        return [(text(conversation), int(score)) for conversation, score in found]

    async def read(self, conversation: str) -> Kept:
        """Raises StoreError."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(state_key(conversation))
                pipeline.hgetall(after_key(conversation))
                pipeline.get(report_key(conversation))
                state, after, report = await pipeline.execute()
        return Kept(conversation, _texts(state), _texts(after), report)

    async def items(self, conversation: str) -> list[Item]:
        """What was said, in order, unrepaired (see ``history.repair``). Raises StoreError."""
        return [item for _, item in await self.entries(conversation)]

    async def entries(self, conversation: str) -> list[tuple[int, Item]]:
        """The same, each with its position."""
        with translate():
            found: Any = await self._redis.zrange(items_key(conversation), -MOST_ITEMS, -1, withscores=True)
        return [(int(position), item) for raw, position in found if (item := load_item(raw)) is not None]

    async def note(self, conversation: str, /, ttl: float = 0.0, **fields: str | int) -> None:
        """Notes what was done after the conversation; kept as long as it, or ``ttl`` seconds. Raises StoreError."""
        words = [str(word) for pair in fields.items() for word in pair]
        with translate():
            await self._put(keys=[after_key(conversation)], args=[int(max(ttl, self._ttl) * 1000), *words])

    async def keep_report(self, conversation: str, report: bytes, ttl: float, **fields: str | int) -> None:
        """The report, to be delivered within ``ttl`` seconds, and what is noted of it. Raises StoreError."""
        with translate():
            await self._redis.set(report_key(conversation), report, px=int(ttl * 1000))
        await self.note(conversation, ttl, **fields)

    async def drop_report(self, conversation: str) -> None:
        """It was delivered, or given up. Raises StoreError."""
        with translate():
            await self._redis.delete(report_key(conversation))

    async def delete(self, conversation: str) -> None:
        """Removes what this process writes of a conversation. Raises StoreError."""
        names = ("items", "state", "effects", "trace", "call", "after", "report", "log")
        with translate():
            await self._redis.delete(*(f"conversation:{{{conversation}}}:{name}" for name in names))


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in cast(Any, found).items()}


def _number(fields: Mapping[str, str], name: str) -> int:
    value = fields.get(name, "")
    return int(value) if value.isdecimal() else 0


__all__ = ["Archive", "Kept", "after_key", "day_key", "report_key"]
