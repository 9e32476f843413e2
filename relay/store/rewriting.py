"""The file in which a server of ours keeps all it was told: what is deleted stays in it until it is written anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from relay.store.client import translate

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEADLINE = 30.0
LOOK_AGAIN = 0.05


async def rewrite_log(redis: Redis, deadline: float = DEADLINE) -> bool:
    """Has the server write its append-only file anew, with what there is now and nothing else. False where that is not
    done within ``deadline`` seconds. Raises StoreError; then, as after a cancel, it may go on by itself."""
    try:
        async with asyncio.timeout(deadline):
            # One under way may have begun before the deletion.
            await _idle(redis)
            with translate():
                try:
                    await cast(Any, redis.bgrewriteaof())
                except ResponseError:  # the server began one by itself just now
                    pass
            return await _idle(redis)
    except TimeoutError:
        return False


async def _idle(redis: Redis) -> bool:
    """Waits until nothing is being rewritten; whether the last rewriting went well."""
    while True:
        with translate():
            state: Any = await redis.info("persistence")
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return bool(state["aof_last_bgrewrite_status"] == "ok")
        await asyncio.sleep(LOOK_AGAIN)


__all__ = ["rewrite_log"]
