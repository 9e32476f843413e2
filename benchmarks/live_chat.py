"""Many visitors of the live chat at once: how much later does a delta reach the browser than the model has written it?

Each word of the model carries the moment of its writing, by the machine's own clock (``phone/bench/words.py``), so what
is added to a delta is known without asking anybody. Our relay and the floor, each with all visitors of its own, are
measured by turns in one run: first the floor, twice ours, the floor again.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks import figures
from benchmarks.latency import redis_clock
from benchmarks.processes import BenchError, Cores
from benchmarks.systems import OPEN_AT_ONCE, System, floor, ours
from benchmarks.visitors import ChatSocket, visit
from phone.bench.endpoint import Endpoint, Script
from phone.bench.lag import Lag
from phone.bench.words import heard
from phone.load import CallLost
from phone.progress import Progress, say, table

TARGET_MS = 20.0
ANSWER_SECONDS = 60.0
WARM_SECONDS = 10.0
ORDER = ("floor", "ours", "ours", "floor")
MANY_SOCKETS = {
    "CHAT_AGENT": "bench",
    "CHAT_MAX_SOCKETS": "20000",
    "CHAT_MAX_SOCKETS_PER_ADDRESS": "0",
    "RATE_PER_MINUTE": "0",
}
"""Settings of a relay whose visitors all come from one address."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds``: measured, of each system. ``first``, ``pace``: of the model, seconds, MEDIAN or MEDIAN:P95.
    ``pause``: between an answer's end and the visitor's next message, at least and at most."""

    visitors: int = 500
    seconds: float = 60.0
    first: str = "0.25:0.6"
    pace: str = "0.02"
    tokens: int = 60
    pause: tuple[float, float] = (5.0, 15.0)
    warm: float = WARM_SECONDS
    seed: int = 1


@dataclass(slots=True)
class Seen:
    """What came of one system. Seconds; ``added``: to each delta; ``asked``: from a message's writing until the model
    had read the request. ``wrong``: words that were not the next ones, and answers that were not whole; ``failed``:
    turns that ended in an error, by its code."""

    added: array[float] = field(default_factory=lambda: array("d"))
    asked: array[float] = field(default_factory=lambda: array("d"))
    turns: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu: float = 0.0
    redis: float = 0.0
    waited: float = 0.0

    def of(self, seconds: Sequence[float]) -> dict[str, float]:
        return {name: value * 1e3 for name, value in figures.percentiles(seconds).items()}

    def figures(self) -> dict[str, Any]:
        deltas = max(1, len(self.added))
        return {
            "deltas": len(self.added),
            "turns": self.turns,
            "wrong": self.wrong,
            "failed": dict(self.failed),
            "added_ms": self.of(self.added) | {"max": max(self.added, default=0.0) * 1e3},
            "until_asked_ms": self.of(self.asked),
            "cpu_us_a_delta": self.cpu / deltas * 1e6,
            "redis_cpu_us_a_delta": self.redis / deltas * 1e6,
            "core_busy": (self.cpu + self.redis) / self.seconds if self.seconds else 0.0,
            "core_waited_for": self.waited / self.seconds if self.seconds else 0.0,
            "seconds": self.seconds,
        }


class Visitor:
    """Writes, reads the answer, pauses, and writes again."""

    def __init__(self, number: int, plan: Plan) -> None:
        self._plan = plan
        self._rng = random.Random(f"{plan.seed}-{number}")
        self._marker = number * 1000  # of the message that is being answered
        self._place = 0
        self._sent = 0.0
        self._done: asyncio.Future[None] | None = None
        self.seen = Seen()
        """Where what comes is noted."""
        self.socket: ChatSocket

    def hear(self, frame: Mapping[str, Any], at: float) -> None:
        match frame:
            case {"type": "delta", "text": str(text)}:
                for word in heard(text):
                    self.seen.added.append(word.age(at))
                    self.seen.wrong += (word.turn, word.place) != (self._marker, self._place)
                    if word.place == 0:
                        self.seen.asked.append(at - word.asked(at) - self._sent)
                    self._place += 1
            case {"type": "done"} if self._done is not None and not self._done.done():
                self.seen.wrong += self._place != self._plan.tokens
                self._done.set_result(None)
            case {"type": "error", "code": str(code)} if self._done is not None and not self._done.done():
                self.seen.failed[code] += 1
                self._done.set_result(None)

    async def talk(self, seen: Seen, until: float) -> None:
        """Until this moment, and to the end of the answer that comes then. Raises CallLost."""
        loop, self.seen = asyncio.get_running_loop(), seen
        await asyncio.sleep(self._rng.uniform(0.0, self._plan.pause[1]))
        while loop.time() < until:
            self._marker, self._place, self._done = self._marker + 1, 0, loop.create_future()
            self._sent = loop.time()
            text = f"And could you tell me a little more about number {self._marker}"
            self.socket.send({"type": "message", "client_id": f"m{self._marker}", "text": text})
            done, _ = await asyncio.wait(
                [self._done, self.socket.lost], timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if self._done not in done:
                raise CallLost(f"a chat got no answer: {self.socket.closed_with or 'too late'}")
            seen.turns += 1
            await asyncio.sleep(self._rng.uniform(*self._plan.pause))


class House:
    """A system with its visitors."""

    def __init__(self, system: System, visitors: Sequence[Visitor], redis: Callable[[], Awaitable[float]]) -> None:
        self._system = system
        self._visitors = visitors
        self._redis = redis
        self.seen = Seen()

    @classmethod
    async def open(cls, system: System, plan: Plan, redis: Callable[[], Awaitable[float]], first: int) -> Self:
        """Every visitor is here. ``first``: the number of the first. Raises CallLost."""
        gate = asyncio.Semaphore(OPEN_AT_ONCE)
        visitors = [Visitor(number, plan) for number in range(first, first + plan.visitors)]

        async def enter(visitor: Visitor) -> None:
            async with gate:
                if system.http is None:
                    visitor.socket = await ChatSocket.open(system.base, "/ws", visitor.hear, subprotocol="")
                else:
                    visitor.socket, _ = await visit(system.http, system.base, visitor.hear)
            progress.step()

        with Progress(f"{system.name}: visitors come", plan.visitors) as progress:
            await asyncio.gather(*map(enter, visitors))
        return cls(system, visitors, redis)

    async def talk(self, seconds: float, seen: Seen, progress: Progress) -> None:
        """All talk for so long, and ``seen`` learns of it."""
        loop, child = asyncio.get_running_loop(), self._system.child
        begun, cpu, redis, waited = loop.time(), child.cpu_seconds(), await self._redis(), child.waited_seconds()
        await asyncio.gather(*(visitor.talk(seen, begun + seconds) for visitor in self._visitors))
        child.check()
        seen.seconds += loop.time() - begun
        seen.cpu += child.cpu_seconds() - cpu
        seen.redis += await self._redis() - redis
        seen.waited += child.waited_seconds() - waited
        progress.step()

    async def close(self) -> None:
        await asyncio.gather(*(visitor.socket.close() for visitor in self._visitors))


async def live_chat(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if the target was reached and no word was lost."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.visitors} visitors of the live chat; {placed}")
    lag = Lag()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(Script(first=plan.first, gap=plan.pace, tokens=plan.tokens, seed=plan.seed)) as endpoint,
            floor(endpoint.url, cores.server, Path(folder)) as least,
            ours(endpoint.url, cores.server, Path(folder), variables=MANY_SOCKETS) as relay,
            redis_clock(least) as nothing,
            redis_clock(relay) as redis,
        ):
            houses = {
                "floor": await House.open(least, plan, nothing, 0),
                "ours": await House.open(relay, plan, redis, plan.visitors),
            }
            measuring = asyncio.create_task(lag.run(), name="lag")
            try:
                with Progress("talking", len(ORDER) + len(houses)) as progress:
                    for house in houses.values():
                        await house.talk(plan.warm, Seen(), progress)
                    await endpoint.counts()
                    lag.take()
                    for name in ORDER:
                        await houses[name].talk(plan.seconds / 2, houses[name].seen, progress)
                late = (await endpoint.counts()).lag
            finally:
                measuring.cancel()
                await asyncio.gather(*(house.close() for house in houses.values()))
    seen = {name: house.seen for name, house in houses.items()}
    if not all(len(each.added) for each in seen.values()):
        raise BenchError("no delta was seen")
    return _report(plan, seen, {"model": late, "driver": lag.take()}, placed)


def _report(plan: Plan, seen: Mapping[str, Seen], lags: Mapping[str, Sequence[float]], placed: str) -> bool:
    rows = []
    for name, each in seen.items():
        told = each.figures()
        added, asked = told["added_ms"], told["until_asked_ms"]
        rows.append(
            [
                name,
                str(told["deltas"]),
                f"{told['deltas'] / each.seconds:.0f}",
                *(f"{added[p]:.2f}" for p in ("p50", "p90", "p99", "max")),
                *(f"{asked[p]:.1f}" for p in ("p50", "p99")),
                f"{told['cpu_us_a_delta']:.0f} +{told['redis_cpu_us_a_delta']:.0f}",
                f"{told['core_busy']:.0%}",
                f"{told['core_waited_for']:.0%}",
                str(each.wrong),
                str(each.failed.total()),
            ]
        )
    say("Added to a delta, from the model's write to the browser's read, and until the model was asked, ms; CPU, us")
    heads = [
        "",
        "deltas",
        "/s",
        "p50",
        "p90",
        "p99",
        "max",
        "asked p50",
        "p99",
        "us/delta",
        "busy",
        "waited",
        "wrong",
        "failed",
    ]
    say(table(heads, rows))
    late = {name: figures.percentile(lag, 0.99) * 1e3 for name, lag in lags.items()}
    say("how late the load itself was, p99: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in late.items()))
    p99 = seen["ours"].figures()["added_ms"]["p99"]
    say(f"added to a delta at p99, ms: {figures.verdict(p99, TARGET_MS)}")
    figures.save(
        "live_chat",
        {
            "visitors": plan.visitors,
            "systems": {name: each.figures() for name, each in seen.items()},
            "load_late_p99_ms": late,
            "cores": placed,
        },
        figures.curves("Added to a delta", "ms", {name: [v * 1e3 for v in each.added] for name, each in seen.items()}),
    )
    for name, each in seen.items():
        if each.failed:
            say(f"{name}: turns that failed: " + ", ".join(f"{count} {code}" for code, count in each.failed.items()))
    return p99 < TARGET_MS and not any(each.wrong or each.failed for each in seen.values())


__all__ = ["MANY_SOCKETS", "Plan", "live_chat"]
