"""Tools with a side effect, each wish carried out once: ``conversation:{id}:effects``.

A hash: tool and a keyed digest of its canonical arguments ->
``{"v", "owner", "epoch", "status": "running"|"done", "output"}`` (``v``: see ``relay/versions.py``).
The owner names one attempt (a tool call's id and its session), so a repeated ``begin`` is answered as the first was.

    begin     -> Begun       carry it out, then ``finish``; or ``withdraw`` if it is not carried out after all
              -> Answered    it was carried out; this is its result
              -> InDoubt     another attempt is recorded as running: tell the model to check before repeating
    settle    a turn ended uninterrupted: the same call made again is a new wish from here on

The store is for what this process cannot know: a call resumed elsewhere, or after a crash. A session keeps its own
running calls and their results besides, so that it can answer from them while Redis is away; on StoreError it decides
by these alone. An effect begun without the store stays unknown to it: only its item in the history tells of it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from relay import versions
from relay.errors import Fenced
from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import script

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Begun:
    """Nobody did it yet: it is recorded as running and is this owner's to carry out."""


@dataclass(frozen=True, slots=True)
class Answered:
    """It was done before; ``output`` is the JSON text it ended with."""

    output: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Another attempt is recorded as running, and nobody here knows whether it still does."""


Beginning = Begun | Answered | InDoubt


def effects_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:effects"


class Effects:
    """The record of side effects; ``ttl`` in seconds counts from the last change, ``deadline`` bounds every access.

    ``key``: the same in all processes and not in Redis; without it arguments with few possible values, such as a PIN,
    could be found out from their digest.

    Every method raises StoreError when Redis did not answer within the deadline; it may then be recorded or not, as
    after a cancel, and asking again with the same owner is right in both cases. ``begin`` and ``settle`` raise Fenced
    for a session that is not the conversation's newest; such a session starts no side effect.
    """

    def __init__(self, redis: Redis, ttl: float, deadline: float = 0.5, *, key: bytes = b"") -> None:
        self._ttl_ms = int(ttl * 1000)
        self._deadline = deadline
        self._key = key
        self._begin = script(redis, "effects_begin")
        self._end = script(redis, "effects_end", fenced=False)
        self._settle = script(redis, "effects_settle")

    async def begin(self, conversation: str, epoch: int, tool: str, canonical: str, owner: str) -> Beginning:
        """Records the call as running, or tells what is known of an equal one."""
        wanted = _entry(owner, epoch, "running")
        with translate():
            async with asyncio.timeout(self._deadline):
                found = await self._begin(
                    keys=[effects_key(conversation), state_key(conversation)],
                    args=[epoch, self._ttl_ms, self._field(tool, canonical), wanted],
                )
        if found is None:
            raise Fenced("a newer session owns this conversation")
        entry = versions.load(found)
        if entry is None:
            return InDoubt()  # a newer version's
        if entry["status"] == "done":
            return Answered(entry["output"])
        return Begun() if entry["owner"] == owner else InDoubt()

    async def finish(self, conversation: str, epoch: int, tool: str, canonical: str, owner: str, output: str) -> bool:
        """Records the result of a call that this owner began, even if a newer session owns the conversation by now:
        it is how that one learns of it. False: the call is not this owner's (any more), nothing was recorded."""
        return await self._replace(conversation, tool, canonical, owner, _entry(owner, epoch, "done", output))

    async def withdraw(self, conversation: str, tool: str, canonical: str, owner: str) -> bool:
        """Forgets a call that this owner began and did not carry out, or that failed without any effect."""
        return await self._replace(conversation, tool, canonical, owner, b"")

    async def settle(self, conversation: str, epoch: int, running: Collection[str] = ()) -> None:
        """Forgets all calls but those of the owners whose effects are known to be ``running`` still."""
        with translate():
            async with asyncio.timeout(self._deadline):
                settled = await self._settle(
                    keys=[effects_key(conversation), state_key(conversation)], args=[epoch, self._ttl_ms, *running]
                )
        if not settled:
            raise Fenced("a newer session owns this conversation")

    def _field(self, tool: str, canonical: str) -> str:
        return f"{tool}:{hmac.digest(self._key, canonical.encode('utf-8', 'surrogatepass'), sha256).hex()[:32]}"

    async def _replace(self, conversation: str, tool: str, canonical: str, owner: str, entry: bytes) -> bool:
        with translate():
            async with asyncio.timeout(self._deadline):
                replaced = await self._end(
                    keys=[effects_key(conversation)], args=[self._ttl_ms, self._field(tool, canonical), owner, entry]
                )
        return bool(replaced)


def _entry(owner: str, epoch: int, status: str, output: str = "") -> bytes:
    return versions.dump({"owner": owner, "epoch": epoch, "status": status, "output": output})


__all__ = ["Answered", "Beginning", "Begun", "Effects", "InDoubt", "effects_key"]
