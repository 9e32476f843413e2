"""Visitors whose connection is lost again and again while they are answered: is anything lost, is anything said twice?

Every word of the model's answers carries its turn and its place. Two processes of our relay share one Redis; whoever
comes back comes to one of them, says up to where it has everything, and sends again what is not answered. Watched is
what any page would see: no frame twice, none left out, the whole answer in the end, the same in the history; and the
model is asked once for each message.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from websockets.frames import CloseCode

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.live_chat import MANY_SOCKETS
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import System, ours
from benchmarks.visitors import ChatSocket, visit
from phone.bench.words import word
from phone.load import CallLost
from phone.progress import Progress, say, table

ANSWER_SECONDS = 120.0  # of a turn, however often its visitor was away
AGAIN_SECONDS = 0.2
TRIES = 25  # to come back
ASKS_AGAIN = 0.25  # how often a message is sent again of which it was told that it is being answered
REPLACED_SECONDS = 5.0  # until a socket is closed whose visitor is here on another one
MANNERS = ("dropped", "closed", "left open")
"""How a connection is lost: without a word; with one; or it is not, and the visitor is here a second time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``reconnects``: during turns, in all. ``stay``: seconds between two of a visitor. ``pause``: between an answer's
    end and the next message."""

    reconnects: int = 10_000
    visitors: int = 100
    processes: int = 2
    stay: tuple[float, float] = (0.05, 0.5)
    pause: float = 0.5
    seed: int = 1
    script: Script = field(default_factory=lambda: Script("0.05", "0.05", tokens=40, numbered=True))

    def words(self, marker: int) -> str:
        """The whole answer to the message with this number."""
        return " ".join(word(marker, place) for place in range(self.script.tokens))


@dataclass(slots=True)
class Tally:
    """``came_back``: by how the connection was lost. ``elsewhere``: to another process than before. ``refused``: tries
    to come back that failed. ``missed``, ``twice``: frames. ``again``: ends of turns that a visitor had already, and
    had asked about. ``resets``: it was told to read the history. ``wrong``: answers that were not those expected.
    ``left``: sockets that stayed open beside a newer one. ``failed``: errors by their codes."""

    came_back: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    refused: int = 0
    turns: int = 0
    frames: int = 0
    missed: int = 0
    twice: int = 0
    again: int = 0
    resets: int = 0
    wrong: int = 0
    left: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def reconnects(self) -> int:
        return self.came_back.total()


class Visitor:
    """One page: what it has seen, and what it waits for."""

    def __init__(self, number: int, plan: Plan, systems: Sequence[System], tally: Tally) -> None:
        self._plan = plan
        self._systems = systems
        self._tally = tally
        self._rng = random.Random(f"{plan.seed}-{number}")
        self._system = self._rng.choice(systems)
        self._first = self.marker = number * 10_000
        self._name = ""
        self._visits = 0
        self._conversation = ""
        self._seq = 0
        self._text = ""
        self._turn = ""  # that answers it, once that is known
        self._finished: set[str] = set()
        self._reset = False
        self._over = asyncio.Event()
        self._socket: ChatSocket
        self._all: list[ChatSocket] = []

    async def talk(self, progress: Progress) -> None:
        """Until all have come back often enough. Raises CallLost."""
        await self._enter()
        while self._tally.reconnects < self._plan.reconnects:
            self.begin()
            self._ask()
            async with asyncio.timeout(ANSWER_SECONDS):
                while not await self._stayed(self._rng.uniform(*self._plan.stay)):
                    await self._come_back()
                    progress.reach(self._tally.reconnects)
            self._tally.turns += 1
            await asyncio.sleep(self._plan.pause)
        replaced = [socket for socket in self._all if socket is not self._socket]
        if replaced:
            await asyncio.wait([socket.lost for socket in replaced], timeout=REPLACED_SECONDS)
        self._tally.left += sum(not socket.lost.done() for socket in replaced)
        await asyncio.gather(*(socket.close() for socket in self._all))

    def begin(self) -> None:
        """The next message, of which nothing was heard yet."""
        self.marker, self._text, self._turn = self.marker + 1, "", ""
        self._over.clear()

    async def read_history(self) -> None:
        """Everything that was asked is there with its answer, once."""
        told = await self._history()
        wanted = []
        for marker in range(self._first + 1, self.marker + 1):
            wanted += [("user", _question(marker)), ("assistant", self._plan.words(marker))]
        self._tally.wrong += [(each["role"], each["text"].strip()) for each in told["messages"]] != wanted

    # -- the connection

    async def _stayed(self, seconds: float) -> bool:
        """Whether the turn is over, after so long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _enter(self) -> None:
        self._visits += 1  # what an older socket of ours still tells is not looked at any more
        hear, http = partial(self.hear, self._visits), self._system.http
        assert http is not None
        for tried in range(TRIES):
            try:
                socket, self._name = await visit(http, self._system.base, hear, self._name)
                break
            except CallLost:
                self._tally.refused += 1
                if tried + 1 == TRIES:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)
        self._socket = socket
        self._all = [each for each in self._all if not each.lost.done()] + [socket]
        conversation = socket.ready.result()["conversation"]
        if self._conversation not in ("", conversation):
            raise BenchError("a visitor came back to another conversation")
        self._conversation = conversation

    async def _come_back(self) -> None:
        manner, before = self._rng.choice(MANNERS), self._system
        if manner == "dropped":
            self._socket.drop()
        elif manner == "closed":
            await self._socket.close(CloseCode.GOING_AWAY)
        self._system = self._rng.choice(self._systems)
        await self._enter()
        if self._reset:
            await self._reload()
        self._socket.send({"type": "resume", "conversation": self._conversation, "after": self._seq})
        if not self._over.is_set() and (not self._turn or self._rng.random() < ASKS_AGAIN):
            self._ask()
        self._tally.came_back[manner] += 1
        self._tally.elsewhere += self._system is not before

    def _ask(self) -> None:
        if not self._socket.lost.done():
            self._socket.send({"type": "message", "client_id": f"m{self.marker}", "text": _question(self.marker)})

    async def _reload(self) -> None:
        """As a page does that was told to: what is in the history is shown, and what follows is asked for."""
        told = await self._history()
        self._seq, self._text, self._reset = told["seq"], "", False
        if any(each["text"] == _question(self.marker) for each in told["messages"]):
            self._over.set()

    async def _history(self) -> dict[str, Any]:
        http, base = self._system.http, self._system.base
        assert http is not None
        async with http.post(f"http://{base}/chat/ticket", json={"visitor": self._name}) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['ticket']}"}
        async with http.get(f"http://{base}/chat/history", headers=headers) as response:
            if response.status != 200:
                raise BenchError(f"GET /chat/history answered {response.status}")
            told: dict[str, Any] = await response.json()
            return told

    # -- what is heard

    def hear(self, visit: int, frame: Mapping[str, Any], at: float) -> None:
        """``visit``: the number of that on which it comes."""
        if visit != self._visits or self._reset:
            return
        tally = self._tally
        match frame:
            case {"type": "ack", "client_id": str(name), "turn": str(turn)} if name == f"m{self.marker}":
                self._turn = turn
            case {"type": "delta", "seq": int(seq), "text": str(text)}:
                tally.frames += 1
                tally.twice += seq <= self._seq
                tally.missed += seq > self._seq + 1
                self._seq = max(seq, self._seq)
                self._text += text
            case {"type": "done", "turn": str(turn), "seq": int(seq), "text": str(text)}:
                tally.frames += 1
                if turn in self._finished:
                    tally.again += 1
                    return
                self._finished.add(turn)
                tally.missed += seq > self._seq + 1
                self._seq = max(seq, self._seq)
                tally.wrong += self._text != text or text.strip() != self._plan.words(self.marker)
                self._over.set()
            case {"type": "reset"}:
                tally.resets += 1
                self._reset = True
            case {"type": "error", "code": str(code)}:
                tally.failed[code] += 1


async def reconnects(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if nothing was lost and nothing came twice."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"{plan.reconnects} reconnects of {plan.visitors} visitors to {plan.processes} processes; {placed}")
    tally = Tally()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        endpoint = await stack.enter_async_context(Endpoint.start(cores.load))
        await endpoint.script(plan.script)
        # An answer that is late is asked for a second time otherwise, and that is no second turn.
        settings = MANY_SOCKETS | {"DATA_DIR": str(folder / "data"), "FIRST_TOKEN_DEADLINE": "60"}
        systems = []
        for number in range(plan.processes):
            place = folder / str(number)
            place.mkdir()
            systems.append(await stack.enter_async_context(ours(endpoint.url, cores.server, place, variables=settings)))
        begun = asyncio.get_running_loop().time()
        visitors = [Visitor(number, plan, systems, tally) for number in range(1, plan.visitors + 1)]
        with Progress("coming and going", plan.reconnects) as progress:
            async with asyncio.TaskGroup() as group:
                for visitor in visitors:
                    group.create_task(visitor.talk(progress), name="visitor")
        seconds = asyncio.get_running_loop().time() - begun
        for visitor in visitors:
            await visitor.read_history()
        asked = Counter(each.marker for each in await endpoint.take())
        for system in systems:
            system.child.check()
    return _report(plan, tally, asked, seconds, placed)


def _report(plan: Plan, tally: Tally, asked: Counter[int], seconds: float, placed: str) -> bool:
    twice_asked = sum(count - 1 for count in asked.values())
    faults = {
        "frames left out": tally.missed,
        "frames twice": tally.twice,
        "answers or histories not as expected": tally.wrong,
        "errors": tally.failed.total(),
        "messages the model was asked about more than once": twice_asked,
        "sockets that were not replaced": tally.left,
    }
    rows = [[f"came back, connection {manner}", str(count)] for manner, count in sorted(tally.came_back.items())]
    rows += [
        ["of these to another process", str(tally.elsewhere)],
        ["turns", str(tally.turns)],
        ["frames", str(tally.frames)],
        ["told to read the history", str(tally.resets)],
        ["ends that were asked for again", str(tally.again)],
        *([name, str(count)] for name, count in faults.items()),
    ]
    say(table(["", "count"], rows))
    if tally.failed:
        say("errors: " + ", ".join(f"{count} {code}" for code, count in tally.failed.items()))
    say(f"{tally.reconnects / seconds:.0f} reconnects a second, {tally.reconnects / max(1, tally.turns):.1f} a turn")
    reached = not any(faults.values())
    say(f"nothing lost, nothing twice: {'reached' if reached else 'missed'}")
    figures.save(
        "reconnects",
        {
            "reconnects": tally.reconnects,
            "processes": plan.processes,
            "visitors": plan.visitors,
            "seconds": seconds,
            "came_back": dict(tally.came_back),
            "elsewhere": tally.elsewhere,
            "turns": tally.turns,
            "frames": tally.frames,
            "resets": tally.resets,
            "again": tally.again,
            "refused": tally.refused,
            "failed": dict(tally.failed),
            "faults": faults,
            "cores": placed,
        },
    )
    return reached


def _question(marker: int) -> str:
    return f"Tell me about number {marker}"


__all__ = ["Plan", "reconnects"]
