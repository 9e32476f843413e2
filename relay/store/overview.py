"""What is told of the counts of all processes (``metrics.py``): over a time, and point by point."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Any, cast

import orjson

from relay.figures import Tally, merge, overview, point
from relay.store.client import translate
from relay.store.metrics import MOST_SLOWEST, TEN, counts_key, live_key, of_minute, of_ten, slowest_key
from relay.store.scripts import text

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_POINTS = 120
FINE = MOST_POINTS - 1  # minutes before this one that are shown one by one, at most
AT_ONCE = 8  # points read in one round trip: what is done with them is to be short, for calls wait for it
SETTLED = 10.0  # seconds after which every process that has Redis has added what it counted
GOOD_FOR = 30.0  # seconds for which what was read of a time that is over is believed: one may have been without Redis

Slowest = tuple[float, bytes]
"""Milliseconds, and the turn that took them as JSON."""


@dataclass(frozen=True, slots=True)
class _Span:
    """What one point is of."""

    minute: int
    minutes: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Point:
    """``until``: when it is to be read again, seconds since 1970."""

    until: float
    tally: Tally
    slowest: list[Slowest]
    shown: dict[str, Any]


class Overview:
    """``priced``: money is told. ``now``: seconds since 1970. Every method raises StoreError."""

    def __init__(self, redis: Redis, *, priced: bool, now: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._priced = priced
        self._now = now
        self._kept: dict[_Span, _Point] = {}

    async def summary(self, minutes: int) -> dict[str, Any]:
        """What is told of the last ``minutes`` and of the current one, which is not over. Beyond two hours ten minutes
        are told together, and the time begins with the ten it falls in."""
        now = self._now()
        spans = _spans(int(now // 60), minutes)
        points = await self._points(spans, now)
        whole: Tally = {}
        for each in points:
            merge(whole, each.tally)
        slowest = nlargest(MOST_SLOWEST, (turn for each in points for turn in each.slowest))
        processes = await self._processes()
        return {
            "minutes": minutes,
            "calls_active": sum(each["calls"] for each in processes),
            **overview(whole, minutes=now / 60 - spans[0].minute, priced=self._priced),
            "chat_sockets": sum(each.pop("chats") for each in processes),
            "processes": processes,
            "slowest": [{**orjson.loads(turn), "first_text_ms": round(ms, 1)} for ms, turn in slowest],
            "series": [each.shown for each in points],
        }

    async def _points(self, spans: Sequence[_Span], now: float) -> list[_Point]:
        known = {span: point for span, point in self._kept.items() if now < point.until}
        unknown = [span for span in spans if span not in known]
        for start in range(0, len(unknown), AT_ONCE):
            several = unknown[start : start + AT_ONCE]
            known |= zip(several, await self._read(several, now), strict=True)
        self._kept = {span: point for span, point in known.items() if point.until}
        return [known[span] for span in spans]

    async def _read(self, spans: Sequence[_Span], now: float) -> list[_Point]:
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for span in spans:
                    for tag in span.tags:
                        pipeline.hgetall(counts_key(tag))
                        pipeline.zrange(slowest_key(tag), 0, -1, withscores=True)
                found = iter(await pipeline.execute())
        return [self._point(span, [(next(found), next(found)) for _ in span.tags], now) for span in spans]

    def _point(
        self, span: _Span, found: Sequence[tuple[Mapping[bytes, bytes], Sequence[tuple[bytes, float]]]], now: float
    ) -> _Point:
        tally: Tally = {}
        slowest: list[Slowest] = []
        for counts, turns in found:
            merge(tally, {name.decode(): float(value) for name, value in counts.items() if name[:3] != b"by:"})
            slowest += [(float(ms), turn) for turn, ms in turns]
        over = (span.minute + span.minutes) * 60 + SETTLED < now
        return _Point(
            until=now + GOOD_FOR if over else 0.0,
            tally=tally,
            slowest=nlargest(MOST_SLOWEST, slowest),
            shown=point(span.minute * 60_000, tally, priced=self._priced),
        )

    async def _processes(self) -> list[dict[str, Any]]:
        """Those that live, the oldest first."""
        with translate():
            names = [text(cast(bytes, name)) for name in await self._redis.zrange("workers", 0, -1)]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hgetall(live_key(name))
                found = await pipeline.execute()
        living = []
        for name, fields in zip(names, found, strict=True):
            if fields:
                told = {text(key): float(value) for key, value in fields.items()}
                whole = {key: int(told[key]) for key in ("calls", "chats", "since")}
                living.append({"worker": name, "lag_ms": told["lag_ms"], **whole})
        return sorted(living, key=lambda each: (each["since"], each["worker"]))


def _spans(minute: int, minutes: int) -> list[_Span]:
    """The points of so many minutes before this one, and of this."""
    first = minute - minutes
    if minutes <= FINE:
        return [_Span(each, 1, (of_minute(each),)) for each in range(first, minute + 1)]
    tens = range(first - first % TEN, minute + 1, TEN)
    step = -(-len(tens) // MOST_POINTS)
    starts = range(0, len(tens), step)
    return [_Span(tens[at], step * TEN, tuple(of_ten(each) for each in tens[at : at + step])) for at in starts]


__all__ = ["Overview"]
