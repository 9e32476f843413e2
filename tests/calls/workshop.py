"""Tools for the tests of calls: they count what is begun and done, and wait where a test holds them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from phone.model import Gate, ToolUse
from relay.errors import ToolError, ToolRetry
from relay.toolbox import ToolContext
from tools.registry import ToolRegistry

NAMES = '["look", "book", "fail", "retry", "crash", "slow", "slow_book", "save_name", "transfer_to_human", "end_call"]'
"""What an agent writes as its ``tools`` to have them all."""


class Workshop:
    """``begun`` and ``done`` count by the argument ``what``; a ``what`` in ``holds`` waits for its gate."""

    def __init__(self) -> None:
        self.begun = Counter[str]()
        self.done = Counter[str]()
        self.cancelled = Counter[str]()
        self.holds: dict[str, Gate] = {}

    def hold(self, what: str) -> Gate:
        self.holds[what] = Gate()
        return self.holds[what]

    async def _work(self, what: str) -> dict[str, Any]:
        self.begun[what] += 1
        gate = self.holds.get(what)
        try:
            if gate is not None:
                gate.reached.set()
                await gate.wait()
        except asyncio.CancelledError:
            self.cancelled[what] += 1
            raise
        self.done[what] += 1
        return {"what": what, "time": self.done[what]}

    def add(self, registry: ToolRegistry) -> None:
        async def look(context: ToolContext, what: str) -> dict[str, Any]:
            """Looks something up."""
            return await self._work(what)

        async def book(context: ToolContext, what: str, seats: int = 1) -> dict[str, Any]:
            """Books something for good."""
            return await self._work(what)

        async def fail(context: ToolContext) -> dict[str, Any]:
            """Cannot do it."""
            raise ToolError("The oven is broken.")

        async def retry(context: ToolContext) -> dict[str, Any]:
            """Wants other arguments."""
            raise ToolRetry("There is no Sunday in this week.")

        async def crash(context: ToolContext) -> dict[str, Any]:
            """Has a bug."""
            raise RuntimeError("a secret of the caller")

        async def slow(context: ToolContext) -> dict[str, Any]:
            """Takes for ever."""
            return await self._work("slow")

        async def slow_book(context: ToolContext) -> dict[str, Any]:
            """Takes for ever to book something."""
            return await self._work("slow_book")

        self.hold("slow")
        self.hold("slow_book")
        for function in (look, fail, retry, crash):
            registry.add(function)
        registry.add(book, side_effect=True)
        registry.add(slow, deadline=0.1)
        registry.add(slow_book, deadline=0.1, side_effect=True)


def look(what: str) -> ToolUse:
    return ToolUse("look", f'{{"what": "{what}"}}')


def book(what: str, spelled: str = '{{"what": "{what}", "seats": 2}}') -> ToolUse:
    return ToolUse("book", spelled.format(what=what))
