"""The relay under callers who do as they please, for long: it must not grow, and must leave nothing behind.

Calls come at a set rate, so that what the relay remembers of the last minute is about the same at any time. The model
goes wrong now and then, tools take their time, and callers are gone at any moment and in any way (``restless.py``).

Memory counts from when the relay's memories have been filled and filled again: it remembers each conversation for a
minute, each ticket for two, and how it answered the last 10,000 callbacks. What it has grown by since is read off the
straight line through all looks, whatever the garbage collector has done between two of them. Behind the last call the
relay is left alone until what it remembers should be gone.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.leftovers import Leftovers, leftovers, overdue
from benchmarks.processes import Cores, Endpoint
from benchmarks.restless import TOOLS, WEBHOOK_SECONDS, Restless, Story
from benchmarks.systems import System, ours
from benchmarks.watching import Sample, growth, look, sparkline
from handlers.callbacks import DELIVERIES
from phone.progress import Progress, say, table
from relay.store.embedded import EmbeddedRedis

MOST_GROWTH = 0.03
MOST_AT_A_TIME = 300  # calls; with more under way the next one waits
FILLED_SECONDS = 130.0  # after which everything that is remembered for a time is as much as it will be
FORGETS = 100.0  # seconds in which every conversation is forgotten
LOOKS = 200  # at the relay, while it works
FAULTS = {"slow": 0.04, "stall": 0.02, "cut": 0.03, "errors": 0.02, "limited": 0.02, "close": 0.01, "garbage": 0.02}


@dataclass(frozen=True, slots=True)
class Plan:
    """``rate``: calls a second. ``settle``: seconds the relay is given at the end; with less than ``FORGETS`` it is not
    asked whether it has forgotten everything."""

    calls: int = 20_000
    rate: float = 25.0
    settle: float = 150.0
    seed: int = 1
    script: Script = field(
        default_factory=lambda: Script("0.01:0.05", "0.002", tokens=30, faults=FAULTS, tools=TOOLS, slow_for=1.5)
    )


@dataclass(slots=True)
class Soaked:
    """What was seen: the relay before the first call, while it worked, and in the end."""

    story: Story
    before: Sample
    samples: list[Sample]
    after: Sample
    left: Leftovers
    bugs: int
    seconds: float

    @property
    def warm(self) -> list[Sample]:
        """Those from when every entry of the memories has made place for another."""
        full = next((each.at for each in self.samples if each.remembered.get("answers", 0) >= DELIVERIES), math.inf)
        return [each for each in self.samples if each.at >= max(FILLED_SECONDS, 2 * full)]


async def soak(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if every target that could be measured was reached."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.calls} restless calls, {plan.rate:g} a second; {placed}")
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        variables = {"MEMORY": "on", "SILENCE_AFTER": "8"}  # as they are unless somebody sets them
        async with (
            Endpoint.start(cores.load) as endpoint,
            ours(endpoint.url, cores.server, Path(folder), variables=variables) as system,
        ):
            await endpoint.script(plan.script)
            soaked = await _run(plan, system)
            system.child.check()
    return _report(plan, soaked, placed)


async def _run(plan: Plan, system: System) -> Soaked:
    story, samples, begun = Story(), list[Sample](), time.monotonic()

    async def see() -> Sample:
        return await look(system, time.monotonic() - begun, story.calls)

    async def watch() -> None:
        every = max(0.25, plan.calls / plan.rate / LOOKS)
        while True:
            await asyncio.sleep(every)
            samples.append(await see())

    assert system.data_dir is not None
    embedded = await asyncio.to_thread(EmbeddedRedis.start, system.data_dir)
    redis = Redis.from_url(embedded.url)  # more patient than the relay's
    try:
        before = await see()
        watching = asyncio.create_task(watch(), name="watch")
        try:
            await _call_all(plan, system, story)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        seconds = time.monotonic() - begun
        after = await _settled(plan, before, see, redis)
        left = await leftovers(redis)
    finally:
        await redis.aclose()
        await asyncio.to_thread(embedded.close)
    log = system.child.log.read_text(errors="replace")
    bugs = sum("bug in" in line or "Traceback" in line for line in log.splitlines())
    return Soaked(story, before, samples, after, left, bugs, seconds)


async def _call_all(plan: Plan, system: System, story: Story) -> None:
    rng, room = random.Random(plan.seed), asyncio.Semaphore(MOST_AT_A_TIME)
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=WEBHOOK_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as group:

        async def ring(caller: Restless) -> None:
            try:
                await caller.ring()
            finally:
                room.release()
                progress.step()

        with Progress("calling", plan.calls) as progress:
            due, calls = loop.time(), set[asyncio.Task[None]]()
            for _ in range(plan.calls):
                due += rng.expovariate(plan.rate)
                await asyncio.sleep(max(0.0, due - loop.time()))
                await room.acquire()
                task = group.create_task(ring(Restless(system.base, http, story, random.Random(rng.random()))))
                calls.add(task)
                task.add_done_callback(calls.discard)
            await asyncio.gather(*calls)


async def _settled(plan: Plan, before: Sample, see: Callable[[], Awaitable[Sample]], redis: Redis) -> Sample:
    """The relay once it has nothing left to do, or when its time is over."""
    until = time.monotonic() + plan.settle
    while True:
        sample, late = await see(), await overdue(redis)
        quiet = not sample.callers and sample.tasks <= before.tasks and not late
        forgotten = plan.settle < FORGETS or not sample.remembered["conversations"]
        if (quiet and forgotten) or time.monotonic() >= until:
            return sample
        await asyncio.sleep(min(2.0, plan.settle / 20))


def _report(plan: Plan, soaked: Soaked, cores: str) -> bool:
    story, before, after, left = soaked.story, soaked.before, soaked.after, soaked.left
    warm = soaked.warm
    say(f"{story.calls} calls, {story.sessions} sessions in {soaked.seconds:.0f} s")
    say(table(["sessions were left", ""], [[how, str(count)] for how, count in story.left.most_common()]))
    say()
    shown = [
        ("before", before),
        *((f"{each.calls} calls", each) for each in soaked.samples[:: max(1, len(soaked.samples) // 8)]),
    ]
    say(table(["", *_HEADS], [_row(name, each) for name, each in (*shown, ("in the end", after))]))
    say(f"memory  {sparkline([each.rss for each in soaked.samples])}")
    say()
    say(table(["keys in Redis", "", "no expiry"], [[k, str(n), str(left.lasting[k])] for k, n in left.all.items()]))
    for what, count in story.wrong.most_common(10):
        say(f"  {count}x {what}")
    say()
    targets: list[tuple[str, float, float]] = [
        ("memory grown since it was warm", growth(warm), MOST_GROWTH),
        ("calls that went wrong", story.wrong.total(), 0),
        ("bugs in the log", soaked.bugs, 0),
        ("tasks left", after.tasks - before.tasks, 0),
        ("sockets of callers left", after.callers, 0),
        ("keys nobody will remove", left.left_behind.total(), 0),
        ("work that is overdue", left.overdue, 0),
    ]
    if plan.settle >= FORGETS:
        targets += [
            ("conversations not forgotten", after.remembered["conversations"], 0),
        ]
    say(table(["", ""], [[label, figures.verdict(value, limit)] for label, value, limit in targets]))
    figures.save(
        "soak",
        {
            "calls": story.calls,
            "sessions": story.sessions,
            "seconds": soaked.seconds,
            "left": dict(story.left),
            "wrong": dict(story.wrong),
            "growth": growth(warm),
            "warm_from_call": warm[0].calls if warm else None,
            "before": asdict(before),
            "samples": [asdict(each) for each in soaked.samples],
            "after": asdict(after),
            "keys": dict(left.all),
            "keys_left_behind": dict(left.left_behind),
            "overdue": left.overdue,
            "bugs": soaked.bugs,
            "cores": cores,
        },
        figures.lines("Resident memory", "MB", [(each.at, each.rss / 1e6) for each in (before, *soaked.samples)]),
    )
    return not any(value > limit for _, value, limit in targets)


_HEADS = ("MB", "fds", "sockets", "threads", "tasks", "conversations", "answers", "tickets")


def _row(name: str, sample: Sample) -> Sequence[str]:
    remembered = (str(sample.remembered.get(what, 0)) for what in _HEADS[-3:])
    counts = (sample.descriptors, sample.callers, sample.threads, sample.tasks)
    return [name, f"{sample.rss / 1e6:.1f}", *map(str, counts), *remembered]
