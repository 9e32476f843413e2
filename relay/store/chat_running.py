"""Which turn of a live chat is under way, for others than the process that has it.

``conversation:{id}:running``   ``{"v": 1, "turn", "key", "worker"}`` of the turn that was begun last; gone with its
                                end. Who gets the conversation's lease and finds one knows that its process has died.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay import versions
from relay.store.client import translate

if TYPE_CHECKING:
    from redis.asyncio import Redis


def running_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:running"


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """``key``: the client's name for the message; ``worker``: the process that has the turn."""

    turn: str
    key: str = field(repr=False)
    worker: str


class RunningTurns:
    """``ttl``: seconds after which one is forgotten whose conversation nobody comes back to. Every method raises
    StoreError; a cancel leaves it done or not."""

    def __init__(self, redis: Redis, ttl: float) -> None:
        self._redis = redis
        self._ttl_ms = int(ttl * 1000)

    async def begin(self, conversation: str, turn: RunningTurn) -> RunningTurn | None:
        """To be called with the conversation's lease. The turn that was begun before and has not been ended."""
        data = versions.dump({"turn": turn.turn, "key": turn.key, "worker": turn.worker})
        with translate():
            before = await self._redis.set(running_key(conversation), data, px=self._ttl_ms, get=True)
        return _load(before)

    async def read(self, conversation: str) -> RunningTurn | None:
        with translate():
            return _load(await self._redis.get(running_key(conversation)))

    async def end(self, conversation: str) -> None:
        """With the lease: no turn is under way."""
        with translate():
            await self._redis.delete(running_key(conversation))


def _load(raw: Any) -> RunningTurn | None:
    data = versions.load(raw) if raw is not None else None
    match data:
        case {"turn": str(turn), "key": str(key), "worker": str(worker)}:
            return RunningTurn(turn, key, worker)
    return None


__all__ = ["RunningTurn", "RunningTurns", "running_key"]
