"""What a relay adds to the model's own first token, and what a token costs it: ours, the peer, the floor.

Every system gets the same calls in the same order at the same moments. A call first has ten quick turns, so that its
history holds 20 items by the system's own doing; they are not counted. Then come the measured turns, each at a drawn
pause after the end of the one before. The endpoint's records tell how long the model took; the rest is the relay's.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from benchmarks import figures
from benchmarks.comparison import Load, Run, line, report
from benchmarks.endpoint import Answered, Script
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import SYSTEMS, System, install_peer, ours, ring_all
from phone.load import Answer, CallLost, LoadCall
from phone.progress import Progress, say
from relay.store.embedded import EmbeddedRedis

QUICK_TURNS = 10  # two items each
QUICK_AT_ONCE = 10
PAUSE = (0.5, 3.0)  # seconds between the end of an answer and the next prompt
ANSWER_SECONDS = 30.0
SETTLE_SECONDS = 0.5


# The others ask once however late the model is: what is compared is one request each.
STARTS = {**SYSTEMS, "ours": partial(ours, variables={"FIRST_TOKEN_DEADLINE": "30"})}


async def latency(load: Load, names: Sequence[str]) -> bool:
    """Runs the comparison, prints and saves it. True if every target that could be looked at was reached."""
    versions: dict[str, str] = {}
    if "peer" in names:
        try:
            versions = install_peer(say)
        except BenchError as error:
            say(f"{error}; going on without the peer")
            names = [name for name in names if name != "peer"]
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{load.calls} calls, {load.turns} measured turns each, {load.runs} runs; {placed}")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with Endpoint.start(cores.load) as endpoint:
            for number in range(load.runs):
                # Nobody is always first: the machine may be warmer, or busier, by then.
                order = names if number % 2 == 0 else list(reversed(names))
                for name in order:
                    place = Path(folder) / f"{number}-{name}"
                    place.mkdir()
                    async with STARTS[name](endpoint.url, cores.server, place) as system:
                        run = await measure(system, endpoint, load, f"run {number + 1}, {name}")
                    runs.append(run)
                    say(f"run {number + 1}, {name}: {line(run)}")
    say()
    reached = report(runs, names, versions, load, placed)
    return reached


async def measure(system: System, endpoint: Endpoint, load: Load, label: str, stretch: float = 1.0) -> Run:
    """One system, once: opens the calls, fills their histories, measures, hangs up. ``stretch``: of the pauses."""
    rng = random.Random(load.seed)
    await endpoint.script(Script(whole=True))
    calls = await ring_all(system, load.calls)
    try:
        with Progress(f"{label}: filling histories", load.calls) as progress:
            await _fill(calls, progress)
        await endpoint.take()
        await endpoint.script(Script(load.first, load.pace, load.tokens))
        await asyncio.sleep(SETTLE_SECONDS)
        run = Run(system.name)
        async with redis_clock(system) as redis:
            before = figures.segment_sums(await system.metrics())
            loop = asyncio.get_running_loop()
            begun, cpu, redis_cpu = loop.time(), system.child.cpu_seconds(), await redis()
            waited = system.child.waited_seconds()
            answers: dict[int, Answer] = {}
            with Progress(f"{label}: measuring", load.calls * load.turns) as progress:
                await asyncio.gather(
                    *(
                        _talk(
                            call,
                            1000 * (number + 1),
                            load.turns,
                            random.Random(rng.random()),
                            stretch,
                            answers,
                            run,
                            progress,
                        )
                        for number, call in enumerate(calls)
                    )
                )
            run.seconds = loop.time() - begun
            run.cpu = system.child.cpu_seconds() - cpu
            run.redis_cpu = await redis() - redis_cpu
            run.waited = system.child.waited_seconds() - waited
            run.memory = system.child.memory_bytes()
            run.segments = _means(before, figures.segment_sums(await system.metrics()))
        system.child.check()
        _combine(run, answers, await endpoint.take(), system.whole_words)
        return run
    finally:
        await asyncio.gather(*(call.close() for call in calls))


async def _fill(calls: Sequence[LoadCall], progress: Progress) -> None:
    gate = asyncio.Semaphore(QUICK_AT_ONCE)

    async def one(call: LoadCall) -> None:
        async with gate:
            for number in range(QUICK_TURNS):
                await call.prompt(_words(number)).ended(within=ANSWER_SECONDS)
                call.spoken()
        progress.step()

    await asyncio.gather(*(one(call) for call in calls))


async def _talk(
    call: LoadCall,
    base: int,
    turns: int,
    rng: random.Random,
    stretch: float,
    answers: dict[int, Answer],
    run: Run,
    progress: Progress,
) -> None:
    for marker in range(base, base + turns):
        await asyncio.sleep(rng.uniform(*PAUSE) * stretch)
        try:
            answers[marker] = await call.prompt(_words(marker)).ended(within=ANSWER_SECONDS)
            call.spoken()
        except CallLost:
            run.lost += 1
        progress.step()


def _words(marker: int) -> str:
    return f"And could you tell me a little more about the apartment number {marker}"


def _combine(run: Run, answers: dict[int, Answer], records: Sequence[Answered], whole_words: bool) -> None:
    """Takes the model's own time from what the driver measured."""
    by_marker = {record.marker: record for record in records}
    if len(by_marker) < len(records):
        raise BenchError(f"{run.system} asked the model more than once for a turn")
    for marker, answer in answers.items():
        record = by_marker[marker]
        # A word is whole when the next piece, which begins with a space, has been written.
        word = answer.first if whole_words else answer.second
        run.token.append((answer.first - answer.sent) - (record.first - record.at))
        run.word.append((word - answer.sent) - (record.second - record.at))
        run.request.append(record.at - answer.sent)
        run.frames += answer.frames
    run.tokens = sum(record.sent for record in records)
    run.messages = _span([record.messages for record in records])
    run.tools = _span([record.tools for record in records])
    run.size = figures.median([record.size for record in records])
    run.by_socket = sum(1 for record in records if record.by == "WS")
    run.connections = len({record.connection for record in records})


def _span(values: Sequence[int]) -> tuple[int, int]:
    return (min(values), max(values)) if values else (0, 0)


def _means(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {
        name: (total - before.get(name, (0, 0))[0]) / (count - before.get(name, (0, 0))[1])
        for name, (total, count) in after.items()
        if count > before.get(name, (0, 0))[1]
    }


@asynccontextmanager
async def redis_clock(system: System) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """A clock of the time the relay's own Redis has used; it stands still where there is none."""

    async def nothing() -> float:
        return 0.0

    async def seconds() -> float:
        info = await redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    if system.data_dir is None:
        yield nothing
        return
    embedded = EmbeddedRedis.start(system.data_dir)
    redis = Redis.from_url(embedded.url)
    try:
        yield seconds
    finally:
        # Not awaited: a cancel must not leave our share in the server behind, which would keep it running.
        embedded.close()
        await redis.aclose()
