"""What all processes have counted, minute by minute, and which of them live.

``metrics:{<minute>}``, ``metrics:{<first>-<last>}``  hash: the counts (``relay/figures.py``) of a minute since 1970,
                                                      and of ten, for longer times; ``by:<process>``: the number of the
                                                      last batch that process has added
``slowest:{...}``                                     sorted set: turns (JSON) -> ms to their first words; the slowest
``live:{<process>}``                                  hash: calls, chats, lag_ms, since; gone 5 s after it was renewed
``workers``                                           sorted set: processes -> when they were last heard of (ms)

Every process adds what its own counters have grown by. While Redis is away that waits, by minutes, and is added then: a
batch that may have arrived is sent again under the same number, and counts once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop, nlargest
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from relay.errors import StoreError
from relay.figures import Tally, count, grown, merge
from relay.store.client import translate
from relay.store.events import Event
from relay.store.scripts import script
from relay.telemetry import Telemetry, total

if TYPE_CHECKING:
    from redis.asyncio import Redis

EVERY = 2.0  # seconds from one batch to the next
LIVES = 5.0  # seconds that a process counts as living after it was heard of
TEN = 10
KEPT_MINUTES, KEPT_TENS = 3 * 3600, 26 * 3600  # seconds
MOST_WAITING = 60  # minutes that wait for Redis, at most
MOST_SLOWEST = 20
FORGOTTEN = 600_000  # ms after which a process that was not heard of is struck from the list

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """What has happened in one minute and is not in Redis yet. ``number``: 0 until it is sent for the first time; from
    then on it does not change."""

    minute: int
    number: int = 0
    tally: Tally = field(default_factory=dict)
    slowest: list[tuple[float, str]] = field(default_factory=list)


class Figures:
    """``process``: its name, another for every start of one, without a colon. ``now``: seconds since 1970."""

    def __init__(
        self,
        redis: Redis,
        telemetry: Telemetry,
        process: str,
        *,
        every: float = EVERY,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.process = process
        self._redis = redis
        self._telemetry = telemetry
        self._every = every
        self._now = now
        self._since = int(now() * 1000)
        self._add = script(redis, "metrics_add", fenced=False)
        self._before: Tally = {}
        self._waiting: deque[_Batch] = deque()
        self._slowest: list[tuple[float, str]] = []  # a heap
        self._number = 0
        self._writer: asyncio.Task[None] | None = None
        self._away = False

    # -- what is counted

    def told(self, event: Event) -> None:
        """Takes the events of this process's calls, for the turns among them."""
        if event["event"] == "turn" and event["first_text_ms"] is not None:
            self.turn(*(event[name] for name in ("id", "turn", "agent", "at", "first_text_ms", "segments_ms")))

    def turn(
        self,
        conversation: str,
        turn: int,
        agent: str,
        at: int,
        first_text_ms: float,
        segments_ms: Mapping[str, float] | None,
    ) -> None:
        """To be called once for each turn that had words, when it is over. ``at``: when it began, ms since 1970."""
        if len(self._slowest) >= MOST_SLOWEST and first_text_ms <= self._slowest[0][0]:
            return
        member = {"id": conversation, "turn": turn, "agent": agent, "at": at, "segments_ms": segments_ms}
        entry = first_text_ms, orjson.dumps(member).decode()
        if len(self._slowest) < MOST_SLOWEST:
            heappush(self._slowest, entry)
        else:
            heappushpop(self._slowest, entry)

    # -- what writes it

    def start(self) -> None:
        self._writer = asyncio.create_task(self._run(), name="figures")

    async def close(self, timeout: float) -> None:
        """Adds what is still to be added, within ``timeout`` seconds, and strikes the process from those that live."""
        if self._writer is None:
            return
        self._writer.cancel()
        await asyncio.wait([self._writer])
        try:
            async with asyncio.timeout(timeout):
                await self.flush()
                with translate():
                    await self._redis.delete(live_key(self.process))
                    await self._redis.zrem("workers", self.process)
        except (StoreError, TimeoutError) as error:
            log.warning("figures not written", minutes=len(self._waiting), error=type(error).__name__)

    async def _run(self) -> None:
        while True:
            try:
                await self.flush()
                self._away = False
            except Exception as error:
                self._telemetry.figures_failed.inc()
                if not isinstance(error, StoreError):
                    log.error("bug in the figures", error=type(error).__name__, exc_info=error)
                elif not self._away:
                    log.warning("figures wait for Redis", code=error.code)
                self._away = True
            await asyncio.sleep(self._every)

    async def flush(self) -> None:
        """Adds what was counted since. Raises StoreError; after that, as after a cancel, what is not added waits."""
        lag = self._take()
        while self._waiting:
            batch = self._waiting[0]
            if not batch.number:
                self._number += 1
                batch.number = self._number
            await self._send(batch)
            self._waiting.popleft()
        await self._renew(lag)

    def _take(self) -> float:
        """Puts what has been counted since the last time to what waits; returns the longest lag in that time."""
        now, minute = count(self._telemetry), int(self._now() // 60)
        if not self._waiting or self._waiting[-1].number or self._waiting[-1].minute != minute:
            self._waiting.append(_Batch(minute))
        batch = self._waiting[-1]
        lag = self._telemetry.lag_peak()
        calls = total(self._telemetry.calls_active)
        merge(batch.tally, grown(now, self._before))
        merge(batch.tally, {"max:lag": lag, f"max:calls:{self.process}": calls})
        batch.slowest = nlargest(MOST_SLOWEST, [*batch.slowest, *self._slowest])
        self._before, self._slowest = now, []
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._telemetry.figures_lost.inc()
        return lag

    async def _send(self, batch: _Batch) -> None:
        kinds: dict[bool, Tally] = {False: {}, True: {}}
        for name, value in batch.tally.items():
            kinds[name.startswith("max:")][name] = value
        turns = {turn: ms for ms, turn in batch.slowest}
        content = orjson.dumps({"added": kinds[False], "greatest": kinds[True], "slowest": turns})
        for tag, kept in ((of_minute(batch.minute), KEPT_MINUTES), (of_ten(batch.minute), KEPT_TENS)):
            with translate():
                await self._add(
                    keys=[counts_key(tag), slowest_key(tag)],
                    args=[self.process, batch.number, kept * 1000, MOST_SLOWEST, content],
                )

    async def _renew(self, lag: float) -> None:
        now = int(self._now() * 1000)
        shown: dict[Any, Any] = {
            "calls": int(total(self._telemetry.calls_active)),
            "chats": int(total(self._telemetry.chat_sockets)),
            "lag_ms": round(lag * 1000, 2),
            "since": self._since,
        }
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(live_key(self.process), mapping=shown)
                pipeline.pexpire(live_key(self.process), int(LIVES * 1000))
                pipeline.zadd("workers", {self.process: now})
                pipeline.zremrangebyscore("workers", "-inf", now - FORGOTTEN)
                pipeline.pexpire("workers", FORGOTTEN)
                await pipeline.execute()


def of_minute(minute: int) -> str:
    """The hash tag of one minute since 1970."""
    return f"{{{minute}}}"


def of_ten(minute: int) -> str:
    """The hash tag of the ten minutes this one is in."""
    first = minute - minute % TEN
    return f"{{{first}-{first + TEN - 1}}}"


def counts_key(tag: str) -> str:
    return f"metrics:{tag}"


def slowest_key(tag: str) -> str:
    return f"slowest:{tag}"


def live_key(process: str) -> str:
    return f"live:{{{process}}}"


__all__ = ["Figures", "counts_key", "live_key", "of_minute", "of_ten", "slowest_key"]
