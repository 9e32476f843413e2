"""Every number of the dashboard against a known load: real calls in two processes, counted by hand."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Fault, Gate, Reply, ToolUse
from relay.figures import percentile
from relay.frames import PeerError
from relay.telemetry import SEGMENTS, TEXT_BUCKETS
from tests.calls.checks import GREETING, TALE, heard, interrupted
from tests.calls.workshop import NAMES, Workshop, look
from tests.running import Running, running, write_agent

AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[says]
fillers = []
[limits]
after_interrupt = 30
"""
PRICES = {"PRICE_INPUT": "2", "PRICE_CACHED": "0.5", "PRICE_OUTPUT": "8"}
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again, please?"


async def summary(
    line: Running, until: Callable[[dict[str, Any]], object], minutes: int = 15, within: float = 20.0
) -> dict[str, Any]:
    """What the dashboard is told, once ``until`` is true of it: processes add what they count every two seconds."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(within):
        while True:
            async with http.get(f"{line.url}/dashboard/api/summary", params={"minutes": minutes}) as response:
                assert response.status == 200
                told: dict[str, Any] = await response.json()
            if until(told):
                return told
            await asyncio.sleep(0.05)


def turns(told: dict[str, Any]) -> int:
    return sum(each["turns"] for each in told["series"])


async def answered(call: Caller, words: str, answer: str) -> None:
    await call.say(words)
    await call.until(lambda: heard(call)[-1] == answer)


async def test_a_known_load(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Seven turns in two processes: tools, one of them failing, an interrupt, a failed turn, an error of Twilio's, a
    request to the fallback. The sums are the same whichever process is asked, now and for a day."""
    agents, workshop = write_agent(tmp_path / "agents", AGENT), Workshop()
    spare = {"OPENAI_FALLBACK_MODEL": "gpt-5.4-nano"}
    async with (
        running(redis_url, tmp_path / "a", agents=agents, environ=PRICES, extra_tools=workshop.add) as one,
        running(redis_url, tmp_path / "b", agents=agents, environ={**PRICES, **spare}, extra_tools=workshop.add) as two,
    ):
        one.model.script(
            Reply("The sky is blue.", usage=(1000, 400, 50)),
            Reply(tools=[look("a"), look("b"), ToolUse("fail", "{}")], usage=(1200, 1000, 20)),
            Reply("I have looked.", usage=(1300, 1200, 30)),
            Reply(TALE, gate=Gate(), gate_at=len(TALE), usage=(1400, 1300, 10)),  # which it never gets to tell
            Reply(fault=Fault("status")),
            Reply(fault=Fault("status")),
        )
        two.model.script(
            Reply("Good day.", usage=(500, 0, 4)),
            Reply(fault=Fault("status")),
            Reply("Here I am.", usage=(600, 0, 6)),
            Reply("Goodbye.", usage=(700, 600, 5)),
        )
        async with Caller(one.url, pace=FAST) as first, Caller(two.url, pace=FAST) as second:
            await first.greeting_played()
            await answered(first, "What colour is the sky?", "The sky is blue.")
            await answered(first, "Look for two things.", "I have looked.")
            await interrupted(first, "Tell me a story.", 2)
            await answered(first, "And now?", APOLOGY)
            await first.send(PeerError("64105: WebSocket ended"))
            await second.greeting_played()
            await answered(second, "Hello?", "Good day.")
            await answered(second, "Are you there?", "Here I am.")
            await answered(second, "Bye.", "Goodbye.")

            told = await summary(two, lambda told: (turns(told), told["errors"], told["calls_active"]) == (7, 2, 2))
            assert [each["calls"] for each in told["processes"]] == [1, 1]
        elsewhere = await summary(one, lambda told: turns(told) == 7 and told["calls_active"] == 0)
        day = await summary(one, lambda told: turns(told) == 7 and told["calls_active"] == 0, minutes=1440)

    assert told["turns_per_minute"] + 0.005 >= 7 / 16 and told["turns_per_minute"] <= 7 / 15 + 0.005
    assert (told["interrupts"], told["ghost_frames"], told["errors"], told["fallbacks"]) == (1, 0, 2, 1)
    assert {each["name"]: (each["count"], each["failed"]) for each in told["tools"]} == {"look": (2, 0), "fail": (1, 1)}
    assert all(0 < each["p50_ms"] <= each["p95_ms"] < 10_000 for each in told["tools"])
    # 1000 + 1200 + 1300 + 500 + 600 + 700 tokens read, 400 + 1000 + 1200 + 600 of them from the cache
    assert told["tokens"] == {"input": 5300, "cached": 3200, "output": 115}
    assert told["cost"] == {"total": 0.00672, "input": 0.0042, "cached": 0.0016, "output": 0.00092}
    assert told["chat_sockets"] == 0
    assert {each["worker"] for each in told["processes"]} == {each["worker"] for each in elsewhere["processes"]}
    assert len(told["processes"]) == 2
    lag = told["loop_lag_ms"]
    assert 0 <= lag["p50"] <= lag["p99"] and lag["max"] > 0

    # Every turn but the one that failed, as it was told by itself, against what the buckets tell of all.
    slowest = day["slowest"]
    assert Counter(each["id"] for each in slowest) == {first.record.call_sid: 3, second.record.call_sid: 3}
    times = [each["first_text_ms"] for each in slowest]
    assert times == sorted(times, reverse=True)
    buckets = Counter(TEXT_BUCKETS[bisect_left(TEXT_BUCKETS, each / 1000)] for each in times)
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        expected = percentile(dict(buckets), share, TEXT_BUCKETS)
        assert expected is not None and told["first_text_ms"][name] == pytest.approx(expected * 1000, abs=0.01)
    timed = [each["segments_ms"] for each in slowest]
    assert all(abs(sum(parts.values()) - ms) <= 0.5 for parts, ms in zip(timed, times, strict=True))  # tenths each
    assert sum(parts["tools"] > 0 for parts in timed) == 1
    for name in SEGMENTS:
        mean = sum(each[name] for each in timed) / len(timed)
        assert told["segments_ms"][name]["mean"] == pytest.approx(mean, abs=0.1)

    for other in (elsewhere, day):
        for name in ("first_text_ms", "segments_ms", "interrupts", "errors", "fallbacks", "tools", "tokens", "cost"):
            assert other[name] == told[name]
    for point, whole in (("interrupts", 1), ("errors", 2), ("tokens", 5415), ("turns", 7)):
        assert sum(each[point] for each in day["series"]) == whole
    assert sum(each["cost"] for each in day["series"]) == pytest.approx(0.00672)
    assert max(each["calls"] for each in day["series"]) == 2


async def test_figures_of_nothing(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A relay without prices that nobody has called: no money, no times, and itself among the processes."""
    async with running(redis_url, tmp_path / "data", agents=write_agent(tmp_path / "agents")) as line:
        told = await summary(line, lambda told: told["processes"])
        assert told["cost"] is None
        assert told["first_text_ms"] == {"p50": None, "p95": None, "p99": None}
        assert (turns(told), told["slowest"], told["tools"], told["calls_active"]) == (0, [], [], 0)
        assert [each["calls"] for each in told["processes"]] == [0]
    assert await redis.zrange("workers", 0, -1) == []


async def test_figures_that_nobody_may_see_are_not_kept(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A public relay without DASHBOARD_TOKEN writes none; what it counts is for its own /metrics alone."""
    environ = {"PUBLIC_URL": "https://relay.example", "TWILIO_AUTH_TOKEN": "t" * 32}
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line:
        tasks = {task.get_name() for task in asyncio.all_tasks()}
        assert "after calls" in tasks and "figures" not in tasks
        async with aiohttp.ClientSession() as http, http.get(f"{line.url}/dashboard/api/summary") as response:
            assert response.status == 404
    assert [key async for key in redis.scan_iter("metrics:*")] == []
