"""Persons: their ids and keys, and what is known of one (``people.py`` reads and changes it)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256

from relay import versions

CALL = "call:"
"""What the fields of the calls a person is remembered by begin with."""

_ANONYMOUS = "anonymous:"
_E164 = re.compile(r"\+[1-9]\d{6,14}")
# What carriers and Twilio put in place of a withheld number: the words RESTRICTED, BLOCKED, UNKNOWN, ANONYMOUS and
# UNAVAILABLE typed on a telephone's keys.
_WITHHELD = frozenset({"+7378742833", "+2562533", "+8656696", "+266696687", "+86282452253"})


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """What a call came to. ``at``: when it began, ms since 1970. ``follow_ups``: what was open when it ended, of calls
    before it too."""

    conversation: str
    at: int
    summary: str = field(repr=False)
    follow_ups: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person; "" for what is not. ``agent``: the agent they chose to talk to. ``calls``: the last
    ones that were summed up, newest first; none where ``memory`` is "off"."""

    id: str = field(repr=False)
    first_name: str = field(default="", repr=False)
    last_name: str = field(default="", repr=False)
    email: str = field(default="", repr=False)
    agent: str = ""
    language: str = ""
    notes: str = field(default="", repr=False)
    memory: str = ""
    calls: tuple[EarlierCall, ...] = field(default=(), repr=False)
    first_seen: int = field(default=0, compare=False)
    last_seen: int = field(default=0, compare=False)


_TEXTS = frozenset(f.name for f in fields(Person)) - {"id", "calls", "first_seen", "last_seen"}


def person_id(channel: str, address: str, conversation: str) -> str:
    """The person behind an address. On the phone everything but a telephone number (withheld, ``client:``, ``sip:``,
    nothing at all) is an anonymous caller, known within this conversation only; so is an empty address elsewhere."""
    address = address.strip()
    known = bool(address) if channel != "phone" else _E164.fullmatch(address) and address not in _WITHHELD
    return f"{channel}:{address}" if known else _ANONYMOUS + conversation


def is_known(person: str) -> bool:
    """Whether the person has an address, and is more than a conversation's nobody."""
    return not person.startswith(_ANONYMOUS)


def person_hash(key: bytes, person: str) -> str:
    """What stands for a person where their address must not: 24 hexadecimal digits, which only ``key`` can make."""
    return hmac.digest(key, person.encode("utf-8", "surrogatepass"), sha256).hex()[:24]


def person_key(person: str) -> str:
    return f"person:{{{person}}}"


def aliases_key(person: str) -> str:
    return f"person:{{{person}}}:aliases"


def conversations_key(person: str) -> str:
    """The index of a person's conversations (``archive.py``)."""
    return f"person:{{{person}}}:conversations"


def load_person(person: str, found: Mapping[str, str], *, memory: bool) -> Person:
    """What the fields of a person's hash say; without the calls where nobody's are remembered, or not this one's."""
    calls = _calls(found) if memory and found.get("memory") != "off" else ()
    texts = {name: value for name, value in found.items() if name in _TEXTS}
    first, last = int(found.get("first_seen") or 0), int(found.get("last_seen") or 0)
    return Person(person, calls=calls, first_seen=first, last_seen=last, **texts)


def _calls(found: Mapping[str, str]) -> tuple[EarlierCall, ...]:
    calls = []
    for name, value in found.items():
        if name.startswith(CALL) and (entry := versions.load(value)) is not None:
            calls.append(
                EarlierCall(name.removeprefix(CALL), entry["at"], entry["summary"], tuple(entry["follow_ups"]))
            )
    return tuple(sorted(calls, key=lambda call: call.at, reverse=True))


__all__ = [
    "CALL",
    "EarlierCall",
    "Person",
    "aliases_key",
    "conversations_key",
    "is_known",
    "load_person",
    "person_hash",
    "person_id",
    "person_key",
]
