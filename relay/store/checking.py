"""Whether Redis answers, and, now and then, whether it keeps what it is given when its memory is full."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import ResponseError

from relay.store.client import translate
from relay.store.cluster import Cluster

if TYPE_CHECKING:
    from redis.asyncio import Redis

OK, EVICTS = "ok", "evicts"
SAFE = "noeviction"
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
        """``OK``, or ``EVICTS`` for a server that throws away what it holds, histories and notes among it, when it is
        full. Raises StoreError. A cancel leaves the last answer."""
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
        return EVICTS if self._evicts else OK


async def eviction_policy(redis: Redis) -> str:
    """``noeviction``, or what a server has instead; of a Cluster's masters that of the worst. "" where they do not say,
    as managed servers may not. Raises StoreError."""
    servers = [redis]
    with translate():
        if isinstance(redis, Cluster):
            servers = await redis.masters()
        policies = [await _policy(server) for server in servers]
    return next((policy for policy in policies if policy not in ("", SAFE)), policies[0] if policies else "")


async def _policy(redis: Redis) -> str:
    try:
        memory: Any = await redis.info("memory")
    except ResponseError:
        return ""
    return str(memory.get("maxmemory_policy", ""))


__all__ = ["EVICTS", "OK", "SAFE", "StoreCheck", "eviction_policy"]
