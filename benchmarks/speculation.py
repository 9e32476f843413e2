"""How much earlier the first words come when partial prompts are asked ahead of the final one, and what that costs.

Callers speak as Twilio tells them: partial prompts a gap apart, the utterance from its beginning each time, the last
one whole; and after one gap more the final prompt. Half of the turns end so (*confirmed*); in the others the final
prompt has a word more than the last partial (*changed*), so that what was asked ahead is of no use. Half of the calls
have an agent that asks ahead, the others the same agent without: the baseline, in the same process at the same time.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import AGENTS, System, ours, ring_all
from phone.load import CallLost, LoadCall
from phone.progress import Progress, say, table
from relay.frames import Prompt

EARLIER = 0.25  # seconds at p50, for a final prompt that confirms
PAUSE = (0.2, 0.6)  # seconds between the end of an answer and the next utterance
ANSWER_SECONDS = 30.0
KINDS = ("confirmed", "changed")
AGENT = {"without": "bench", "ahead": "ahead"}


@dataclass(frozen=True, slots=True)
class Plan:
    calls: int = 10
    turns: int = 10
    first: str = "0.4"
    pace: str = "0.02"
    tokens: int = 20
    gap: float = 0.3
    seed: int = 1


@dataclass(slots=True)
class Tally:
    """``seconds``: from the final prompt to the first words, by (way, kind). ``markers``: the turns of each."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    markers: dict[int, tuple[str, str]] = field(default_factory=dict)
    lost: int = 0


async def speculation(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it. True if the target was reached and no call was lost."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.calls} calls that ask ahead and {plan.calls} that do not, {plan.turns} turns of each kind; {placed}")
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        async with (
            Endpoint.start(cores.load) as endpoint,
            ours(endpoint.url, cores.server, folder, agents=_agents(folder / "agents")) as system,
        ):
            await endpoint.script(Script(plan.first, plan.pace, plan.tokens))
            await _talk(system, plan, tally)
            records = await endpoint.take()
            metrics = await system.metrics()
    requests = {key: 0 for key in tally.seconds}
    for record in records:
        requests[tally.markers[record.marker]] += 1
    return _report(plan, tally, requests, metrics, placed)


def _agents(folder: Path) -> Path:
    """The bench agent as it is, and once more with speculation."""
    for name in AGENT.values():
        shutil.copytree(AGENTS / "bench", folder / name)
    toml = folder / AGENT["ahead"] / "agent.toml"
    toml.write_text('speculation = "on"\n' + toml.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


async def _talk(system: System, plan: Plan, tally: Tally) -> None:
    calls = {way: await ring_all(system, plan.calls, agent=agent) for way, agent in AGENT.items()}
    rng = random.Random(plan.seed)
    markers = iter(range(1, 1 + 2 * plan.calls * plan.turns * len(KINDS)))
    try:
        with Progress("speaking", 2 * plan.calls * plan.turns * len(KINDS)) as progress:
            await asyncio.gather(
                *(
                    _call(
                        call, way, [next(markers) for _ in range(plan.turns * len(KINDS))], plan, rng, tally, progress
                    )
                    for way in AGENT
                    for call in calls[way]
                )
            )
    finally:
        await asyncio.gather(*(call.close() for each in calls.values() for call in each))


async def _call(
    call: LoadCall, way: str, markers: Sequence[int], plan: Plan, rng: random.Random, tally: Tally, progress: Progress
) -> None:
    for number, marker in enumerate(markers):
        kind = KINDS[number % len(KINDS)]
        tally.markers[marker] = way, kind
        await asyncio.sleep(rng.uniform(*PAUSE))
        try:
            for partial in (
                "And could you",
                "And could you tell me more about",
                f"And could you tell me more about {marker}?",
            ):
                call.send(Prompt(partial, "en-US", last=False))
                await asyncio.sleep(plan.gap)
            more = "" if kind == "confirmed" else " please"
            answer = await call.prompt(f"and could you tell me more about {marker}{more}").ended(within=ANSWER_SECONDS)
            call.spoken()
        except CallLost:
            tally.lost += 1
        else:
            tally.seconds.setdefault((way, kind), []).append(answer.first - answer.sent)
        progress.step()


def _report(plan: Plan, tally: Tally, requests: Mapping[tuple[str, str], int], metrics: str, cores: str) -> bool:
    if not all((way, kind) in tally.seconds for way in AGENT for kind in KINDS):
        raise BenchError("no turn of one kind was answered")
    rows, found = [], {}
    for kind in KINDS:
        for way in AGENT:
            seconds = tally.seconds[way, kind]
            spread = {name: value * 1e3 for name, value in figures.percentiles(seconds).items()}
            each = requests[way, kind] / len(seconds)
            rows.append(
                [f"{kind}, {way}", str(len(seconds)), *(f"{value:.1f}" for value in spread.values()), f"{each:.2f}"]
            )
            found[f"{kind}_{way}"] = {"turns": len(seconds), "first_words_ms": spread, "requests_a_turn": each}
    say(table(["ms", "turns", "p50", "p90", "p99", "requests a turn"], rows))
    earlier = {
        kind: figures.median(tally.seconds["without", kind]) - figures.median(tally.seconds["ahead", kind])
        for kind in KINDS
    }
    counted = {
        result: figures.sample(metrics, rf'relay_speculation_total\{{result="{result}"\}}')
        for result in ("used", "discarded", "failed")
    }
    counted = {result: count for result, count in counted.items() if count == count}
    wasted = figures.sample(metrics, "relay_wasted_tokens_total")
    ahead = sum(len(tally.seconds["ahead", kind]) for kind in KINDS)
    say(f"asked ahead: {', '.join(f'{count:g} {result}' for result, count in counted.items())}")
    say(f"wasted tokens: {wasted:g}, {wasted / ahead:.0f} a turn that asks ahead (mostly instructions and history)")
    good = earlier["confirmed"] >= EARLIER
    say(
        f"first words earlier at p50: {earlier['confirmed'] * 1e3:.1f} ms confirmed "
        f"(>= {EARLIER * 1e3:g}: {'reached' if good else 'MISSED'}), {earlier['changed'] * 1e3:.1f} ms changed; "
        f"calls lost: {tally.lost}"
    )
    figures.save(
        "speculation",
        {
            **found,
            "earlier_at_p50_ms": {kind: seconds * 1e3 for kind, seconds in earlier.items()},
            "asked_ahead": counted,
            "wasted_tokens": wasted,
            "calls_lost": tally.lost,
            "gap_ms": plan.gap * 1e3,
            "first": plan.first,
            "pace": plan.pace,
            "cores": cores,
        },
        figures.curves(
            "From the final prompt to the first words",
            "ms",
            {way: [v * 1e3 for v in tally.seconds[way, "confirmed"]] for way in AGENT},
        ),
    )
    return good and not tally.lost
