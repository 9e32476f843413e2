"""Everything that is known of a person, removed.

What a person has had to do with is listed in ``person:{id}:conversations``; whatever any part of the program keeps of a
conversation stands under keys that name it (``conversation:{id}:...``, ``{inbox:NN}:<id>:...``), so it is found without
asking that part; so is what leads to a conversation by a hash that stands for the person (``trace.py``). What is kept
under other keys is for that part to remove: it is a ``Forgetter``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from relay.store.archive import Archive
from relay.store.client import translate
from relay.store.due import Due
from relay.store.people import People
from relay.store.person import aliases_key, conversations_key, person_key
from relay.store.rewriting import rewrite_log
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis

AT_ONCE = 500  # keys of one command

_OF_CONVERSATION = re.compile(r"conversation:\{(.+)\}:[^{}]+|\{inbox:\d+\}:(.+):[^:]+")
_POINTER = re.compile(r"person_hash:\{[^{}]+\}")
_DAY = re.compile(r"conversations:\{[^{}]+\}")


class Forgetter(Protocol):
    """A store that keeps something of people under keys of its own."""

    async def forget(self, person: str) -> int:
        """Removes all it keeps of the person with this id (it is asked for each of their ids) and says how many things
        that were. May be repeated. Raises StoreError."""
        ...


class Forgetting:
    """``others``: what it is that a store keeps, in the plural ("tours") -> the store."""

    def __init__(
        self, redis: Redis, people: People, archive: Archive, due: Due, others: Mapping[str, Forgetter] | None = None
    ) -> None:
        self._redis = redis
        self._people = people
        self._archive = archive
        self._due = due
        self._others = others or {}

    async def forget(self, person: str) -> dict[str, int]:
        """Removes everything about whom this id or alias stands for; what was removed, by its kind, nothing at all for
        somebody unknown. Raises StoreError; what is left then goes when it is repeated: what lists the rest goes last.

        A call in progress goes on: what it still writes is removed when it is over, or expires with it."""
        ids = await self._people.ids(person)
        conversations = {each: at for one in ids for each, at in await self._archive.of(one)}
        # First of all: who is at work on one of them looks here after writing. What was written before is there for
        # the whole of the walk below, which may miss what comes during it.
        await self._archive.unlist(conversations)
        counts: dict[str, int] = {}
        for name, store in self._others.items():
            counts[name] = sum([await store.forget(one) for one in ids])
        counts["reports and summaries due"] = await self._due.forget(conversations.keys())
        for each in conversations:
            await self._archive.delete(each)
        await self._sweep(conversations.keys())
        counts["conversations"] = len(conversations)
        known = 0
        for one in reversed(ids):
            with translate():
                known += await self._redis.delete(person_key(one))
        for one in ids:
            with translate():
                await self._redis.delete(conversations_key(one))
        with translate():
            await self._redis.delete(*(aliases_key(one) for one in ids))
        counts["names of the person"] = known
        return {name: count for name, count in counts.items() if count}

    async def rewrite_file(self) -> bool:
        """What was deleted leaves the server's file on disk too. As ``rewrite_log``."""
        return await rewrite_log(self._redis)

    async def _sweep(self, conversations: Collection[str]) -> None:
        """Removes every other key of these conversations, and them from the lists of the days. One walk over all keys,
        which in a Cluster may miss one that is moved meanwhile."""
        if not conversations:
            return
        doomed: list[bytes | str] = []
        pointers: list[bytes | str] = []
        with translate():
            async for key in self._redis.scan_iter(count=1000):
                name = text(key)
                if _DAY.fullmatch(name):
                    await self._redis.zrem(name, *conversations)
                elif (found := _OF_CONVERSATION.fullmatch(name)) and (found[1] or found[2]) in conversations:
                    doomed.append(key)
                elif _POINTER.fullmatch(name):
                    pointers.append(key)
            for start in range(0, len(pointers), AT_ONCE):
                doomed += await self._pointing(pointers[start : start + AT_ONCE], conversations)
            for start in range(0, len(doomed), AT_ONCE):
                await cast(Any, self._redis.delete(*doomed[start : start + AT_ONCE]))

    async def _pointing(self, pointers: Sequence[bytes | str], conversations: Collection[str]) -> Iterator[bytes | str]:
        """Those of them that name one of these conversations."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in pointers:
                pipeline.get(key)
            named = await pipeline.execute()
        return (key for key, name in zip(pointers, named, strict=True) if name and text(name) in conversations)


__all__ = ["Forgetter", "Forgetting"]
