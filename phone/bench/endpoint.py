"""The model endpoint of ``relay bench``, in a process of its own: its words carry their clocks.

    python -m phone.bench.endpoint '{"port": 9000, "first": "0.25:0.6", "gap": "0.02", "tokens": 60, "seed": 1}'

Each word is one token, with the space behind it: a server that speaks whole words only has no token more to wait for
than one that hands on what it gets, so what they add compares. A request that already holds spoken words of its answer
is answered by the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from phone.bench.lag import Lag
from phone.bench.words import asked, clocked, stamp
from phone.driven import Driven, answer, tell
from phone.loops import fast_runner
from phone.model import Ask, Delay, Fault, Load, ModelServer, Reply

FAULTS = {"late": "slow", "stall": "stall", "cut": "cut", "error": "errors"}
"""What may go wrong -> its name in ``phone.model.Load``."""
_KINDS = {"slow": "late", "stall": "stall", "cut": "cut", "status": "error"}
LATE_SECONDS = 5.0
FOR_EVER = 3600.0


@dataclass(frozen=True, slots=True)
class Script:
    """``first``, ``gap``: seconds, MEDIAN or MEDIAN:P95. ``faults``: each one's share of the answers, by the names of
    ``FAULTS``; what is late comes after five seconds more, what stalls never goes on."""

    port: int = 0
    first: str = "0.25:0.6"
    gap: str = "0.02"
    tokens: int = 60
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1


@dataclass(slots=True)
class Counts:
    """What it did until now. Of tokens: those written. ``cut_short``: answers the client wanted no more of."""

    requests: int = 0
    tokens: int = 0
    cut_short: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    lag: list[float] = field(default_factory=list)


class Behaviour:
    """Makes the replies: the same seed and the same order of requests give the same ones."""

    def __init__(self, script: Script) -> None:
        self.requests = self.tokens = 0
        self.faults: Counter[str] = Counter()
        self._script = script
        self._first, self._gap = Delay.parse(script.first), Delay.parse(script.gap)
        shares = {FAULTS[name]: share for name, share in script.faults.items()}
        self._load = Load(tokens=script.tokens, slow_for=LATE_SECONDS, stall_for=FOR_EVER).changed(shares)
        self._rng = random.Random(script.seed)

    def __call__(self, ask: Ask) -> Reply:
        rng, gap = self._rng, self._gap
        self.requests += 1
        turn, spoken = asked(ask.entries)
        words = tuple(clocked(turn, place, ask.at) + " " for place in range(spoken, self._script.tokens))
        fault = self._fault(len(words))
        return Reply(
            text=words,
            first=self._first.sample(rng),
            pace=gap.median if gap.p95 <= gap.median else lambda: gap.sample(rng),
            fault=fault,
            stamp=partial(self._stamp, ask.at),
        )

    def _fault(self, words: int) -> Fault | None:
        fault = self._load.fault(self._rng)
        if fault is None:
            return None
        self.faults[_KINDS[fault.kind]] += 1
        return replace(fault, at=min(fault.at, words))

    def _stamp(self, read: float, data: bytes) -> bytes:
        self.tokens += 1
        return stamp(data, time.monotonic() - read)


async def _serve(script: Script) -> None:
    behaviour, lag = Behaviour(script), Lag()
    server = ModelServer(behaviour, port=script.port, keep=0)
    try:
        await server.start()
    except OSError as error:
        tell({"problem": f"The model endpoint cannot listen on port {script.port}: {os.strerror(error.errno or 0)}."})
        return

    def take(order: dict[str, Any]) -> Mapping[str, object]:
        counts = Counts(behaviour.requests, behaviour.tokens, server.closed_early, dict(behaviour.faults), lag.take())
        return asdict(counts)

    measuring = asyncio.create_task(lag.run(), name="lag")
    try:
        await answer({"url": server.url}, take)
    finally:
        measuring.cancel()
        await asyncio.wait([measuring])
        await server.close()


class Endpoint:
    """The endpoint's process, for whoever started it."""

    def __init__(self, driven: Driven) -> None:
        self.url: str = driven.ready["url"]
        self.pid = driven.pid
        self._driven = driven

    @classmethod
    @asynccontextmanager
    async def start(cls, script: Script) -> AsyncIterator[Endpoint]:
        """Listens once entered, on loopback. Raises NotDriven when the port is taken."""
        command = [sys.executable, "-m", "phone.bench.endpoint", orjson.dumps(asdict(script)).decode()]
        async with Driven.start("the model endpoint", command) as driven:
            yield cls(driven)

    async def counts(self) -> Counts:
        """Of ``lag`` only what is new since it was last asked. Raises NotDriven."""
        return Counts(**await self._driven.ask({}))


def main() -> None:
    # Callers interrupt and relays hang up in the middle of an answer: here that is no error.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with fast_runner() as runner:
        try:
            runner.run(_serve(Script(**orjson.loads(sys.argv[1]))))
        except KeyboardInterrupt:
            pass  # it is for whoever started this, too


if __name__ == "__main__":
    main()
