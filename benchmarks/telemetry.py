"""What looking into calls costs: the relay as it is, and the same without, beside each other on one core in one run.

Without: nothing is put together of a turn, nothing is written of it, nobody is told. The Prometheus metrics are there
in both, as they always were. Both have the same calls at the same moments and an endpoint each, and share the server's
core: whatever else the machine does in the meantime, it does to both.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import figures
from benchmarks.comparison import Load, Run, line
from benchmarks.latency import measure
from benchmarks.processes import Cores, Endpoint
from benchmarks.systems import ours
from phone.progress import say, table

KINDS = ("with", "without")
MOST = 0.05  # of the CPU a token without


async def telemetry(load: Load) -> bool:
    """Runs, prints and saves it. True if the target was reached. ``load.calls``: of each of the two."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{load.calls} calls with and as many without, {load.turns} measured turns each, {load.runs} runs; {placed}")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        for number in range(load.runs):
            places = [Path(folder) / f"{number}-{kind}" for kind in KINDS]
            for place in places:
                place.mkdir()
            both = await asyncio.gather(
                *(_one(kind, load, cores, place, number) for kind, place in zip(KINDS, places, strict=True))
            )
            for run in both:
                say(f"run {number + 1}, {run.system}: {line(run)}")
            runs += both
    say()
    return _report(runs, load, placed)


async def _one(kind: str, load: Load, cores: Cores, place: Path, number: int) -> Run:
    variables = {"FIRST_TOKEN_DEADLINE": "30", **({"BENCH_TELEMETRY": "off"} if kind == "without" else {})}
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(Endpoint.start(cores.load))
        system = await stack.enter_async_context(ours(endpoint.url, cores.server, place, variables=variables))
        system.name = kind
        return await measure(system, endpoint, load, f"run {number + 1}, {kind}")


def _report(runs: Sequence[Run], load: Load, cores: str) -> bool:
    of = {kind: [run for run in runs if run.system == kind] for kind in KINDS}
    cpu = {kind: sum(run.cpu for run in of[kind]) / sum(run.tokens for run in of[kind]) * 1e6 for kind in KINDS}
    redis = {kind: sum(run.redis_cpu for run in of[kind]) / sum(run.tokens for run in of[kind]) * 1e6 for kind in KINDS}
    rows = []
    for kind in KINDS:
        word = [value * 1e3 for run in of[kind] for value in run.word]
        rows.append(
            [
                kind,
                f"{figures.percentile(word, 0.5):.2f}",
                f"{figures.percentile(word, 0.99):.2f}",
                f"{cpu[kind]:.1f} +{redis[kind]:.1f}",
                f"{max(run.waited / run.seconds for run in of[kind]):.0%}",
                str(sum(run.lost for run in of[kind])),
            ]
        )
    say("Added to the model's first whole word, ms; CPU a token (+ Redis), us; all runs together")
    say(table(["", "word p50", "p99", "us/token", "waited", "lost"], rows))
    say()
    pairs = [figures.ratio(one.cpu_a_token, other.cpu_a_token) - 1 for one, other in zip(*of.values(), strict=True)]
    more = figures.ratio(cpu["with"], cpu["without"]) - 1
    by_run = ", ".join(f"{each:.1%}" for each in pairs)
    say(f"more CPU a token, share: {figures.verdict(more, MOST)}; run by run {by_run}")
    path = figures.save(
        "telemetry",
        {
            "load": {name: getattr(load, name) for name in Load.__slots__},
            "cores": cores,
            "runs": [run.figures() for run in runs],
            "cpu_us_a_token": cpu,
            "redis_cpu_us_a_token": redis,
            "more": more,
            "more_run_by_run": pairs,
        },
    )
    say(f"saved {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return more <= MOST
