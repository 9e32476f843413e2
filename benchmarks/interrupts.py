"""Random interrupts against the relay over real sockets: not one word of an old turn may follow.

Every word of the endpoint's answers carries its turn's number. A caller prompts, listens for a drawn time, interrupts,
and prompts again at once or after a moment; now and then it interrupts before anything was said. A ping goes out behind
each interrupt and each prompt. When its pong comes back, among the frames in their order, the relay's reader has
handled what was sent before, and from then on a word of an older turn is a ghost.

The upstream request must be closed, too. That is timed from the moment the caller writes the interrupt to the moment
the endpoint's event loop learns that the connection is gone: both ways through the loopback, and the waiting of all
three processes for a core, are part of it.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import figures
from benchmarks.endpoint import Answered, Script
from benchmarks.processes import Cores, Endpoint
from benchmarks.systems import SYSTEMS, System, ring
from phone.load import CallLost, LoadCall
from phone.processes import waited_seconds
from phone.progress import Progress, say, table
from relay.frames import Text

PER_CALL = 40  # interrupts before a call hangs up and another one rings
EARLY = 0.15  # share of the interrupts that come before the first word
EMPTY = 0.1  # share that reports no words
AT_ONCE = 0.3  # share followed by the next prompt in the same moment
FIRST_SECONDS = 5.0
SETTLE_SECONDS = 0.3
CLOSED_MS = 20.0  # until the upstream request is closed, at the 99th percentile

_TURN = re.compile(r"t(\d+)w\d+")


@dataclass(frozen=True, slots=True)
class Plan:
    count: int = 10_000
    calls: int = 16
    seed: int = 1
    script: Script = field(default_factory=lambda: Script("0.02:0.05", "0.008:0.02", tokens=40, numbered=True))


@dataclass(slots=True)
class Tally:
    seconds: float = 0.0
    waited: dict[str, float] = field(default_factory=dict)  # by process: for its core, in seconds
    interrupts: int = 0
    early: int = 0
    ghosts: list[str] = field(default_factory=list)
    silence: list[float] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)  # marker -> when its turn was interrupted
    silent_turns: int = 0  # turns of which no word came in time
    lost: int = 0


class _Caller:
    """One call after the other, each with a few interrupts."""

    def __init__(self, system: System, tally: Tally, rng: random.Random, markers: range) -> None:
        self._system = system
        self._tally = tally
        self._rng = rng
        self._markers = iter(markers)
        self._over = 0  # turns up to this one must not be heard any more
        self._turn = 0
        self._heard = ""
        self._began = asyncio.Event()
        self._interrupted_at = 0.0

    async def run(self, count: int, progress: Progress) -> None:
        """Makes so many interrupts."""
        while count > 0:
            call = await ring(self._system, hear=self._hear)
            try:
                for _ in range(min(count, PER_CALL)):
                    await self._interrupt(call)
                    count -= 1
                    progress.step()
                await asyncio.sleep(0.05)  # what follows the last one may be a ghost too
            except CallLost:
                self._tally.lost += 1
                count -= 1
            finally:
                await call.close()

    async def _interrupt(self, call: LoadCall) -> None:
        rng, tally = self._rng, self._tally
        turn = self._prompt(call)
        early = rng.random() < EARLY
        if early:
            await asyncio.sleep(rng.uniform(0, 0.015))
        else:
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._began.wait()
            except TimeoutError:
                tally.silent_turns += 1
                return
            await asyncio.sleep(rng.uniform(0, 0.15))
        spoken = bool(self._heard)
        words = self._heard.split()
        part = "" if rng.random() < EMPTY else " ".join(words[: rng.randint(0, len(words))])
        open_cycle = call.answer is not None and not call.answer.last
        at = call.interrupt(part, rng.randint(0, 2000))
        tally.interrupts += 1
        tally.early += not spoken
        if spoken:
            # Before its first word a turn is not interrupted: it goes on, until a prompt takes its place.
            call.after_all_before(lambda: self._handled(turn, at))
            if open_cycle:
                self._interrupted_at = at
                tally.sent[turn] = at
        if rng.random() >= AT_ONCE:
            await asyncio.sleep(rng.uniform(0, 0.03))

    def _prompt(self, call: LoadCall) -> int:
        before, self._turn = self._turn, next(self._markers)
        self._heard = ""
        self._began.clear()
        call.prompt(f"Please tell me about number {self._turn}")
        call.after_all_before(lambda: self._forbid(before))
        return self._turn

    def _handled(self, turn: int, at: float) -> None:
        self._forbid(turn)
        if self._interrupted_at == at:
            self._interrupted_at = 0.0  # the talk cycle had been closed before

    def _forbid(self, turn: int) -> None:
        self._over = max(self._over, turn)

    def _hear(self, frame: Text, at: float) -> None:
        if frame.last and self._interrupted_at:
            self._tally.silence.append(at - self._interrupted_at)
            self._interrupted_at = 0.0
        for turn in map(int, _TURN.findall(frame.token)):
            if turn <= self._over:
                self._tally.ghosts.append(f"a word of turn {turn} after turn {self._over} was over")
            elif turn == self._turn:
                self._heard += frame.token
                self._began.set()


async def interrupts(plan: Plan) -> bool:
    """Runs them, prints and saves what came of it. True if there was no ghost and no call was lost."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.count} interrupts over {plan.calls} calls at a time; {placed}")
    tally, records = Tally(), list[Answered]()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(cores.load) as endpoint,
            SYSTEMS["ours"](endpoint.url, cores.server, Path(folder)) as system,
        ):
            await endpoint.script(plan.script)
            processes = {"relay": system.child.pid, "caller": "self", "endpoint": endpoint.pid}
            before = {name: waited_seconds(process) for name, process in processes.items()}
            begun = time.monotonic()
            await _run(system, plan, tally)
            tally.seconds = time.monotonic() - begun
            tally.waited = {name: waited_seconds(process) - before[name] for name, process in processes.items()}
            await asyncio.sleep(SETTLE_SECONDS)
            records = await endpoint.take()
            metrics = await system.metrics()
    return _report(plan, tally, records, metrics, placed)


async def _run(system: System, plan: Plan, tally: Tally) -> None:
    rng = random.Random(plan.seed)
    share, rest = divmod(plan.count, plan.calls)
    room = plan.count + 1
    with Progress("interrupting", plan.count) as progress:
        await asyncio.gather(
            *(
                _Caller(system, tally, random.Random(rng.random()), range(1 + number * room, (number + 1) * room)).run(
                    share + (number < rest), progress
                )
                for number in range(plan.calls)
            )
        )


def _report(plan: Plan, tally: Tally, records: Sequence[Answered], metrics: str, cores: str) -> bool:
    # A turn that had all been written when the interrupt came has nothing to close.
    closes = [
        record.ended - tally.sent[record.marker]
        for record in records
        if record.closed_early and record.marker in tally.sent and record.ended >= tally.sent[record.marker]
    ]
    counted = figures.sample(metrics, "relay_ghost_frames_total")
    rows = [
        [label, str(len(values)), *(f"{value * 1e3:.2f}" for value in figures.percentiles(values).values())]
        for label, values in (("interrupt to silence", tally.silence), ("interrupt to upstream closed", closes))
    ]
    say(table(["ms", "count", "p50", "p90", "p99"], rows))
    rate = tally.interrupts / tally.seconds
    say(f"{tally.interrupts} interrupts, {tally.early} of them before the first word; {rate:.0f} a second")
    total, count = (figures.sample(metrics, f"relay_interrupt_seconds_{kind}") for kind in ("sum", "count"))
    own = figures.ratio(total, count) * 1e3
    say(f"in the relay, from the interrupt read to the talk cycle closed (relay_interrupt_seconds): mean {own:.2f} ms")
    waited = {name: seconds / tally.seconds for name, seconds in tally.waited.items()}
    say(f"waited for a core: {', '.join(f'{name} {share:.0%}' for name, share in waited.items())}")
    say(f"ghosts heard: {len(tally.ghosts)}, relay_ghost_frames_total: {counted:g}")
    say(f"turns without a word: {tally.silent_turns}, calls lost: {tally.lost}")
    for ghost in tally.ghosts[:5]:
        say(f"  {ghost}")
    good = not tally.ghosts and counted == 0 and not tally.lost and not tally.silent_turns
    say(f"no text of an old turn after an interrupt: {'reached' if good else 'MISSED'}")
    closed = figures.percentile(closes, 0.99) * 1e3
    say(f"upstream closed, p99 ms: {figures.verdict(closed, CLOSED_MS)}")
    figures.save(
        "interrupts",
        {
            "interrupts": tally.interrupts,
            "before_first_word": tally.early,
            "ghosts": len(tally.ghosts),
            "relay_ghost_frames_total": counted,
            "turns_without_a_word": tally.silent_turns,
            "calls_lost": tally.lost,
            "interrupt_to_silence_ms": {k: v * 1e3 for k, v in figures.percentiles(tally.silence).items()},
            "interrupt_to_upstream_closed_ms": {k: v * 1e3 for k, v in figures.percentiles(closes).items()},
            "relay_interrupt_seconds_mean_ms": own,
            "a_second": rate,
            "waited_for_a_core": waited,
            "calls": plan.calls,
            "cores": cores,
        },
        figures.curves(
            "After an interrupt",
            "ms",
            {"silence": [v * 1e3 for v in tally.silence], "upstream closed": [v * 1e3 for v in closes]},
        ),
    )
    return good and not closed > CLOSED_MS
