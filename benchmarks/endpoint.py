"""The model's side: ``phone/model.py`` with a clock at the first words, driven by lines of JSON on standard input.

    {"script": {"first": "0.25:0.5", "pace": "0.02", "tokens": 60}}    how it answers from now on
    {"take": true}                                                     what it answered since it was last asked

Each line is answered by one line. A request is known by the last number the caller said, its *marker*; with
``numbered`` every word of the answer carries it and its place, so that one can tell whose words a frame holds and
whether one is missing. With ``whole`` the answer is one piece, sent at once. Some answers go wrong, by the shares in
``faults``. It ends when standard input does.

A request that holds words of a numbered answer, spoken already, asks for the rest. It is answered as models do it, one
way or another: with the whole answer anew, with a few of the spoken words again, or with just what follows.

``--tls FOLDER`` serves https with ``cert.pem`` and ``key.pem`` of that folder, ``--keep-alive SECONDS`` closes idle
connections. The first line it writes tells its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from phone.bench.words import asked, word
from phone.driven import answer
from phone.model import Ask, Delay, Fault, Load, ModelServer, Recorded, Reply, ToolUse

KEEP = 100_000
SWEEP_SECONDS = 0.5
FOR_EVER = 3600.0
OVERLAP = 4  # words that are said again at the most by one who takes up what was cut

_SENTENCE = (
    "Certainly the apartment by the river has two bright rooms and a balcony which looks over the water and it is free "
    "from Monday on so would you like to see it this week or shall I tell you a little more about the house and the "
    "street and what is near it"
)
WORDS = tuple(_SENTENCE.split())


@dataclass(frozen=True, slots=True)
class Script:
    """How the endpoint answers. ``first``, ``pace``: seconds, MEDIAN or MEDIAN:P95. ``faults``: shares of the answers
    that go wrong, by the names of ``phone.model.Load``, each request drawn for itself; a stall has no end. ``tools``:
    word -> tool and its arguments as JSON text, called first where the caller says the word. The same ``seed`` and
    order of requests give the same answers. Where a request has to call it, nothing is said besides."""

    first: str = "0"
    pace: str = "0"
    tokens: int = 20
    whole: bool = False
    numbered: bool = False
    faults: Mapping[str, float] = field(default_factory=dict)
    tools: Mapping[str, Sequence[str]] = field(default_factory=dict)
    slow_for: float = 5.0
    seed: int = 1


@dataclass(slots=True)
class Answered:
    """One request. Times are ``time.monotonic`` of this machine, in seconds; 0 is not reached.

    connected: its connection was open. at: the request was read. first, second: the moment before these words were
    written. ended: the last was, or the client's close was seen. messages: without the instructions. size: bytes of
    the request. sent: pieces written. fault: what went wrong, "" for nothing. spoken: words it was told are spoken.
    by: "POST", or "WS" for a websocket.
    """

    marker: int
    at: float
    first: float
    second: float
    ended: float
    sent: int
    closed_early: bool
    messages: int
    tools: int
    size: int
    connection: int
    connected: float
    fault: str
    spoken: int
    by: str


@dataclass(frozen=True, slots=True)
class _Made:
    """What belongs to a request until it is over."""

    first: _Mark
    second: _Mark
    marker: int
    fault: str
    spoken: int


class _Mark(asyncio.Event):
    """A gate nobody waits at: it notes when the reply came by."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    async def wait(self) -> bool:  # type: ignore[override]
        self.at = time.monotonic()
        return True


class Behaviour:
    """Makes the replies and keeps their marks until the request is over."""

    def __init__(self) -> None:
        self.script = Script()
        self._load = Load()
        self._rng = random.Random(1)
        self._made: dict[int, _Made] = {}

    def play(self, script: Script) -> None:
        """From now on."""
        waits = {"slow_for": script.slow_for, "stall_for": FOR_EVER}
        self._load = Load(tokens=script.tokens).changed({**script.faults, **waits})
        self._rng = random.Random(script.seed)
        self.script = script

    def __call__(self, ask: Ask) -> Reply:
        script, rng = self.script, self._rng
        marker, spoken = asked(ask.entries)
        words = _words(script, marker)
        if spoken and script.numbered:
            words = words[self._from(spoken) :]
        pace = Delay.parse(script.pace)
        fault = self._load.fault(rng) if script.faults else None
        if fault is not None and fault.at > len(words):
            fault = replace(fault, at=len(words))
        made = _Made(_Mark(), _Mark(), marker, _name(fault), spoken)
        self._made[id(ask)] = made
        uses = _uses(script, ask)
        forced = bool(uses) and ask.tool_choice not in ("auto", "none")
        return Reply(
            text=() if forced else ("".join(words),) if script.whole else words[: len(words) // 4 if uses else None],
            tools=uses,
            first=Delay.parse(script.first).sample(rng),
            pace=pace.median if pace.p95 <= pace.median else lambda: pace.sample(rng),
            gates={0: made.first, 1: made.second},
            fault=fault,
        )

    def _from(self, spoken: int) -> int:
        """The word with which a model goes on that was told that so many are spoken."""
        match self._rng.choice(("anew", "overlapping", "going on")):
            case "anew":
                return 0
            case "overlapping":
                return max(0, spoken - self._rng.randint(1, OVERLAP))
        return spoken

    def answered(self, record: Recorded) -> Answered | None:
        """What became of a request that is over; None if it never was one for an answer."""
        if record.ask is None or (made := self._made.pop(id(record.ask), None)) is None:
            return None
        return Answered(
            marker=made.marker,
            at=record.at,
            first=made.first.at,
            second=made.second.at,
            ended=record.ended_at,
            sent=record.sent,
            closed_early=record.closed_early,
            messages=len(record.ask.entries),
            tools=len(record.body.get("tools", ())),
            size=record.ask.size,
            connection=record.connection,
            connected=record.connected_at,
            fault=made.fault,
            spoken=made.spoken,
            by=record.method,
        )


def _uses(script: Script, ask: Ask) -> list[ToolUse]:
    """The tool that what was said last is about, if there is such; none where it is not the caller who has spoken
    last."""
    if not script.tools or not ask.entries or ask.entries[-1].kind != "user":
        return []
    said = ask.entries[-1].text.split()
    return [ToolUse(*use) for word, use in script.tools.items() if word in said and use[0] in ask.tools]


def _name(fault: Fault | None) -> str:
    return "" if fault is None else str(fault.status) if fault.kind == "status" else fault.kind


def _words(script: Script, marker: int) -> tuple[str, ...]:
    names = [word(marker, n) if script.numbered else WORDS[n % len(WORDS)] for n in range(script.tokens)]
    return tuple((" " if n else "") + name for n, name in enumerate(names))


async def serve(tls: ssl.SSLContext | None, keep_alive: float) -> None:
    behaviour = Behaviour()
    finished: deque[Answered] = deque(maxlen=KEEP)
    async with ModelServer(behaviour, keep=KEEP, tls=tls, keep_alive=keep_alive) as server:

        def sweep() -> None:
            """Bodies are large; of a request that is over only the row is kept."""
            waiting = [record for record in server.requests if not record.ended.is_set()]
            for record in server.requests:
                if record.ended.is_set() and (row := behaviour.answered(record)) is not None:
                    finished.append(row)
            server.requests.clear()
            server.requests.extend(waiting)

        async def sweeping() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                sweep()

        def take(order: dict[str, Any]) -> dict[str, Any]:
            if "script" in order:
                behaviour.play(Script(**order["script"]))
                return {"script": asdict(behaviour.script)}
            sweep()
            rows = [asdict(row) for row in finished]
            finished.clear()
            return {"answered": rows}

        sweeper = asyncio.create_task(sweeping(), name="sweep")
        await answer({"url": server.url}, take)
        sweeper.cancel()
        await asyncio.wait([sweeper])


def main() -> None:
    import uvloop

    # Callers interrupt, relays hang up in the middle of an answer: here that is no error.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endpoint")
    parser.add_argument("--tls", type=Path)
    parser.add_argument("--keep-alive", type=float, default=FOR_EVER)
    options = parser.parse_args()
    tls = None
    if options.tls is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls / "cert.pem", options.tls / "key.pem")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(tls, options.keep_alive))
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
