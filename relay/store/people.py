"""Who we talk to, across conversations: ``person:{id}``, a hash that is only ever changed field by field.

Ids are ``channel:address`` (``phone:+15551234567``). One person known under several addresses has one hash; the others
hold a single field ``alias`` naming it. A caller without a number is a person of their own, for as long as the
conversation is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast

from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

# Longest value of each field, in characters (an e-mail address: RFC 5321's 254).
LIMITS = {"first_name": 80, "last_name": 80, "email": 254, "agent": 64, "language": 35, "notes": 2000}

_ANONYMOUS = "anonymous:"
_E164 = re.compile(r"\+[1-9]\d{6,14}")
# What carriers and Twilio put in place of a withheld number: the words RESTRICTED, BLOCKED, UNKNOWN, ANONYMOUS and
# UNAVAILABLE typed on a telephone's keys.
_WITHHELD = frozenset({"+7378742833", "+2562533", "+8656696", "+266696687", "+86282452253"})
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person; "" for what is not. ``agent``: the agent they chose to talk to."""

    id: str = field(repr=False)
    first_name: str = field(default="", repr=False)
    last_name: str = field(default="", repr=False)
    email: str = field(default="", repr=False)
    agent: str = ""
    language: str = ""
    notes: str = field(default="", repr=False)


_FIELDS = frozenset(f.name for f in fields(Person)) - {"id"}


def person_id(channel: str, address: str, conversation: str) -> str:
    """The person behind an address. On the phone everything but a telephone number (withheld, ``client:``, ``sip:``,
    nothing at all) is an anonymous caller, known within this conversation only; so is an empty address elsewhere."""
    address = address.strip()
    known = bool(address) if channel != "phone" else _E164.fullmatch(address) and address not in _WITHHELD
    return f"{channel}:{address}" if known else _ANONYMOUS + conversation


def is_known(person: str) -> bool:
    """Whether the person has an address, and is more than a conversation's nobody."""
    return not person.startswith(_ANONYMOUS)


def person_key(person: str) -> str:
    return f"person:{{{person}}}"


class People:
    """Reads and changes people. ``anonymous_ttl`` in seconds is how long a person without an address is kept."""

    def __init__(self, redis: Redis, anonymous_ttl: float = 24 * 3600.0) -> None:
        self._redis = redis
        self._ttl_ms = int(anonymous_ttl * 1000)
        self._update = script(redis, "people_update", fenced=False)

    async def get(self, person: str) -> Person | None:
        """The person this id or alias stands for; None for nobody. Raises StoreError."""
        found = await self._read(person)
        if alias := found.get("alias"):
            person, found = alias, await self._read(alias)
        if not found:
            return None
        return Person(id=person, **{name: value for name, value in found.items() if name in _FIELDS})

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

    async def link(self, alias: str, person: str) -> bool:
        """Makes ``alias`` another id of ``person``. False, and nothing changed, where the alias is a person already or
        ``person`` is an alias itself. Raises StoreError."""
        if alias == person or (await self._read(person)).get("alias"):
            return False
        return not await self._write(alias, ["alias", person], only_new=True)

    async def _read(self, person: str) -> dict[str, str]:
        with translate():
            found = await cast(Any, self._redis.hgetall(person_key(person)))
        return {text(name): text(value) for name, value in found.items()}

    async def _write(self, person: str, args: list[str], *, only_new: bool = False) -> str:
        ttl_ms = self._ttl_ms if person.startswith(_ANONYMOUS) else 0
        with translate():
            refused = await self._update(keys=[person_key(person)], args=[ttl_ms, int(only_new), *args])
        return text(refused)


__all__ = ["LIMITS", "People", "Person", "is_known", "person_id", "person_key"]
