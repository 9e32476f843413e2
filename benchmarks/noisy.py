"""One caller makes noise while others talk: how much later do those others hear their first words?

Fifty quiet callers prompt, hear the answer and prompt again. In one run, by turns: nobody else, and one caller more who
makes noise of one kind (``noise.py``), from a process of its own. What is compared is the time a relay adds: from the
prompt's writing to the first words, less what the model took. With two cores the noise shares that of the load, not
that of the relay, and gives way to it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.noise import KINDS
from benchmarks.processes import CHECKOUT, START_SECONDS, BenchError, Cores, Endpoint, environment, pinned
from benchmarks.systems import SYSTEMS, System, call_sid, ring_all
from benchmarks.terminal import Progress, say, table
from phone.load import LoadCall

MOST_TIMES = 3.0  # the p99 of quiet callers, by that without noise
PAUSE = (0.2, 0.8)
ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` of each turn; every kind of noise has one, and quiet one before each."""

    calls: int = 50
    seconds: float = 8.0
    kinds: tuple[str, ...] = tuple(KINDS)
    seed: int = 1
    script: Script = field(default_factory=lambda: Script("0.05", "0.005", tokens=20))


async def noisy(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if no kind of noise makes the others wait too long."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.calls} quiet calls, and now and then a noisy one; {placed}")
    quiet: list[float] = []
    loud: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(cores.load) as endpoint,
            SYSTEMS["ours"](endpoint.url, cores.server, Path(folder)) as system,
        ):
            await endpoint.script(plan.script)
            calls = await ring_all(system, plan.calls)
            with Progress("talking", 2 * len(plan.kinds)) as progress:
                try:
                    await _talk(plan, calls, 1.0)
                    for kind in plan.kinds:
                        quiet += await _talk(plan, calls, plan.seconds)
                        progress.step()
                        async with _noise(kind, system, cores):
                            loud[kind] = await _talk(plan, calls, plan.seconds)
                        progress.step()
                finally:
                    await asyncio.gather(*(call.close() for call in calls))
            metrics = await system.metrics()
    return _report(plan, quiet, loud, metrics, placed)


@asynccontextmanager
async def _noise(kind: str, system: System, cores: Cores) -> AsyncIterator[None]:
    """Inside there is noise."""
    sid = call_sid()
    entrance = await system.entrance(sid)
    noise = await asyncio.create_subprocess_exec(
        *pinned([sys.executable, "-m", "benchmarks.noise", kind], cores.load),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment({}),
        cwd=CHECKOUT,
    )
    assert noise.stdin is not None and noise.stdout is not None
    order = {"url": entrance.url, "parameters": dict(entrance.parameters), "call_sid": sid}
    try:
        noise.stdin.write(orjson.dumps(order) + b"\n")
        async with asyncio.timeout(START_SECONDS):
            if not await noise.stdout.readline():
                raise BenchError("the noise did not begin")
        yield
    finally:
        noise.kill()
        await noise.wait()


async def _talk(plan: Plan, calls: Sequence[LoadCall], seconds: float) -> list[float]:
    """What the relay added to the first words of each turn within this time."""
    rng = random.Random(plan.seed)
    until = asyncio.get_running_loop().time() + seconds
    added: list[float] = []

    async def one(call: LoadCall, rng: random.Random) -> None:
        while (now := asyncio.get_running_loop().time()) < until:
            await asyncio.sleep(min(until - now, rng.uniform(*PAUSE)))
            answer = await call.prompt("Please tell me about number 7").ended(within=ANSWER_SECONDS)
            call.spoken()
            added.append(answer.first - answer.sent - float(plan.script.first))

    await asyncio.gather(*(one(call, random.Random(rng.random())) for call in calls))
    return added


def _report(plan: Plan, quiet: list[float], loud: dict[str, list[float]], metrics: str, cores: str) -> bool:
    base = figures.percentiles(quiet)
    rows = [["none", str(len(quiet)), *(f"{base[p] * 1e3:.2f}" for p in ("p50", "p99")), "", ""]]
    times: dict[str, dict[str, float]] = {}
    for kind, values in loud.items():
        found = figures.percentiles(values)
        times[kind] = {p: figures.ratio(found[p], base[p]) for p in ("p50", "p99")}
        shown = [f"{found[p] * 1e3:.2f}" for p in ("p50", "p99")]
        rows.append([kind, str(len(values)), *shown, *(f"{times[kind][p]:.2f}" for p in ("p50", "p99"))])
    say(table(["noise", "turns", "p50 ms", "p99 ms", "times p50", "times p99"], rows))
    rejected = figures.samples(metrics, "relay_frames_rejected_total")
    ended = figures.samples(metrics, "relay_calls_ended_total")
    say(f"frames not acted on: {rejected}; calls ended: {ended}")
    worst = max(each["p99"] for each in times.values())
    say(f"the worst p99, by that without noise: {figures.verdict(worst, MOST_TIMES)}")
    figures.save(
        "noisy",
        {
            "calls": plan.calls,
            "quiet_ms": {p: value * 1e3 for p, value in base.items()},
            "noisy_ms": {
                kind: {p: value * 1e3 for p, value in figures.percentiles(values).items()}
                for kind, values in loud.items()
            },
            "times": times,
            "rejected": rejected,
            "ended": ended,
            "cores": cores,
        },
        figures.curves(
            "Added to the first words",
            "ms",
            {"quiet": [v * 1e3 for v in quiet], **{k: [v * 1e3 for v in each] for k, each in loud.items()}},
        ),
    )
    return worst <= MOST_TIMES
