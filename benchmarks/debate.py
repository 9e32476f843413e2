"""What the debate adds to the model's own time, with many debates at once.

Debates begin with a topic and a side, so that each turn is one request to the model; the first turns of as many others,
whose topic has to be read, are measured by themselves. Every other client takes its answers as a stream. The endpoint's
records tell how long the model took for a turn. At the same time, and by the same client, the endpoint is asked
directly: what that adds is the measurement's own, the baseline.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks import figures
from benchmarks.endpoint import Answered, Script
from benchmarks.processes import CHECKOUT, BenchError, Cores, Endpoint
from benchmarks.systems import AGENTS, System, ours
from phone.progress import Progress, say, table

TARGET = 0.025  # seconds at p99
PAUSE = (0.5, 3.0)  # seconds between an answer and the next message
ANSWER_SECONDS = 30.0
SETTLE_SECONDS = 0.5
READ_ALOUD = "debating"
"""A word in whose turns the endpoint calls ``set_debate``."""

SET_DEBATE = orjson.dumps({"topic": "Whether to move", "stance": "It is better to stay."}).decode()


@dataclass(frozen=True, slots=True)
class Plan:
    """``first``, ``pace``: of the model, seconds, MEDIAN or MEDIAN:P95. ``direct``: clients of the endpoint itself."""

    debates: int = 200
    turns: int = 6
    first: str = "0.25:0.6"
    pace: str = "0.02"
    tokens: int = 60
    direct: int = 20
    seed: int = 1


@dataclass(slots=True)
class Taken:
    """Of one kind of turn, by its marker: when the client sent it, had the first words (a stream's), and had all.
    Monotonic seconds. ``failed``: how often, by what was answered."""

    sent: dict[int, float] = field(default_factory=dict)
    first: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)


async def debate(plan: Plan) -> bool:
    """Measures, prints and saves; True if the target was reached."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.debates} debates, {plan.turns} turns each, {plan.direct} clients of the endpoint itself; {placed}")
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        agents = Path(folder) / "agents"
        shutil.copytree(AGENTS, agents)
        shutil.copytree(CHECKOUT / "config" / "agents" / "debate", agents / "debate")
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with (
            Endpoint.start(cores.load) as endpoint,
            ours(endpoint.url, cores.server, Path(folder), agents=agents, variables=LATE) as system,
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            await endpoint.script(
                Script(plan.first, plan.pace, plan.tokens, tools={READ_ALOUD: ("set_debate", SET_DEBATE)})
            )
            return await _Run(plan, endpoint, system, http, placed).run()


LATE = {"FIRST_TOKEN_DEADLINE": "30"}  # one request a turn, however late the model is


class _Run:
    def __init__(
        self, plan: Plan, endpoint: Endpoint, system: System, http: aiohttp.ClientSession, placed: str
    ) -> None:
        self._plan = plan
        self._endpoint = endpoint
        self._system = system
        self._http = http
        self._placed = placed
        self._url = f"http://{system.base}/api/chat"
        self._markers = count(1)
        self._rng = random.Random(plan.seed)

    async def run(self) -> bool:
        plan = self._plan
        kinds = {name: Taken() for name in ("turn", "topic given", "topic read", "endpoint itself")}
        with Progress("opening debates", 2 * plan.debates) as progress:
            await self._all(
                [lambda n=n: self._open(kinds["topic read"], n, progress.step) for n in range(plan.debates)]
            )
            opened = await self._all(
                [
                    lambda n=n: self._open(kinds["topic given"], n, progress.step, topic="Moving", stance="Stay.")
                    for n in range(plan.debates)
                ]
            )
        await asyncio.sleep(SETTLE_SECONDS)
        child = self._system.child
        begun, cpu, waited = time.monotonic(), child.cpu_seconds(), child.waited_seconds()
        with Progress("debating", plan.turns * (plan.debates + plan.direct)) as progress:
            debates = [
                lambda n=n, of=of: self._talk(kinds["turn"], of, n, progress.step) for n, of in enumerate(opened) if of
            ]
            direct = [
                lambda n=n: self._ask_directly(kinds["endpoint itself"], progress.step) for n in range(plan.direct)
            ]
            await self._all([*debates, *direct])
        seconds = time.monotonic() - begun
        busy, missed = (child.cpu_seconds() - cpu) / seconds, (child.waited_seconds() - waited) / seconds
        child.check()
        return self._report(kinds, await self._endpoint.take(), seconds, busy, missed)

    async def _all(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Each at a drawn moment: people do not begin together."""

        async def later(job: Callable[[], Any], seconds: float) -> Any:
            await asyncio.sleep(seconds)
            return await job()

        return await asyncio.gather(*(later(job, self._rng.uniform(0, PAUSE[1])) for job in jobs))

    async def _open(self, taken: Taken, number: int, done: Callable[[], None], **given: str) -> str:
        """A new debate; its id, "" where that failed."""
        words = f"I think one should move, number {next(self._markers)}"
        answer = await self._post(taken, {"message": words if given else f"{READ_ALOUD} {words}", **given}, number)
        done()
        return str(answer.get("conversation_id", ""))

    async def _talk(self, taken: Taken, conversation: str, number: int, done: Callable[[], None]) -> None:
        for _ in range(self._plan.turns):
            await asyncio.sleep(self._rng.uniform(*PAUSE))
            words = f"But think of all that is gained by it, number {next(self._markers)}"
            await self._post(taken, {"conversation_id": conversation, "message": words}, number)
            done()

    async def _post(self, taken: Taken, body: dict[str, str], number: int) -> dict[str, Any]:
        """A turn, every other client's as a stream. {} where it failed, which is counted."""
        marker = int(body["message"].rpartition(" ")[2])
        headers = {"Accept": "text/event-stream" if number % 2 else "application/json"}
        answer: dict[str, Any] = {}
        raw = b""
        taken.sent[marker] = time.monotonic()
        async with self._http.post(self._url, json=body, headers=headers) as response:
            async for piece in response.content.iter_any():
                if not raw and number % 2:
                    taken.first[marker] = time.monotonic()
                raw += piece
        taken.ended[marker] = time.monotonic()
        if response.status == 200:
            last = raw.rpartition(b"event: done\ndata: ")[2] if number % 2 else raw
            answer = orjson.loads(last) if last.strip().startswith(b"{") else {}
        if "conversation_id" not in answer:
            taken.failed[f"{response.status} {raw[-200:].decode(errors='replace')}"] += 1
        return answer

    async def _ask_directly(self, taken: Taken, done: Callable[[], None]) -> None:
        for _ in range(self._plan.turns):
            await asyncio.sleep(self._rng.uniform(*PAUSE))
            marker = next(self._markers)
            body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": f"Number {marker}"}]}
            taken.sent[marker] = time.monotonic()
            async with self._http.post(f"{self._endpoint.url}/chat/completions", json=body) as response:
                await response.read()
            taken.ended[marker] = time.monotonic()
            if response.status != 200:
                taken.failed[str(response.status)] += 1
            done()

    def _report(
        self, kinds: dict[str, Taken], records: Sequence[Answered], seconds: float, busy: float, missed: float
    ) -> bool:
        by_marker: dict[int, list[Answered]] = defaultdict(list)
        for record in records:
            by_marker[record.marker].append(record)
        rows, saved = [], dict[str, Any]()
        for name, taken in kinds.items():
            requests = {marker: len(by_marker[marker]) for marker in taken.ended}
            wanted = 2 if name == "topic read" else 1
            if any(made != wanted for made in requests.values()):
                raise BenchError(f"{name}: a turn asked the model another number of times than {wanted}")
            added = [
                ended - taken.sent[marker] - sum(each.ended - each.at for each in by_marker[marker])
                for marker, ended in taken.ended.items()
            ]
            first = [
                # A word is known to be whole when the next one begins, which is when it is handed on.
                at - taken.sent[marker] - (by_marker[marker][0].second - by_marker[marker][0].at)
                for marker, at in taken.first.items()
                if wanted == 1
            ]
            whole = [ended - taken.sent[marker] for marker, ended in taken.ended.items()]
            saved[name] = {
                "turns": len(added),
                "failed": dict(taken.failed),
                "added_ms": _ms(added),
                "first_words_added_ms": _ms(first),
                "answer_s": figures.percentiles(whole),
            }
            rows.append(
                [
                    name,
                    str(len(added)),
                    _three(added, 1e3),
                    _three(first, 1e3),
                    _three(whole, 1),
                    str(taken.failed.total()),
                ]
            )
        heads = ["p50 / p90 / p99", "turns", "added, ms", "first words added, ms", "answer, s", "failed"]
        say(table(heads, rows))
        p99 = saved["turn"]["added_ms"]["p99"] / 1e3
        rate = self._plan.turns * self._plan.debates / seconds
        say(f"{rate:.0f} turns a second, the core {busy:.0%} busy; it could have run and had none {missed:.0%}")
        failed = sum((taken.failed for taken in kinds.values()), Counter[str]())
        say(f"added at p99, s: {figures.verdict(p99, TARGET)}; {failed.total()} failed")
        for told, times in failed.most_common(5):
            say(f"  {times} times: {told}")
        figures.save(
            "debate",
            {**asdict(self._plan), "cores": self._placed, "core_busy": busy, "had_none": missed, "of": saved},
        )
        return p99 <= TARGET and not failed


def _ms(values: Sequence[float]) -> dict[str, float]:
    return {name: value * 1e3 for name, value in figures.percentiles(values).items()} if values else {}


def _three(values: Sequence[float], scale: float) -> str:
    return " / ".join(f"{value * scale:.3g}" for value in figures.percentiles(values).values()) if values else "-"
