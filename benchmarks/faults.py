"""A model that goes wrong now and then: every turn must end in speech, in time, with each word said once.

Callers prompt, listen to the end and prompt again. Every word of the endpoint's answers carries its turn's number and
its place, so what was said is compared with what was to be said, word by word. Two runs: one in which shares of the
requests go wrong, also those that were made because another one did; and one in which none does, which shows what is
asked for without need.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.endpoint import Answered, Script
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import AGENTS, SYSTEMS, System, ring
from config.agents import load_agents
from config.settings import Settings
from phone.figures import percentiles
from phone.load import Answer, CallLost, LoadCall
from phone.progress import Progress, say, table

PER_CALL = 20  # turns before a call hangs up and another one rings
PAUSE = (0.1, 1.0)  # seconds between the end of an answer and the next prompt
TURN_SECONDS = 25.0  # until a turn that has not ended counts as silent
LOOK_SECONDS = 0.05  # between two looks at a turn whose talk cycle was closed
OVERHEAD = 0.05
MOST_EXTRA = 1.25  # requests a faulty reply
MOST_IDLE_EXTRA = 0.02  # requests a turn where nothing goes wrong
SETTLE_SECONDS = 0.5
FAULTS = {"slow": 0.05, "stall": 0.03, "cut": 0.03, "errors": 0.02, "limited": 0.02}
COUNTERS = ("relay_hedges_total", "relay_stalls_total", "relay_fallback_total", "relay_turn_failures_total")

_WORD = re.compile(r"t(\d+)w(\d+)")


@dataclass(frozen=True, slots=True)
class Plan:
    """``script`` of the run with faults; the other run's first token varies, so that some are late by nature."""

    turns: int = 1000
    calls: int = 25
    deadline: float = Settings.model_fields["first_token_deadline"].default
    varying: str = "0.25:0.6"
    script: Script = field(
        default_factory=lambda: Script("0.25", "0.02", tokens=60, numbered=True, faults=FAULTS, slow_for=5.0)
    )

    @property
    def bound(self) -> float:
        """Seconds until the first words, at the 99th percentile."""
        return self.deadline + float(self.script.first) + OVERHEAD


@dataclass(slots=True)
class Heard:
    """What the callers of one run heard. ``first``: seconds from a prompt to its first words. Of turns: ``whole``,
    every word once and in order; ``sorry``, ended in an apology; ``half``, ended before its end and without one;
    ``silent``, without a word, or its talk cycle left open. Of words: ``twice``; ``left_out`` in the middle;
    ``strange``, of another turn. ``lost``: calls."""

    turns: int = 0
    whole: int = 0
    sorry: int = 0
    half: int = 0
    silent: int = 0
    twice: int = 0
    left_out: int = 0
    strange: int = 0
    lost: int = 0
    first: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, marker: int, answer: Answer, apology: str, tokens: int) -> None:
        """A turn that is over."""
        self.turns += 1
        if answer.frames:
            self.first.append(answer.first - answer.sent)
        words = [(int(turn), int(place)) for turn, place in _WORD.findall(answer.text)]
        places = [place for turn, place in words if turn == marker]
        different, end = set(places), max(places, default=-1) + 1
        twice, left_out, strange = len(places) - len(different), end - len(different), len(words) - len(places)
        silent, sorry = answer.open or not answer.frames, apology in answer.text
        half = not silent and not sorry and end < tokens
        self.whole += places == list(range(tokens))
        self.sorry += sorry
        self.half += half
        self.silent += silent
        self.twice += twice
        self.left_out += left_out
        self.strange += strange
        if silent or half or twice or left_out or strange or places != sorted(places):
            self.wrong.append(f"turn {marker}: {answer.text!r}")


class _Caller:
    """One call after the other, each with a few turns."""

    def __init__(self, system: System, plan: Plan, heard: Heard, apology: str, rng: random.Random) -> None:
        self._system = system
        self._plan = plan
        self._heard = heard
        self._apology = apology
        self._rng = rng

    async def run(self, markers: Sequence[int], progress: Progress) -> None:
        left = list(markers)
        while left:
            now, left = left[:PER_CALL], left[PER_CALL:]
            call = await ring(self._system)
            try:
                for marker in now:
                    await asyncio.sleep(self._rng.uniform(*PAUSE))
                    answer = await self._turn(call, marker)
                    self._heard.take(marker, answer, self._apology, self._plan.script.tokens)
                    progress.step()
            except CallLost:
                self._heard.lost += 1
            finally:
                await call.close()

    async def _turn(self, call: LoadCall, marker: int) -> Answer:
        """Until all was said, or an apology, or nothing more is to be hoped for."""
        answer = call.prompt(f"Please tell me about number {marker}")
        until = call.clock() + TURN_SECONDS
        last = f"t{marker}w{self._plan.script.tokens - 1}"
        while call.clock() < until and not call.lost:
            # A closing frame may be that of a part: what is taken up again may come in a talk cycle of its own.
            if answer.frames and not answer.open and (last in answer.text or self._apology in answer.text):
                call.spoken()
                return answer
            await asyncio.sleep(LOOK_SECONDS)
        if call.lost:
            raise CallLost("the server closed the websocket")
        return answer


async def faults(plan: Plan) -> bool:
    """Runs both, prints and saves what came of it. True if every target was reached."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    shares = ", ".join(f"{share:.0%} {name}" for name, share in plan.script.faults.items())
    say(f"{plan.turns} turns over {plan.calls} calls at a time; {shares}; {placed}")
    quiet = replace(plan, script=replace(plan.script, faults={}, first=plan.varying))
    bad, good = await _run(plan, cores, "with faults"), await _run(quiet, cores, "without faults")
    return _report(plan, bad, good, placed)


@dataclass(slots=True)
class Run:
    heard: Heard
    requests: Sequence[Answered]
    metrics: str

    @property
    def extra(self) -> int:
        """Requests beside the one a turn needs."""
        return len(self.requests) - self.heard.turns

    @property
    def faulty(self) -> int:
        """Replies that went wrong, of those each turn began with."""
        begun: dict[int, str] = {}
        for request in sorted(self.requests, key=lambda request: request.at):
            begun.setdefault(request.marker, request.fault)
        return sum(1 for fault in begun.values() if fault)


async def _run(plan: Plan, cores: Cores, label: str) -> Run:
    heard = Heard()
    rng = random.Random(plan.script.seed)
    apology = load_agents(AGENTS)["bench"].says.line("apology", "en-US")
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with (
            Endpoint.start(cores.load) as endpoint,
            SYSTEMS["ours"](endpoint.url, cores.server, Path(folder)) as system,
        ):
            await endpoint.script(plan.script)
            markers = range(1, plan.turns + 1)
            with Progress(label, plan.turns) as progress:
                await asyncio.gather(
                    *(
                        _Caller(system, plan, heard, apology, random.Random(rng.random())).run(
                            markers[number :: plan.calls], progress
                        )
                        for number in range(plan.calls)
                    )
                )
            await asyncio.sleep(SETTLE_SECONDS)
            run = Run(heard, await endpoint.take(), await system.metrics())
            system.child.check()
    if not heard.turns:
        raise BenchError("no call had a turn")
    return run


def _report(plan: Plan, bad: Run, good: Run, cores: str) -> bool:
    columns = ("turns", "whole", "sorry", "half", "silent", "twice", "left_out", "strange")
    rows = []
    for name, run in (("with faults", bad), ("without", good)):
        heard, first = run.heard, percentiles(run.heard.first)
        rows.append(
            [
                name,
                *(str(getattr(heard, column)) for column in columns),
                *(f"{first[p]:.3f}" for p in first),
                str(len(run.requests)),
                str(run.faulty),
                str(run.extra),
            ]
        )
    heads = ["", *columns, "first words p50", "p95", "p99 s", "requests", "faulty", "further"]
    say(table([head.replace("_", " ") for head in heads], rows))
    say(f"what went wrong in requests, also those made because of another one: {_counts(Counter(_faults(bad))) or '-'}")
    for name in COUNTERS:
        say(f"{name}: {_counts(_counted(bad, name)) or '0'}; without faults {_counts(_counted(good, name)) or '0'}")
    for line in (bad.heard.wrong + good.heard.wrong)[:5]:
        say(f"  {line}")
    say()
    p99 = percentiles(bad.heard.first)["p99"]
    silent = sum(run.heard.silent + run.heard.half + run.heard.lost for run in (bad, good))
    twice = sum(run.heard.twice for run in (bad, good))
    astray = sum(run.heard.left_out + run.heard.strange for run in (bad, good))
    extra = figures.ratio(bad.extra, bad.faulty)
    idle = good.extra / good.heard.turns
    targets = [
        ("turns or calls that did not end in speech", silent, 0.0),
        ("first words p99, seconds", p99, plan.bound),
        ("words said twice", twice, 0.0),
        ("words left out, or of other turns", astray, 0.0),
        ("further requests a faulty reply", extra, MOST_EXTRA),
        ("further requests a turn without faults", idle, MOST_IDLE_EXTRA),
    ]
    say(table(["", ""], [[label, figures.verdict(value, limit)] for label, value, limit in targets]))
    figures.save(
        "faults",
        {
            "script": {name: getattr(plan.script, name) for name in Script.__slots__},
            "calls": plan.calls,
            "cores": cores,
            "bound_s": plan.bound,
            "further_a_faulty_reply": extra,
            "further_a_turn_without_faults": idle,
            "with_faults": _figures(bad),
            "without_faults": _figures(good),
        },
        figures.curves("First words", "s", {"with faults": bad.heard.first, "without": good.heard.first}),
    )
    return all(value <= limit for _, value, limit in targets)


def _figures(run: Run) -> dict[str, Any]:
    heard = run.heard
    return {
        **{name: getattr(heard, name) for name in Heard.__slots__ if name not in ("first", "wrong")},
        "first_s": percentiles(heard.first),
        "requests": len(run.requests),
        "faulty_first_replies": run.faulty,
        "faults": dict(Counter(_faults(run))),
        "counters": {name: _counted(run, name) for name in COUNTERS},
    }


def _faults(run: Run) -> list[str]:
    return [request.fault for request in run.requests if request.fault]


def _counted(run: Run, name: str) -> dict[str, float]:
    """By label; "" is that of a counter that has none."""
    one = figures.sample(run.metrics, name)
    return figures.samples(run.metrics, name) if math.isnan(one) else {"": one}


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {name}".rstrip() for name, count in sorted(counts.items()) if count)
