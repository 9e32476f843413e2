"""Callers who talk without end, each knowing what was said: for what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp

from phone.caller import FAST, Caller
from phone.endpoint.checks import Ask
from phone.model import Reply, ToolUse
from relay.items import AssistantItem, Item, ToolItem, UserItem
from relay.store.history import History, repair
from tests.calls.checks import eventually, heard, in_order, told
from tests.calls.workshop import NAMES, book
from tests.running import Running

AGENT = f"""
title = "Test"
tools = {NAMES}
[says]
fillers = []
"""
ANSWERED = 30.0  # seconds; what takes longer counts as a call that was lost

Lines = list[tuple[str, str]]


def answer(ask: Ask) -> Reply:
    """The caller's words again; in every third turn something is booked first."""
    last = ask.entries[-1]
    words = [entry.text for entry in ask.entries if entry.kind == "user"][-1]
    if last.kind == "user" and int(words.split()[-1]) % 3 == 2:
        use = book(words)
        return Reply(tools=[ToolUse(use.name, use.arguments)])
    return Reply(f"You said {words}.")


@dataclass
class Talk:
    """``rhythm``: seconds between two turns of a call. ``waits``: from each thing said to the first word heard, with
    the moment it was said."""

    relay: Running
    rhythm: float
    lines: dict[str, Lines] = field(default_factory=dict)
    waits: list[tuple[float, float]] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    _turns: list[int] = field(default_factory=list)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self.relay.model.behaviour = answer
        self._http = await aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)).__aenter__()
        self._calls = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        try:
            await self._calls.__aexit__(kind, error, trace)
        finally:
            await self._http.close()

    async def begin(self, count: int) -> None:
        """So many more callers, once each was answered."""
        first = len(self._turns)
        for number in range(first, first + count):
            self._turns.append(0)
            self._calls.create_task(self._call(number), name=f"caller {number}")
        await eventually(lambda: all(self._turns[first:]), ANSWERED)

    async def turns(self, more: int) -> None:
        """Until every call has had so many more."""
        wanted = [turns + more for turns in self._turns]
        await eventually(
            lambda: all(turns >= want for turns, want in zip(self._turns, wanted, strict=False)),
            more * (ANSWERED + self.rhythm),
        )

    async def hang_up(self) -> None:
        """All callers do, at the end of their turn."""
        self._over.set()
        await eventually(lambda: len(self.lines) == len(self._turns), ANSWERED)

    async def _call(self, number: int) -> None:
        lines: Lines = []
        async with Caller(self.relay.url, pace=FAST, http=self._http) as call:
            self.under_way.add(call.record.call_sid)
            while not self._over.is_set():
                words = f"call {number} turn {self._turns[number]}"
                lines.append(("user", words))
                if self._turns[number] % 3 == 2:
                    lines.append(("book", "done"))
                lines.append(("assistant", f"You said {words}."))
                said = time.monotonic()
                await call.say(words)
                await call.until(_hears(call, f"You said {words}."), ANSWERED)
                self.waits.append((said, call.record.turn.first_words_s or 0.0))
                self._turns[number] += 1
                try:
                    async with asyncio.timeout(self.rhythm):
                        await self._over.wait()
                except TimeoutError:
                    pass
            await in_order(call)
            assert (await call.hang_up()).how == "caller"
            assert len(call.record.session_ids) == 1
        self.lines[call.record.call_sid] = lines

    async def remembered(self, within: float) -> None:
        """Redis holds every call, whole and in order, and nothing of it needs repair."""
        async with asyncio.timeout(within):
            for call_sid, lines in self.lines.items():
                await self.relay.history(call_sid, partial(_settled, lines), within)
        for call_sid, lines in self.lines.items():
            loaded = await History(self.relay.redis, 60).load(call_sid, 1 << 44)
            positions = [position for position, _ in loaded.entries]
            assert positions == sorted(set(positions))
            assert told([item for _, item in loaded.entries]) == lines
            assert repair(loaded.entries, 0)[1] == []

    @property
    def items(self) -> int:
        """How many items the histories have by now, or a few more."""
        return sum(2 * turns + turns // 3 + 3 for turns in self._turns)


def items_alive() -> int:
    """Items of histories that this process holds, wherever."""
    gc.collect()
    kinds: tuple[type[Item], ...] = (UserItem, AssistantItem, ToolItem)
    return sum(isinstance(each, kinds) for each in gc.get_objects())


def _settled(lines: Lines, items: list[Item]) -> bool:
    """It is all there, and no reply is still being said."""
    is_open = any(isinstance(item, AssistantItem) and item.status == "open" for item in items)
    return told(items) == lines and not is_open


def _hears(call: Caller, words: str) -> Callable[[], bool]:
    return lambda: bool(spoken := heard(call)) and spoken[-1] == words
