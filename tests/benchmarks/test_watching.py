"""What a watched relay is judged by: growth off a line, and keys by their kind."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from benchmarks.leftovers import leftovers
from benchmarks.watching import Sample, growth, sparkline

LOOK = Sample(at=0.0, calls=0, rss=0, descriptors=0, callers=0, threads=0, tasks=0, active=0)


def looks(*sizes: float) -> list[Sample]:
    return [replace(LOOK, at=float(at), rss=int(size)) for at, size in enumerate(sizes)]


def test_growth_is_that_of_the_line() -> None:
    """What grows by a tenth from the first to the last look has grown by a tenth, with or without saw teeth."""
    steady = [1e8 + 1e5 * at for at in range(101)]
    teeth = [size + 5e6 * (at % 10) / 10 for at, size in enumerate(steady)]
    assert growth(looks(*steady)) == pytest.approx(0.1)
    assert growth(looks(*teeth)) == pytest.approx(0.1, abs=0.01)
    assert growth(looks(*[1e8] * 20)) == pytest.approx(0.0)


def test_a_few_looks_tell_nothing() -> None:
    """Of fewer than ten no growth is told."""
    assert math.isnan(growth(looks(*[1e8] * 9)))


def test_a_row_of_bars() -> None:
    """From the lowest to the highest, as wide as there is room."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert len(sparkline(list(range(1000)))) == 72


async def test_keys_are_told_by_their_kind(redis: Redis) -> None:
    """Ids, numbers and days are no part of a kind; what has no expiry and is not meant to stay is left behind."""
    for number in range(3):
        await redis.set(f"conversation:{{CA{number:032x}}}:state", "1", ex=60)
    await redis.set("person:{phone:+15551234567}", "1")
    await redis.set("conversation:{CA" + "f" * 32 + "}:items", "1")
    now_ms = time.time_ns() // 1_000_000
    await redis.zadd("{aftercall}:due", {"CA1": now_ms - 60_000, "CA2": now_ms + 60_000})
    found = await leftovers(redis)
    assert found.all["conversation:{*}:state"] == 3
    assert found.left_behind == {"conversation:{*}:items": 1}
    assert found.overdue == 1
