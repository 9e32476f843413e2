"""What other processes publish, as it comes: one connection and one task for all channels a process listens to.

Pub/sub keeps nothing: what is published while nobody listens is lost, so whoever takes part must be able to do without.
A server that falls silent looks like one with no news; it is asked now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from relay.errors import StoreError
from relay.store.client import DEADLINE, translate
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

QUIET = 5.0  # seconds without a message after which the server is asked whether it is there
AGAIN = (0.1, 2.0)  # seconds until a lost connection is made anew: the first time, and at most

log = structlog.get_logger(__name__)


class Subscription:
    """One a process. ``start`` begins its task; ``close`` ends it. Channels are named before."""

    def __init__(self, redis: Redis, *, quiet: float = QUIET, again: tuple[float, float] = AGAIN) -> None:
        self._redis = redis
        self._quiet = quiet
        self._again = again
        self._takers: dict[str, Callable[[bytes], object]] = {}
        self._watchers: list[Callable[[bool], object]] = []
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self.listening = False
        """Whether what is published now is heard here."""

    def on(self, channel: str, take: Callable[[bytes], object]) -> None:
        """``take`` is called with each message of the channel, on the event loop. It must not wait."""
        self._takers[channel] = take

    def watch(self, changed: Callable[[bool], object]) -> None:
        """``changed`` is called whenever ``listening`` becomes another. It must not wait."""
        self._watchers.append(changed)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="subscription")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        first, longest = self._again
        while True:
            try:
                with translate():
                    async with self._redis.pubsub() as connection:
                        await self._listen(connection)
            except StoreError as error:
                if not self._failures:
                    log.warning("other processes are not heard", code=error.code)
            except Exception as error:
                log.error("bug in the subscription", error=type(error).__name__, exc_info=error)
            self._tell(listening=False)
            self._failures += 1
            await asyncio.sleep(min(longest, first * 2.0 ** min(self._failures - 1, 16)))

    async def _listen(self, connection: PubSub) -> None:
        """Raises StoreError when the connection is lost, or nobody answers on it."""
        missing = set(self._takers)
        with translate():
            await connection.subscribe(*self._takers)
        while True:
            message = await _next(connection, DEADLINE if missing else self._quiet)
            if message is None and not missing:
                with translate():
                    await connection.ping()
                message = await _next(connection, DEADLINE)
            if message is None:
                raise StoreError("Redis: silent")
            if message["type"] == "message":
                self._take(text(message["channel"]), message["data"])
                await asyncio.sleep(0)  # many at once are no reason to keep calls waiting
            elif message["type"] == "subscribe":
                missing.discard(text(message["channel"]))
                if not missing:
                    if self._failures:
                        log.info("other processes are heard again")
                    self._failures = 0
                    self._tell(listening=True)

    def _take(self, channel: str, data: Any) -> None:
        take = self._takers.get(channel)
        try:
            if take is not None and isinstance(data, bytes):
                take(data)
        except Exception as error:  # of one message: the next may be better
            log.error("bug in what listens", channel=channel, error=type(error).__name__, exc_info=error)

    def _tell(self, *, listening: bool) -> None:
        if listening == self.listening:
            return
        self.listening = listening
        for changed in self._watchers:
            changed(listening)


async def _next(connection: PubSub, timeout: float) -> dict[str, Any] | None:
    with translate():  # around each step: a cancel that the client swallows is raised anew behind it
        message: dict[str, Any] | None = await connection.get_message(timeout=timeout)
    return message


__all__ = ["Subscription"]
