"""What the debate keeps beside its conversations: which request each idempotency key was for, and lists' topics.

``debate:{digest}:key``   text, for a day: a fingerprint of what the request asked, and its conversation

A claim is made before anything is done, so two requests with one key, at once or one after the other, on any process,
speak of one conversation. Whether its turn was put is told there (``chats.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEPT = 24 * 3600.0
"""Seconds for which an idempotency key is remembered."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the first request with a key was: its conversation, and its fingerprint."""

    conversation: str
    fingerprint: str


class Debates:
    """Every method raises StoreError, and may be repeated."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def claim(self, key: str, conversation: str, fingerprint: str) -> Claimed:
        """The request that has the key: this one, unless there was one before."""
        name, own = _key(key), Claimed(conversation, fingerprint)
        value = f"{own.fingerprint} {own.conversation}"
        with translate():
            if await self._redis.set(name, value, nx=True, px=int(KEPT * 1000)):
                return own
            found = await self._redis.get(name)
        if found is None:  # expired between the two commands
            return own
        first, _, of = text(found).partition(" ")
        return Claimed(of, first)

    async def about(self, conversations: Sequence[str]) -> list[tuple[str, str]]:
        """Topic and stance of each, "" where there is none."""
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for conversation in conversations:
                    pipeline.hmget(state_key(conversation), ["topic", "stance"])
                found: list[list[Any]] = await pipeline.execute()
        return [(text(topic or ""), text(stance or "")) for topic, stance in found]


def _key(key: str) -> str:
    return f"debate:{{{sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}}}:key"


__all__ = ["KEPT", "Claimed", "Debates"]
