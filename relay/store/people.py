"""Who we talk to, across conversations.

``person:{id}``           hash, only ever changed field by field: what is known, ``first_seen`` and ``last_seen`` (ms
                          since 1970), ``memory`` ("off": nothing of a call is kept for the next), and for each of the
                          last calls that were summed up ``call:<conversation>``, JSON
``person:{id}:aliases``   set: the other ids of this person

Ids are ``channel:address`` (``phone:+15551234567``). One person known under several addresses has one hash; the others
hold a single field ``alias`` naming it. A caller without a number is a person of their own, for as long as the
conversation is kept; so is one whom nobody has ``seen``: what a call still learns of a person who was forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from relay import versions
from relay.store.client import translate
from relay.store.person import (
    CALL,
    EarlierCall,
    Person,
    aliases_key,
    conversations_key,
    is_known,
    load_person,
    person_id,
    person_key,
)
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

# Longest value of each field, in characters (an e-mail address: RFC 5321's 254).
LIMITS = {"first_name": 80, "last_name": 80, "email": 254, "agent": 64, "language": 35, "notes": 2000, "memory": 3}
MOST_CALLS = 5  # calls a person is remembered by
MERGE_TRIES = 10

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


class People:
    """Reads and changes people. ``anonymous_ttl`` in seconds is how long a person without an address is kept.
    ``memory`` False: nobody's calls are remembered, nor told by ``get``."""

    def __init__(self, redis: Redis, anonymous_ttl: float = 24 * 3600.0, *, memory: bool = True) -> None:
        self._redis = redis
        self._ttl_ms = int(anonymous_ttl * 1000)
        self._memory = memory
        self._update = script(redis, "people_update", fenced=False)
        self._seen = script(redis, "people_seen", fenced=False)
        self._merge = script(redis, "people_merge", fenced=False)
        self._alias = script(redis, "people_alias", fenced=False)

    async def get(self, person: str) -> Person | None:
        """The person this id or alias stands for; None for nobody. Raises StoreError."""
        found = await self._read(person)
        if alias := found.get("alias"):
            person, found = alias, await self._read(alias)
        if not found:
            return None
        return load_person(person, found, memory=self._memory)

    async def resolve(self, person: str) -> str:
        """The id under which the person is kept: its own, or whose alias it is. Raises StoreError."""
        with translate():
            alias = await cast(Any, self._redis.hget(person_key(person), "alias"))
        return text(alias) if alias else person

    async def ids(self, person: str) -> list[str]:
        """Every id of the person this id or alias stands for, the one they are kept under first. Raises StoreError."""
        person = await self.resolve(person)
        with translate():
            aliases = await cast(Any, self._redis.smembers(aliases_key(person)))
        return [person, *sorted({text(each) for each in aliases} - {person})]

    async def seen(self, person: str, at_ms: int) -> str:
        """There is, or was, contact with the person, who exists from the first time on: nothing else that is known of
        them changes. Returns the id they are kept under. Raises StoreError; may be repeated."""
        for _ in range(2):
            with translate():
                alias = text(await self._seen(keys=[person_key(person)], args=[self._expiry(person), at_ms]))
            if not alias:
                break
            person = alias
        return person

    async def update(self, person: str, /, **changes: str) -> None:
        """Sets these fields and no others; an empty value removes its field. Values are trimmed, put on one line and
        cut to ``LIMITS``. Raises StoreError; then, as after a cancel, all of it is written or nothing."""
        args: list[str] = []
        for name, value in changes.items():
            args += (name, _SPACE.sub(" ", value).strip()[: LIMITS[name]].rstrip())
        # An alias is followed one step, as in ``get``; it is in another slot of a cluster, hence two scripts.
        target = await self._write(person, args)
        if target:
            await self._write(target, args)

    async def set_memory(self, person: str, *, on: bool) -> None:
        """Whether the person's calls are remembered; off, what is remembered of them goes too. Raises StoreError."""
        await self.update(person, memory="" if on else "off")
        if not on:
            target = await self.resolve(person)
            await self._fold(target, "person", {})  # removes the calls of a person who is not to be remembered

    async def remember(self, person: str, call: EarlierCall) -> None:
        """Keeps what a call came to, with the last ``MOST_CALLS``; in place of what was kept of it before. Nothing
        happens for somebody who is not known (any more), or not to be remembered. Raises StoreError."""
        if not is_known(person):
            return
        entry = {"at": call.at, "summary": call.summary, "follow_ups": list(call.follow_ups)}
        fields = {CALL + call.conversation: versions.dump(entry).decode()}
        if target := await self._fold(person, "call", fields):
            await self._fold(target, "call", fields)

    async def link(self, alias: str, person: str) -> bool:
        """Makes ``alias`` another id of ``person``. False, and nothing changed, where the alias is a person already or
        ``person`` is an alias itself. Raises StoreError."""
        if alias == person or (await self._read(person)).get("alias"):
            return False
        if await self._write(alias, ["alias", person], only_new=True):
            return False
        await self._index_alias(alias, person)
        return True

    async def merge(self, alias: str, person: str) -> str:
        """``alias`` turns out to be ``person``: both are one from now on, who is returned, and the alias an alias.

        Everything is kept: where both have a field, the person's; notes joined; of both their calls the newest; the
        earlier first and the later last contact; whoever did not want to be remembered is not. Other ids of the alias
        become the person's. Raises StoreError: repeating it, then or at any time, ends in the same."""
        person = await self.resolve(person)
        for _ in range(MERGE_TRIES):
            source = await self.resolve(alias)
            if source == person:
                break
            found = await self._read(source)
            if "alias" not in found:
                await self._fold(person, "person", found)
                await self._move(source, person)
                # Only as it was read: what was learnt of it meanwhile is merged in another round.
                await self._become_alias(source, person, found)
            if source != alias:
                await self._become_alias(alias, person, {"alias": source})
        if alias != person:
            await self._index_alias(alias, person)
        return person

    async def _move(self, source: str, person: str) -> None:
        """The source's other ids and its list of conversations become the person's."""
        with translate():
            aliases = {text(each) for each in await cast(Any, self._redis.smembers(aliases_key(source)))}
            for each in aliases - {person}:
                await self._redis.sadd(aliases_key(person), each)
                await cast(Any, self._redis.hset(person_key(each), "alias", person))
            await self._redis.sadd(aliases_key(person), source)
            listed: Any = await self._redis.zrange(conversations_key(source), 0, -1, withscores=True)
            if listed:
                left = await self._redis.pttl(conversations_key(source))
                await self._redis.zadd(conversations_key(person), {text(each): score for each, score in listed})
                if left > await self._redis.pttl(conversations_key(person)):
                    await self._redis.pexpire(conversations_key(person), left)
            await self._redis.delete(aliases_key(source), conversations_key(source))

    async def _become_alias(self, alias: str, person: str, found: Mapping[str, str]) -> None:
        """Unless something else is known under it by now than was found."""
        words = [word for pair in found.items() for word in pair]
        with translate():
            await self._alias(keys=[person_key(alias)], args=[self._expiry(alias), person, *words])

    async def _index_alias(self, alias: str, person: str) -> None:
        with translate():
            await self._redis.sadd(aliases_key(person), alias)

    async def _fold(self, person: str, how: str, fields: Mapping[str, str]) -> str:
        words = [word for pair in fields.items() for word in pair]
        with translate():
            alias = await self._merge(keys=[person_key(person)], args=[how, MOST_CALLS, LIMITS["notes"], *words])
        return text(alias)

    async def _read(self, person: str) -> dict[str, str]:
        with translate():
            found = await cast(Any, self._redis.hgetall(person_key(person)))
        return {text(name): text(value) for name, value in found.items()}

    async def _write(self, person: str, args: list[str], *, only_new: bool = False) -> str:
        begins = 0 if only_new else self._ttl_ms
        with translate():
            refused = await self._update(
                keys=[person_key(person)], args=[self._expiry(person), begins, int(only_new), *args]
            )
        return text(refused)

    def _expiry(self, person: str) -> int:
        return 0 if is_known(person) else self._ttl_ms


__all__ = [
    "LIMITS",
    "MOST_CALLS",
    "EarlierCall",
    "People",
    "Person",
    "aliases_key",
    "conversations_key",
    "is_known",
    "person_id",
    "person_key",
]
