"""Which conversation a visitor of the live chat is in, with each agent.

``chat:{visitor}:conversations``   hash: agent -> conversation; kept as long as these, and for an hour where nothing is
                                   said: whoever asks for tickets and says nothing is to leave nothing
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

PERSON = "chat:"
"""What the id of a visitor as a person begins with."""

SILENT_MS = 3_600_000


def conversations_key(visitor: str) -> str:
    return f"chat:{{{visitor}}}:conversations"


def new_conversation() -> str:
    """A name nobody guesses."""
    return f"chat_{secrets.token_urlsafe(16)}"


class CurrentChats:
    """``ttl``: seconds. ``name``: makes the name of a conversation. Every method raises StoreError; a cancel leaves it
    done or not."""

    def __init__(self, redis: Redis, ttl: float, *, name: Callable[[], str] = new_conversation) -> None:
        self._redis = redis
        self._name = name
        self._ttl_ms = int(ttl * 1000)
        self._of = script(redis, "chat_current", fenced=False)

    async def of(self, visitor: str, agent: str) -> str:
        """The visitor's conversation with this agent, a new one where there is none."""
        args = [agent, self._name(), min(self._ttl_ms, SILENT_MS)]
        with translate():
            return text(await self._of(keys=[conversations_key(visitor)], args=args))

    async def keep(self, visitor: str) -> None:
        """Something is said in one of them."""
        with translate():
            await self._redis.pexpire(conversations_key(visitor), self._ttl_ms)

    async def peek(self, visitor: str, agent: str) -> str:
        """The same, "" where there is none."""
        with translate():
            found: Any = await self._redis.hget(conversations_key(visitor), agent)
        return "" if found is None else text(found)

    async def begin_anew(self, visitor: str, agent: str) -> str:
        """A new conversation, which takes the place of the one before."""
        with translate():
            await self._redis.hdel(conversations_key(visitor), agent)
        return await self.of(visitor, agent)

    async def forget(self, person: str) -> int:
        """As ``relay.store.forgetting.Forgetter``."""
        if not person.startswith(PERSON):
            return 0
        with translate():
            return int(await self._redis.delete(conversations_key(person.removeprefix(PERSON))))


__all__ = ["CurrentChats", "conversations_key", "new_conversation"]
