"""Whether a server whose memory is full throws away what it was given, histories and notes among it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.store.client import translate
from relay.store.cluster import Cluster

if TYPE_CHECKING:
    from redis.asyncio import Redis

SAFE = "noeviction"


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


__all__ = ["SAFE", "eviction_policy"]
