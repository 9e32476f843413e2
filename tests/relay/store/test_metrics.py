"""The counts of all processes in Redis: added up, added once, kept while Redis is away, and told again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.client import connect
from relay.store.metrics import MOST_SLOWEST, MOST_WAITING, Figures
from relay.store.overview import GOOD_FOR, MOST_POINTS, SETTLED, Overview
from relay.telemetry import Telemetry, total

NOWHERE = "unix:///nonexistent/redis.sock"
START = 29_000_000 * 60.0  # a moment that begins a minute, and ten of them


class Clock:
    """Seconds since 1970."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class House:
    """Processes on one Redis, and one that looks."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.clock = Clock()
        self.overview = Overview(redis, priced=False, now=self.clock)
        self.telemetry: dict[str, Telemetry] = {}

    def process(self, name: str, redis: Redis | None = None) -> Figures:
        self.telemetry[name] = Telemetry()
        return Figures(redis or self.redis, self.telemetry[name], name, now=self.clock)

    async def told(self, minutes: int = 15) -> dict[str, Any]:
        return await self.overview.summary(minutes)


@pytest.fixture
def house(redis: Redis) -> House:
    return House(redis)


async def test_processes_add_up(house: House) -> None:
    """Counts are sums over processes and minutes, percentiles those of all observations together."""
    one, two = house.process("one"), house.process("two")
    for figures, seconds, calls in ((one, 0.45, 3), (two, 1.75, 4)):
        telemetry = house.telemetry[figures.process]
        for _ in range(2):
            for _ in range(5):
                telemetry.first_texts["voice"].observe(seconds)
                telemetry.turns.labels("done").inc()
            telemetry.calls_active.set(calls)
            await figures.flush()
            house.clock.now += 30
    told = await house.told()
    assert told["calls_active"] == 7
    assert told["first_text_ms"] == {"p50": 500.0, "p95": 1950.0, "p99": 1990.0}
    assert told["turns_per_minute"] == pytest.approx(20 / 15, abs=0.01)
    assert [(each["at"], each["turns"], each["calls"]) for each in told["series"] if each["turns"]] == [
        (START * 1000, 10, 3),
        (START * 1000 + 60_000, 10, 4),
    ]


async def test_a_batch_counts_once(house: House) -> None:
    """What was added to a minute and failed to be added to its ten minutes is added there when it is tried again, and
    not once more to the minute."""
    figures, ten = house.process("one"), "metrics:{29000000-29000009}"
    house.telemetry["one"].interrupts.inc(3)
    await house.redis.set(ten, "in the way")
    for _ in range(2):
        with pytest.raises(StoreError):
            await figures.flush()
    assert await house.redis.hget("metrics:{29000000}", "interrupts") == b"3"
    house.telemetry["one"].interrupts.inc(1)  # while it waits
    await house.redis.delete(ten)
    await figures.flush()
    assert await house.redis.hget("metrics:{29000000}", "interrupts") == b"4"
    assert await house.redis.hget(ten, "interrupts") == b"4"
    assert (await house.told())["interrupts"] == 4


async def test_a_batch_that_was_cancelled_counts_once(house: House) -> None:
    """However far it had come, the next one finds the counts as if nothing had happened."""
    figures = house.process("one")
    for turns in range(20):
        house.telemetry["one"].interrupts.inc()
        flush = asyncio.create_task(figures.flush(), name="flush")
        for _ in range(turns):
            await asyncio.sleep(0)
        flush.cancel()
        await asyncio.wait([flush])
    await figures.flush()
    assert (await house.told())["interrupts"] == 20


async def test_an_outage_waits_by_minutes(house: House, redis_url: str, tmp_path: Path) -> None:
    """What happened while Redis was away stands in its own minutes afterwards; beyond an hour the oldest is given up,
    and counted."""
    if not redis_url.startswith("unix:"):
        pytest.skip("a Cluster has no socket that could come late")
    socket = tmp_path / "redis.sock"
    away = connect(f"unix://{socket}")
    figures = house.process("one", away)
    telemetry = house.telemetry["one"]
    for _ in range(MOST_WAITING + 5):
        telemetry.interrupts.inc()
        with pytest.raises(StoreError):
            await figures.flush()
        house.clock.now += 60
    socket.symlink_to(urlsplit(redis_url).path)
    await figures.flush()
    await away.aclose()
    assert total(telemetry.figures_lost) == 6
    told = await house.told(119)
    seen = [round(each["at"] / 60_000 - START / 60) for each in told["series"] if each["interrupts"] == 1]
    assert seen == list(range(6, MOST_WAITING + 5))
    assert told["interrupts"] == len(seen)


async def test_the_slowest_turns(house: House) -> None:
    """Of all processes and minutes the slowest twenty, the slowest first, as they were told."""
    one, two = house.process("one"), house.process("two")
    for number in range(50):
        figures = (one, two)[number % 2]
        event = {"event": "turn", "id": f"CA{number}", "turn": 1, "agent": "default", "at": number, "tools": []}
        figures.told({**event, "first_text_ms": 100.0 + number, "segments_ms": {"model": 90.0}})
        figures.told({"event": "turn", **event, "first_text_ms": None, "segments_ms": None})
        figures.told({"event": "call_ended", "id": f"CA{number}"})
        if number % 10 == 9:
            await one.flush()
            await two.flush()
            house.clock.now += 60
    slowest = (await house.told())["slowest"]
    assert [each["first_text_ms"] for each in slowest] == [149.0 - number for number in range(MOST_SLOWEST)]
    assert slowest[0] == {
        "id": "CA49",
        "turn": 1,
        "agent": "default",
        "at": 49,
        "first_text_ms": 149.0,
        "segments_ms": {"model": 90.0},
    }
    assert [each["id"] for each in (await house.told(1440))["slowest"]] == [each["id"] for each in slowest]


async def test_processes_that_live(house: House) -> None:
    """A process is shown with what it had last told, the oldest first; one that has left is gone at once, and one that
    is silent within five seconds."""
    one = house.process("one")
    house.clock.now += 1
    two = house.process("two")
    house.telemetry["two"].calls_active.set(2)
    house.telemetry["two"].chat_sockets.set(4)
    await two.flush()
    await one.flush()
    told = await house.told()
    assert told["processes"] == [
        {"worker": "one", "calls": 0, "lag_ms": 0.0, "since": START * 1000},
        {"worker": "two", "calls": 2, "lag_ms": 0.0, "since": START * 1000 + 1000},
    ]
    assert (told["calls_active"], told["chat_sockets"]) == (2, 4)
    assert 4000 < await house.redis.pttl("live:{one}") <= 5000
    one.start()
    await one.close(1)
    assert [each["worker"] for each in (await house.told())["processes"]] == ["two"]
    await house.redis.delete("live:{two}")
    told = await house.told()
    assert (told["processes"], told["calls_active"]) == ([], 0)
    house.clock.now += 601
    await house.process("three").flush()
    assert await house.redis.zrange("workers", 0, -1) == [b"three"]


async def test_leaving_adds_what_is_left(house: House) -> None:
    """The last two seconds of a process are counted too; without Redis it leaves all the same, and says so."""
    figures = house.process("one")
    house.telemetry["one"].interrupts.inc()
    figures.start()
    await figures.close(1)
    assert (await house.told())["interrupts"] == 1
    away = connect(NOWHERE)
    with capture_logs() as logs:
        other = house.process("two", away)
        other.start()
        await other.close(1)
    await away.aclose()
    assert [(log["event"], log["minutes"]) for log in logs] == [("figures not written", 1)]


async def test_failures_are_counted_and_told_once() -> None:
    """While Redis is away the log has one line, and the counter every try."""
    telemetry, away = Telemetry(), connect(NOWHERE)
    figures = Figures(away, telemetry, "one", every=0)
    with capture_logs() as logs:
        figures.start()
        async with asyncio.timeout(20):
            while total(telemetry.figures_failed) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await figures.close(1)
    await away.aclose()
    assert [log["event"] for log in logs] == ["figures wait for Redis", "figures not written"]


@pytest.mark.parametrize(
    ("minutes", "points", "step"),
    [(1, 2, 1), (15, 16, 1), (119, 120, 1), (120, 13, 10), (600, 61, 10), (1190, 120, 10), (1440, 73, 20)],
)
async def test_points(house: House, minutes: int, points: int, step: int) -> None:
    """At most 120, without a gap: minutes, then ten of them, then twenty; with all that was counted in the time."""
    figures = house.process("one")
    house.clock.now += minutes * 60
    for ago in range(minutes, -1, -max(1, minutes // 40)):
        house.clock.now = START + (minutes - ago) * 60
        house.telemetry["one"].interrupts.inc()
        await figures.flush()
    house.clock.now = START + minutes * 60
    told = await house.told(minutes)
    ats = [each["at"] for each in told["series"]]
    assert len(ats) == points <= MOST_POINTS
    assert ats == [ats[-1] - (points - 1 - number) * step * 60_000 for number in range(points)]
    assert (
        told["interrupts"]
        == sum(each["interrupts"] for each in told["series"])
        == total(house.telemetry["one"].interrupts)
    )


async def test_times_that_are_over_are_read_again_after_a_while(house: House) -> None:
    """What is over is remembered for half a minute, the current minute never."""
    figures = house.process("one")
    await figures.flush()
    house.clock.now += 60 + SETTLED + 1
    await house.told()
    await house.redis.hset("metrics:{29000000}", "interrupts", 5)
    await house.redis.hset("metrics:{29000001}", "interrupts", 2)
    assert (await house.told())["interrupts"] == 2
    house.clock.now += GOOD_FOR
    assert (await house.told())["interrupts"] == 7


async def test_what_is_kept_expires(house: House) -> None:
    """Minutes after three hours, ten minutes after 26."""
    figures = house.process("one")
    figures.turn("CA1", 1, "default", 0, 100.0, None)
    await figures.flush()
    for name, hours in (("{29000000}", 3), ("{29000000-29000009}", 26)):
        for kind in ("metrics", "slowest"):
            assert hours * 3600 - 60 < await house.redis.ttl(f"{kind}:{name}") <= hours * 3600


async def test_reading_without_redis() -> None:
    """It fails as everything of the store does."""
    away = connect(NOWHERE)
    with pytest.raises(StoreError):
        await Overview(away, priced=False).summary(15)
    await away.aclose()
