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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.noise import KINDS
from benchmarks.processes import CHECKOUT, START_SECONDS, BenchError, Cores, Endpoint, environment, pinned
from benchmarks.systems import SYSTEMS, System, call_sid, ring_all
from phone.load import LoadCall
from phone.progress import Progress, say, table

MOST_TIMES = 1.5  # first words of quiet callers at p50, by those without noise just before
MOST_TIMES_WORST = 3.0
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


@dataclass(frozen=True, slots=True)
class Heard:
    """What was added to first words, in seconds; and the shares of the time in which the relay ran, and in which it had
    no core."""

    added: list[float]
    ran: float
    waited: float

    @property
    def ms(self) -> dict[str, float]:
        return {p: value * 1e3 for p, value in figures.percentiles(self.added).items()}


async def noisy(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if no kind of noise makes the others wait too long."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.calls} quiet calls, and now and then a noisy one; {placed}")
    found: dict[str, tuple[Heard, Heard]] = {}
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(cores.load) as endpoint,
            SYSTEMS["ours"](endpoint.url, cores.server, Path(folder)) as system,
        ):
            await endpoint.script(plan.script)
            calls = await ring_all(system, plan.calls)
            with Progress("talking", len(plan.kinds)) as progress:
                try:
                    await _talk(plan, system, calls, 1.0)
                    for kind in plan.kinds:
                        quiet = await _talk(plan, system, calls, plan.seconds)
                        async with _noise(kind, system, cores):
                            found[kind] = quiet, await _talk(plan, system, calls, plan.seconds)
                        progress.step()
                finally:
                    await asyncio.gather(*(call.close() for call in calls))
            metrics = await system.metrics()
    return _report(plan, found, metrics, placed)


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


async def _talk(plan: Plan, system: System, calls: Sequence[LoadCall], seconds: float) -> Heard:
    """Every call talks for so long."""
    rng, loop = random.Random(plan.seed), asyncio.get_running_loop()
    relay = system.child
    begun, ran, waited = loop.time(), relay.cpu_seconds(), relay.waited_seconds()
    added: list[float] = []

    async def one(call: LoadCall, rng: random.Random) -> None:
        while (left := begun + seconds - loop.time()) > 0:
            await asyncio.sleep(min(left, rng.uniform(*PAUSE)))
            answer = await call.prompt("Please tell me about number 7").ended(within=ANSWER_SECONDS)
            call.spoken()
            added.append(answer.first - answer.sent - float(plan.script.first))

    await asyncio.gather(*(one(call, random.Random(rng.random())) for call in calls))
    took = loop.time() - begun
    return Heard(added, (relay.cpu_seconds() - ran) / took, (relay.waited_seconds() - waited) / took)


def _report(plan: Plan, found: Mapping[str, tuple[Heard, Heard]], metrics: str, cores: str) -> bool:
    rows, times = [], dict[str, dict[str, float]]()
    for kind, (quiet, loud) in found.items():
        before, with_it = quiet.ms, loud.ms
        times[kind] = {p: figures.ratio(with_it[p], before[p]) for p in ("p50", "p99")}
        shown = [f"{before[p]:.1f} -> {with_it[p]:.1f}" for p in ("p50", "p99")]
        ratios = [f"{times[kind][p]:.2f}" for p in ("p50", "p99")]
        shares = [f"{quiet.ran:.0%} -> {loud.ran:.0%}", f"{quiet.waited:.0%} -> {loud.waited:.0%}"]
        rows.append([kind, str(len(quiet.added) + len(loud.added)), *shown, *ratios, *shares])
    say(table(["noise", "turns", "p50 ms", "p99 ms", "times p50", "times p99", "core busy", "had none"], rows))
    rejected = figures.samples(metrics, "relay_frames_rejected_total")
    ended = figures.samples(metrics, "relay_calls_ended_total")
    say(f"frames not acted on: {_counts(rejected)}; sessions ended: {_counts(ended)}")
    typical = figures.median([each["p50"] for each in times.values()])
    say(f"first words at p50 with noise, by that without, the median kind: {figures.verdict(typical, MOST_TIMES)}")
    worst = max(each["p50"] for each in times.values())
    say(f"and the worst kind: {figures.verdict(worst, MOST_TIMES_WORST)}")
    figures.save(
        "noisy",
        {
            "calls": plan.calls,
            "quiet_ms": {kind: quiet.ms for kind, (quiet, _) in found.items()},
            "noisy_ms": {kind: loud.ms for kind, (_, loud) in found.items()},
            "core_busy": {kind: [quiet.ran, loud.ran] for kind, (quiet, loud) in found.items()},
            "no_core": {kind: [quiet.waited, loud.waited] for kind, (quiet, loud) in found.items()},
            "times": times,
            "rejected": rejected,
            "ended": ended,
            "cores": cores,
        },
        figures.curves(
            "Added to the first words", "ms", {kind: [v * 1e3 for v in loud.added] for kind, (_, loud) in found.items()}
        ),
    )
    return typical <= MOST_TIMES and worst <= MOST_TIMES_WORST


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in sorted(counts.items()))
