"""Conversations as an operator looks at them: lists of them, newest first, and all there is of one. Claims nothing.

A list is read from the days' lists (``archive.py``), or from a person's own. A page of it ends with a ``Mark``: the
page after it goes on there, whatever has begun since. Where few conversations are wanted, one look goes no further than
``MOST_LOOKED`` of them and returns what it found with the mark of where to go on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from relay.items import Item, load_item
from relay.report import is_open, last_sign, outcome
from relay.store.archive import Kept, after_key, day_key
from relay.store.client import translate
from relay.store.history import MOST_ITEMS, items_key, repair, state_key
from relay.store.person import conversations_key
from relay.store.scripts import text
from relay.store.trace import hash_key, trace_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_LOOKED = 2000  # conversations of one look
AT_ONCE = 100  # of one round trip
LIVELY = 10.0  # seconds since its last sign in which a conversation is live whatever is known of its process
DAY_MS = 86_400_000

_FIELDS = (
    "epoch",
    "begun",
    "agent",
    "agents",
    "channel",
    "person",
    "seen",
    "left",
    "ended",
    "reason",
    "turns",
    "slowest",
    "worker",
)


class Mark(NamedTuple):
    """A place in a list: behind the conversation that began then."""

    at: int
    conversation: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One of a list. ``live``: a process is holding it now."""

    id: str
    started: int
    kept: Kept = field(repr=False)
    live: bool

    @property
    def agent(self) -> str:
        return self.kept.state.get("agent", "")

    @property
    def agents(self) -> list[str]:
        """All that it has been with, the first one first."""
        return self.kept.state.get("agents", self.agent).split()

    @property
    def channel(self) -> str:
        return self.kept.state.get("channel", "")

    @property
    def person(self) -> str:
        return self.kept.state.get("person", "")

    @property
    def worker(self) -> str:
        return self.kept.state.get("worker", "")

    @property
    def turns(self) -> int:
        return self.kept.number("turns")

    @property
    def slowest_ms(self) -> int | None:
        """Of a turn's first words; None where none had any."""
        return self.kept.number("slowest") or None

    @property
    def ended(self) -> int | None:
        """Ms since 1970; where its process did not tell, of its last sign."""
        if self.live:
            return None
        return last_sign(self.kept) if is_open(self.kept) else self.kept.number("ended")

    @property
    def outcome(self) -> str:
        """As it is reported (``relay/report.py``); "live" while it goes on."""
        return "live" if self.live else outcome(self.kept)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of a list; "" and 0 stand for all. ``agent``: one that it has been with. ``slower_than``: ms of the slowest
    turn's first words."""

    agent: str = ""
    channel: str = ""
    outcome: str = ""
    slower_than: float = 0.0

    def takes(self, one: Conversation) -> bool:
        return (
            (not self.agent or self.agent in one.agents)
            and self.channel in ("", one.channel)
            and self.outcome in ("", one.outcome)
            and (not self.slower_than or (one.slowest_ms or 0) > self.slower_than)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """``mark``: where to go on, None at the end. ``looked``: at so many conversations."""

    found: list[Conversation]
    mark: Mark | None
    looked: int


@dataclass(frozen=True, slots=True)
class Whole:
    """All there is of a conversation: its items by their positions, and the trace's entries in order."""

    conversation: Conversation
    items: list[tuple[int, Item]] = field(repr=False)
    trace: list[dict[str, Any]] = field(repr=False)


class Monitor:
    """``longest``: seconds after its beginning in which a conversation may still be listed."""

    def __init__(self, redis: Redis, *, longest: float, now_ms: Callable[[], int]) -> None:
        self._redis = redis
        self._longest_ms = int(longest * 1000)
        self._now_ms = now_ms

    async def newest(self, wanted: Wanted, limit: int, after: Mark | None = None, *, since: int = 0) -> Page:
        """Conversations of all people, begun ``since`` then (ms since 1970). Raises StoreError."""
        async with aclosing(self._of_days(after, since)) as marks:
            return await self._page(marks, wanted, limit)

    async def of_person(self, ids: Sequence[str], wanted: Wanted, limit: int, after: Mark | None = None) -> Page:
        """Those of the person with these ids. Raises StoreError."""
        async with aclosing(self._of_lists(ids, after)) as marks:
            return await self._page(marks, wanted, limit)

    async def person(self, hashed: str) -> str:
        """An id of the person behind a keyed hash; "" for nobody (any more). Raises StoreError."""
        with translate():
            conversation = await self._redis.get(hash_key(hashed))
            if conversation is None:
                return ""
            person = await cast(Any, self._redis.hget(state_key(text(conversation)), "person"))
        return text(person or "")

    async def keeps(self, conversation: str) -> bool:
        """Whether there is such a conversation (still). Raises StoreError."""
        with translate():
            return bool(await cast(Any, self._redis.hexists(state_key(conversation), "epoch")))

    async def one(self, conversation: str) -> Whole | None:
        """None for one that is not kept (any more). What a session has left open is repaired once nobody holds it.
        Raises StoreError."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zrange(items_key(conversation), -MOST_ITEMS, -1, withscores=True)
                pipeline.xrange(trace_key(conversation))
                raw, entries = await pipeline.execute()
        read = await self._read([Mark(0, conversation)])
        if not read:
            return None
        (one,) = read
        items = [(int(score), item) for member, score in raw if (item := load_item(member)) is not None]
        if not one.live:
            items = repair(items, last_sign(one.kept))[0]
        return Whole(one, items, [orjson.loads(fields[b"j"]) for _, fields in entries if b"j" in fields])

    # -- pages

    async def _page(self, marks: AsyncGenerator[list[Mark], None], wanted: Wanted, limit: int) -> Page:
        found: list[Conversation] = []
        looked = 0
        last: Mark | None = None
        async for some in marks:
            by_id = {each.id: each for each in await self._read(some)}
            for last in some:
                looked += 1
                one = by_id.get(last.conversation)
                if one is not None and wanted.takes(one):
                    found.append(one)
                    if len(found) == limit:
                        return Page(found, last, looked)
            if looked >= MOST_LOOKED:
                return Page(found, last, looked)
        return Page(found, None, looked)

    async def _of_days(self, after: Mark | None, since: int) -> AsyncGenerator[list[Mark], None]:
        newest = self._now_ms() + DAY_MS  # clocks differ
        if after is not None:
            newest = min(newest, after.at)
        oldest = max(since, self._now_ms() - self._longest_ms)
        days = list(dict.fromkeys(day_key(at) for at in (*range(newest, oldest, -DAY_MS), oldest)))
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.exists(day)
                there = await pipeline.execute()
        for day in (day for day, exists in zip(days, there, strict=True) if exists):
            top: int | str = "+inf" if after is None else after.at
            most = AT_ONCE
            while True:
                with translate():
                    found: Any = await self._redis.zrevrangebyscore(day, top, oldest, 0, most, withscores=True)
                marks = [Mark(int(score), text(name)) for name, score in found]
                behind = [mark for mark in marks if after is None or mark < after]
                if behind:
                    yield behind
                    after = behind[-1]
                    top = after.at
                if len(marks) < most:
                    break
                most = AT_ONCE if behind else 2 * most  # so many have begun in the same ms

    async def _of_lists(self, ids: Sequence[str], after: Mark | None) -> AsyncGenerator[list[Mark], None]:
        marks: set[Mark] = set()
        for each in ids:
            with translate():
                found: Any = await self._redis.zrange(conversations_key(each), 0, -1, withscores=True)
            marks |= {Mark(int(score), text(name)) for name, score in found}
        listed = sorted((mark for mark in marks if after is None or mark < after), reverse=True)
        for start in range(0, len(listed), AT_ONCE):
            yield listed[start : start + AT_ONCE]

    # -- conversations

    async def _read(self, marks: Sequence[Mark]) -> list[Conversation]:
        """Those of them that are still kept."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for mark in marks:
                    pipeline.hmget(state_key(mark.conversation), list(_FIELDS))
                    pipeline.hgetall(after_key(mark.conversation))
                answers = await pipeline.execute()
        read: list[tuple[Mark, Kept]] = []
        for mark, values, done in zip(marks, answers[::2], answers[1::2], strict=True):
            state = {name: text(value) for name, value in zip(_FIELDS, values, strict=True) if value is not None}
            if "epoch" in state:
                read.append((mark, Kept(mark.conversation, state, _texts(done))))
        alive = await self._alive(kept.state.get("worker", "") for _, kept in read if is_open(kept))
        return [
            Conversation(
                mark.conversation,
                mark.at or kept.number("begun") or kept.number("epoch"),
                kept,
                live=is_open(kept) and (kept.state.get("worker") in alive or self._lively(kept)),
            )
            for mark, kept in read
        ]

    def _lively(self, kept: Kept) -> bool:
        return self._now_ms() - last_sign(kept) < LIVELY * 1000

    async def _alive(self, workers: Iterable[str]) -> set[str]:
        """Those that have told lately that they live."""
        named = sorted({worker for worker in workers if worker})
        if not named:
            return set()
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for worker in named:
                    pipeline.exists(f"live:{{{worker}}}")
                there = await pipeline.execute()
        return {worker for worker, exists in zip(named, there, strict=True) if exists}


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in found.items()}


__all__ = ["Conversation", "Mark", "Monitor", "Page", "Wanted", "Whole"]
