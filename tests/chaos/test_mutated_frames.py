"""Frames that nobody should send, on the real websocket of a running application: the call lives, or the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from handlers.keys import TELEMETRY
from phone.endpoint.checks import Ask
from phone.model import ModelServer, Reply
from relay.frames import Prompt, dump
from tests.chaos.leftovers import Baseline, errors
from tests.chaos.mutation import FRAME_LIMIT, Frame, Mutator, Raw
from tests.handlers.test_app import first_frame, ws
from tests.running import Running, running, write_agent
from tests.scale import scaled

FULL, SMALL = 100_000, 2_500
A_CALL = 150  # frames; the session drops what is above 200 in a second
AT_ONCE = 6
FATAL = 0.004

AGENT = (
    'title = "Test"\ngreeting = "Hello."\ntools = ["save_name"]\n[limits]\nafter_interrupt = 0.05\ninterdigit = 0.05\n'
)


def echo(ask: Ask) -> Reply:
    """The model says the last word of the caller's again, where it is one of ours."""
    said = [entry.text for entry in ask.entries if entry.kind == "user"]
    word = said[-1].split()[-1] if said and said[-1].split() else ""
    return Reply(f"You said {word}" if word.startswith("marker") else "Well.")


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(redis_url, tmp_path / "data", agents=agents, model=ModelServer(echo, keep=0)) as app:
        yield app


@dataclass
class Tally:
    """What was sent and what came of it."""

    left: int
    sent: int = 0
    calls: int = 0
    closed: dict[int, int] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def expected(frame: Frame | Raw) -> int:
    """The code that a frame closes a socket with, 0 for one that closes none."""
    if isinstance(frame, Raw):
        return 1007
    if isinstance(frame, bytes):
        return 1003
    return 1009 if len(frame.encode()) > FRAME_LIMIT else 0


class Line:
    """One websocket; everything that is said on it is read at once."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._heard = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name="line")

    async def send(self, frame: Frame | Raw) -> None:
        try:
            await self._socket.send(frame, text=True if isinstance(frame, Raw) else None)
        except ConnectionClosed:
            pass  # ``closed`` tells why

    async def answers(self, word: str, within: float = 20.0) -> bool:
        """Whether the agent says the word."""
        try:
            async with asyncio.timeout(within):
                while word not in self._heard and not self._reading.done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return word in self._heard

    async def closed(self, within: float = 20.0) -> int:
        """The code it was closed with, 0 if it was not."""
        await asyncio.wait([self._reading], timeout=within)
        return (self._socket.close_code or 0) if self._reading.done() else 0

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._heard += str(message)
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self._news.set()


@asynccontextmanager
async def line(relay: Running) -> AsyncIterator[Line]:
    async with connect(ws(relay), compression=None, proxy=None, max_queue=None, ping_interval=None) as socket:
        yield Line(socket)


async def strange_beginning(relay: Running, mutator: Mutator, tally: Tally) -> None:
    """A socket whose first frame is none it may begin with is closed, and that is all."""
    frame = mutator.frame()
    tally.sent += 1
    async with line(relay) as there:
        await there.send(frame)
        code = await there.closed()
    if code not in {expected(frame) or 1008}:
        tally.strange.append(f"{code} for the first frame {frame[:200]!r}")


async def call(relay: Running, mutator: Mutator, tally: Tally, number: int) -> None:
    """A call full of garbage, which answers at its end unless the garbage had to close it."""
    call_sid = f"CA{number:032x}"
    first = await first_frame(relay, call_sid)
    frames: list[Frame | Raw] = []
    async with line(relay) as there:
        await there.send(first)
        tally.calls += 1
        while len(frames) < A_CALL and tally.left > 0:
            frame = mutator.frame()
            frames.append(frame)
            tally.left -= 1
            tally.sent += 1
            await there.send(frame)
            if wanted := expected(frame):
                code = await there.closed()
                tally.closed[code] = tally.closed.get(code, 0) + 1
                if code != wanted:
                    tally.strange.append(f"{code} instead of {wanted} for {frame[:200]!r}")
                return
        word = "marker" + "".join(chr(97 + int(digit)) for digit in str(number))
        await there.send(dump(Prompt(f"And now {word}")))
        if not await there.answers(word):
            code = await there.closed(0.0)
            tally.strange.append(f"no answer in call {number} ({code}) after {frames[-10:]!r}")


async def caller(relay: Running, seed: int, tally: Tally) -> None:
    mutator, number = Mutator(seed, fatal=FATAL), 0
    while tally.left > 0:
        number += 1
        if number % 4 == 0:
            await strange_beginning(relay, mutator, tally)
        await call(relay, mutator, tally, seed * 1_000_000 + number)


async def play(relay: Running, frames: int, seed: int) -> Tally:
    tally = Tally(frames)
    async with asyncio.TaskGroup() as group:
        for each in range(AT_ONCE):
            group.create_task(caller(relay, seed + each, tally), name="caller")
    return tally


def rejected(relay: Running, reason: str) -> float:
    found = relay.app[TELEMETRY].registry.get_sample_value("relay_frames_rejected_total", {"reason": reason})
    return found or 0.0


async def test_mutated_frames(relay: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a peer sends, the same call answers the next prompt, or was closed by the code the frame asks for and
    the next call works; nothing is an error in the log, and nothing is left behind."""
    await play(relay, AT_ONCE * A_CALL, seed=900)  # what is made once is made
    before = Baseline.now(relay)
    with errors() as logs:
        tally = await play(relay, scaled(FULL, SMALL), seed=1)
    assert tally.strange == []
    assert logs == [] and caplog.records == []
    assert tally.calls >= tally.sent / A_CALL * 0.9
    assert set(tally.closed) <= {1003, 1007, 1009}
    assert rejected(relay, "malformed") > tally.sent * 0.2
    assert rejected(relay, "flood") == 0
    assert await before.exceeded(relay) == []
