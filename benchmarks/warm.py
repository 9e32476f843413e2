"""Whether a turn ever waits for a connection: an endpoint behind TLS, at a distance, that closes idle connections.

Turns in all situations in which a connection may be missing, each beside the tenth turn of the same call, for which it
is there. The endpoint tells when the connection of each request was open: opened after the prompt was sent, its
handshake was paid for by the caller. While all this goes on pings are sent to the reader, which nothing may hold up.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import figures
from benchmarks.distance import distance
from benchmarks.endpoint import Answered, Script
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import System, ours, ring
from phone.load import Answer, CallLost, LoadCall
from phone.progress import Progress, say, table
from relay.frames import ClientSpeaking

PICKED_UP = 0.5  # seconds from the beginning of a call to the caller's first sound
SPEECH = 0.6  # seconds the caller speaks
RECOGNISED = 0.3  # seconds from there to the final prompt
BREATH = 1.0  # seconds from one situation to the next, where nothing else is said
PING_EVERY = 0.02
ANSWER_SECONDS = 20.0
STAGGER = 0.15  # seconds between the relays, so that they do not speak at once
REPEATS = 3  # of what takes no quiet

TENTH = "tenth turn"
FIRST = "first turn of a process"
LATER = "first turn of a later call"
QUIET = "after quiet"
UNTOLD = "after quiet, no sign of the caller"
CANCELLED = "after a cancelled turn"
QUICK = "after three in quick succession"


@dataclass(frozen=True, slots=True)
class Plan:
    """``relays`` side by side, each with its own connections, started anew for each of ``rounds``. ``one_way``: seconds
    to the endpoint, which closes what was idle for ``keep_alive``; the callers are quiet for longer."""

    relays: int = 6
    rounds: int = 4
    one_way: float = 0.02
    keep_alive: float = 5.0
    quiet: float = 8.0
    script: Script = field(default_factory=lambda: Script("0.05", "0.01", tokens=10))

    @property
    def trip(self) -> float:
        return 2 * self.one_way


@dataclass(slots=True)
class Taken:
    """What was measured: of each situation (marker, seconds to the first words less those of the tenth turn beside
    it). ``tenth``: those seconds. ``prompted``: when, by marker. ``pings``: seconds through the reader and back."""

    by: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    tenth: list[float] = field(default_factory=list)
    prompted: dict[int, float] = field(default_factory=dict)
    pings: list[float] = field(default_factory=list)


class _Caller:
    """Calls one relay, in one situation after the other."""

    def __init__(self, system: System, plan: Plan, taken: Taken, markers: Sequence[int]) -> None:
        self._system = system
        self._plan = plan
        self._taken = taken
        self._markers = iter(markers)
        self._tenth = 0.0
        self._heard = asyncio.Event()
        self._call: LoadCall
        self._pinging: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """The first ten turns, right after the process has started."""
        await self._ring()
        first = await self._said(announced=True)
        for _ in range(8):
            await self._said()
        tenth = await self._said()
        self._tenth = tenth[1]
        self._taken.tenth.append(self._tenth)
        self._note(TENTH, tenth)
        self._note(FIRST, first)

    async def go_on(self) -> None:
        await self._said(announced=True)
        for _ in range(REPEATS):
            await self._cancel()
            self._note(CANCELLED, await self._said())
            await asyncio.sleep(BREATH)
            for _ in range(3):
                await self._cancel()
            self._note(QUICK, await self._said())
            await asyncio.sleep(BREATH)
        await asyncio.sleep(self._plan.quiet)
        self._note(QUIET, await self._said(announced=True))
        await asyncio.sleep(self._plan.quiet)
        self._note(UNTOLD, await self._said())
        await self.end()
        await asyncio.sleep(self._plan.quiet)
        await self._ring()
        self._note(LATER, await self._said(announced=True))
        await self.end()

    async def end(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])
            await self._call.close()
            self._pinging = None

    async def _ring(self) -> None:
        self._call = await ring(self._system, hear=lambda frame, at: self._heard.set())
        self._pinging = asyncio.create_task(self._ping(), name="ping")
        await asyncio.sleep(PICKED_UP)

    async def _said(self, *, announced: bool = False) -> tuple[int, float]:
        """A turn, heard to its end: its marker, and the seconds until its first words."""
        if announced:
            self._call.send(ClientSpeaking(True))
            await asyncio.sleep(SPEECH)
            self._call.send(ClientSpeaking(False))
            await asyncio.sleep(RECOGNISED)
        marker, answer = self._prompt()
        await self._until(lambda: answer.frames > 0 and not answer.open)
        self._call.spoken()
        return marker, answer.first - answer.sent

    async def _cancel(self) -> None:
        """A turn, interrupted at its first words. The next one follows in the same moment."""
        _, answer = self._prompt()
        await self._until(lambda: answer.frames > 0)
        self._call.interrupt("")

    async def _until(self, done: Callable[[], bool]) -> None:
        """Looks after every frame. Raises CallLost."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not done():
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise CallLost(f"no answer within {ANSWER_SECONDS:g} s") from None

    def _prompt(self) -> tuple[int, Answer]:
        marker = next(self._markers)
        answer = self._call.prompt(f"Please tell me about number {marker}")
        self._taken.prompted[marker] = answer.sent
        return marker, answer

    def _note(self, situation: str, turn: tuple[int, float]) -> None:
        marker, seconds = turn
        self._taken.by.setdefault(situation, []).append((marker, seconds - self._tenth))

    async def _ping(self) -> None:
        call = self._call

        def pong(sent: float) -> None:
            self._taken.pings.append(call.clock() - sent)

        while not call.lost:
            call.after_all_before(partial(pong, call.clock()))
            await asyncio.sleep(PING_EVERY)


async def warm(plan: Plan) -> bool:
    """Measures, prints and saves; True if no turn waited for a connection, but those that nothing foretold."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(
        f"{plan.relays} relays, {plan.rounds} rounds; a round trip of {plan.trip * 1e3:g} ms to an endpoint behind TLS "
        f"that closes what is idle for {plan.keep_alive:g} s; quiet lasts {plan.quiet:g} s; {placed}"
    )
    taken, records = Taken(), list[Answered]()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        place = Path(folder)
        make_certificate(place)
        async with _far_endpoint(plan, cores, place) as (endpoint, url):
            await endpoint.script(plan.script)
            with Progress("measuring", plan.rounds) as progress:
                for number in range(plan.rounds):
                    await _round(plan, number, cores, place, url, taken)
                    progress.step()
            records = await endpoint.take()
    return _report(plan, taken, records, placed)


@asynccontextmanager
async def _far_endpoint(plan: Plan, cores: Cores, folder: Path) -> AsyncIterator[tuple[Endpoint, str]]:
    options = ("--tls", str(folder), "--keep-alive", f"{plan.keep_alive:g}")
    async with Endpoint.start(cores.load, *options) as endpoint:
        port = urlsplit(endpoint.url).port
        assert port is not None
        async with distance(port, plan.one_way) as far:
            yield endpoint, f"https://127.0.0.1:{far}/v1"


async def _round(plan: Plan, number: int, cores: Cores, folder: Path, url: str, taken: Taken) -> None:
    """All situations once. Relays start one after the other: a start takes the core from those that are measured."""
    markers = count(1 + 1_000_000 * number)
    async with AsyncExitStack() as stack:
        callers = []
        for relay in range(plan.relays):
            place = folder / f"{number}-{relay}"
            place.mkdir()
            trust = {"SSL_CERT_FILE": str(folder / "cert.pem")}
            system = await stack.enter_async_context(ours(url, cores.server, place, variables=trust))
            caller = _Caller(system, plan, taken, [next(markers) for _ in range(100)])
            stack.push_async_callback(caller.end)
            callers.append(caller)
            await caller.begin()

        async def later(caller: _Caller, seconds: float) -> None:
            await asyncio.sleep(seconds)
            await caller.go_on()

        async with asyncio.TaskGroup() as group:
            for place_in_row, caller in enumerate(callers):
                group.create_task(later(caller, STAGGER * place_in_row))


def make_certificate(folder: Path) -> None:
    """``cert.pem`` and ``key.pem`` of 127.0.0.1, good for a day. Raises BenchError."""
    if shutil.which("openssl") is None:
        raise BenchError("the program openssl is needed to make a certificate")
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out"]
    command = ["openssl", *options.split(), *names, str(folder / "cert.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl made no certificate: {done.stderr.strip()[-200:]}")


def _report(plan: Plan, taken: Taken, records: Sequence[Answered], cores: str) -> bool:
    by_marker: dict[int, Answered] = {}
    for record in records:
        by_marker.setdefault(record.marker, record)
    rows, saved, reached = [], dict[str, object](), True
    for situation, turns in taken.by.items():
        late = [seconds for _, seconds in turns]
        cold = sum(1 for marker, _ in turns if by_marker[marker].connected > taken.prompted[marker])
        p50, p99 = figures.percentile(late, 0.5), figures.percentile(late, 0.99)
        # A connection costs two round trips; less than one is no connection, but the noise of this machine.
        good = not cold and p99 < plan.trip
        counts = situation not in (TENTH, UNTOLD)
        reached = reached and (good or not counts)
        verdict = ("reached" if good else "missed") if counts else "-"
        rows.append([situation, str(len(turns)), f"{p50 * 1e3:+.1f}", f"{p99 * 1e3:+.1f}", str(cold), verdict])
        saved[situation] = {"turns": len(turns), "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "waited": cold}
    tenth = figures.percentiles(taken.tenth)
    say(f"first words of the tenth turn: {', '.join(f'{name} {value * 1e3:.1f}' for name, value in tenth.items())} ms")
    say(table(["first words, ms, to the tenth turn's", "turns", "p50", "p99", "waited for a connection", ""], rows))
    pings: Mapping[str, float] = {**figures.percentiles(taken.pings), "most": max(taken.pings)}
    say(f"pings through the reader: {', '.join(f'{name} {value * 1e3:.2f}' for name, value in pings.items())} ms")
    say(f"no turn waits for a connection: {'reached' if reached else 'MISSED'}")
    figures.save(
        "warm",
        {
            "round_trip_ms": plan.trip * 1e3,
            "keep_alive_s": plan.keep_alive,
            "quiet_s": plan.quiet,
            "cores": cores,
            "tenth_ms": {name: value * 1e3 for name, value in tenth.items()},
            "to_the_tenth": saved,
            "pings_ms": {name: value * 1e3 for name, value in pings.items()},
        },
    )
    return reached
