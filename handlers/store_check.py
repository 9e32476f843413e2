"""What readiness says of Redis: whether it answers, and now and then whether it keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from redis.asyncio import Redis

from handlers.health import EVICTS
from relay.store.client import translate
from relay.store.eviction import SAFE, eviction_policy

ASKED_EVERY = 60.0

log = structlog.get_logger(__name__)


class StoreCheck:
    """``every``: seconds between two questions for the policy, which somebody may change while the server runs."""

    def __init__(
        self, redis: Redis, *, every: float = ASKED_EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._every = every
        self._clock = clock
        self._evicts = False
        self._ask_at = float("-inf")

    async def __call__(self) -> str:
        """Raises StoreError. A cancel leaves the last answer."""
        with translate():
            await self._redis.ping()
        now = self._clock()
        if now >= self._ask_at:
            policy = await eviction_policy(self._redis)
            evicts = policy not in ("", SAFE)
            if evicts and not self._evicts:
                log.warning(
                    "Redis may throw histories away when it is full: set maxmemory-policy noeviction", policy=policy
                )
            self._evicts, self._ask_at = evicts, now + self._every
        return EVICTS if self._evicts else "ok"


__all__ = ["StoreCheck"]
