"""Memory a call takes while nobody says anything: after its greeting and one turn, with many of them at once.

What the calls of the warm-up gave back may be used again, so as many calls are taken as not having cost anything.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.processes import Cores, Endpoint
from benchmarks.systems import SYSTEMS, System, ring_all
from phone.load import LoadCall
from phone.progress import Progress, say

TARGET_KB = 120
WARM_CALLS = 50
AT_ONCE = 10
QUIET_SECONDS = 3.0  # until writes behind are done and what was freed is free
ANSWER_SECONDS = 30.0


async def idle(count: int = 500) -> bool:
    """Measures, prints and saves; True if the target was reached."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    warm = min(WARM_CALLS, count // 10)
    say(f"{count} idle calls after {warm} that came and went; {placed}")
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(cores.load) as endpoint,
            SYSTEMS["ours"](endpoint.url, cores.server, Path(folder)) as system,
        ):
            await endpoint.script(Script(tokens=20))
            await _hang_up(await _calls(system, warm, "warming up"))
            await asyncio.sleep(QUIET_SECONDS)
            before = system.child.memory_bytes()
            calls = await _calls(system, count, "calling")
            try:
                await asyncio.sleep(QUIET_SECONDS)
                after, cpu = system.child.memory_bytes(), system.child.cpu_seconds()
                await asyncio.sleep(QUIET_SECONDS)
                busy = (system.child.cpu_seconds() - cpu) / QUIET_SECONDS
                lost = sum(call.lost for call in calls)
            finally:
                await _hang_up(calls)
    each = (after - before) / (count - warm) / 1024
    reached = each < TARGET_KB and not lost
    say(
        f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB with {count} calls: {each:.1f} KB a call "
        f"(< {TARGET_KB}, {'reached' if each < TARGET_KB else 'missed'}); core {busy:.1%} busy; {lost} calls lost"
    )
    figures.save(
        "idle",
        {"calls": count, "before_mb": before / 1e6, "after_mb": after / 1e6, "kb_a_call": each, "core_busy": busy},
    )
    return reached


async def _calls(system: System, count: int, label: str) -> list[LoadCall]:
    """Calls that have had one turn."""
    gate = asyncio.Semaphore(AT_ONCE)
    calls = await ring_all(system, count, agent="greeter")

    async def turn(call: LoadCall, marker: int) -> None:
        async with gate:
            await call.prompt(f"Hello, I am looking for apartment number {marker}").ended(within=ANSWER_SECONDS)
            call.spoken()
        progress.step()

    with Progress(label, count) as progress:
        await asyncio.gather(*(turn(call, number) for number, call in enumerate(calls)))
    return calls


async def _hang_up(calls: Sequence[LoadCall]) -> None:
    for start in range(0, len(calls), AT_ONCE):
        await asyncio.gather(*(call.close() for call in calls[start : start + AT_ONCE]))
