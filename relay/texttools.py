"""The tools of a text turn: those of a round side by side, each once, what has a lasting effect in the process' hands.

A tool that asks before it acts does so here too (``confirm.py``); that the person was asked stands in the conversation
itself, so whichever process has the next turn knows. A channel carries out only what makes sense on it: an engine that
ends the conversation or wants a person for it, with a call of a tool the agent does not have, is passed on as a signal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from relay.cast import Cast
from relay.confirm import ASK_FIRST, Confirmations
from relay.desk import INTERRUPTED, Desk, Work, no_such_tool
from relay.items import Item, ToolItem, UserItem
from relay.models.base import ToolCall
from relay.sideeffects import SideEffects
from relay.toolbox import (
    EndCall,
    PersonChanged,
    SwitchAgent,
    SwitchLanguage,
    ToolBox,
    ToolContext,
    ToolOutcome,
    Transfer,
)
from relay.trace import SessionTrace

Signal = Literal["end", "handoff"]

SIGNALS: dict[str, Signal] = {"end_call": "end", "transfer_to_human": "handoff"}
NOTED = ToolOutcome(orjson.dumps({"status": "done"}).decode())


@dataclass(slots=True)
class Used:
    """What came of a round's tools. ``agent``, ``language``: from here on. ``over``: the turn is."""

    agent: str
    language: str
    items: list[ToolItem] = field(default_factory=list, repr=False)
    person_changed: bool = False
    over: bool = False


class TextTools:
    """Of one turn. ``items``: the conversation up to the person's words; ``turn``: its number. ``effects``: carries out
    what has a lasting effect. ``trace``: of the turn."""

    def __init__(
        self,
        tools: ToolBox,
        effects: SideEffects,
        context: ToolContext,
        cast: Cast,
        trace: SessionTrace,
        items: Sequence[Item],
        turn: int,
    ) -> None:
        self._tools = tools
        self._effects = effects
        self._context = context
        self._cast = cast
        self._trace = trace
        self._turn = turn
        self._desk = Desk(tools.policy, tools.canonical)
        self._items: dict[int, Item] = dict(enumerate(items))
        self._confirmations = Confirmations(self._items)
        self._remember()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._finished: asyncio.Queue[tuple[int, ToolOutcome]] = asyncio.Queue()  # of a round's calls, one each
        self._stopped = False
        self.lasting = False
        """Something with a lasting effect was begun."""
        self.signals: frozenset[Signal] = frozenset()

    async def use(self, calls: Sequence[ToolCall], *, round: int, agent: str, language: str) -> Used:
        """Carries out what a round has called. A cancel, as ``stop``, ends what can be taken back; what cannot goes on
        by itself, and ``stop`` waits for it."""
        used = Used(agent, language)
        works = [self._take(call, round, used) for call in calls]
        try:
            while True:
                for work in self._desk.startable(self._turn, round, free=not self._stopped):
                    if work.outcome is None:
                        self._start(work, used)
                if not any(work.state == "running" for work in works):
                    break
                self._desk.finish(*await self._finished.get())
        finally:
            self._take_back()
        for work in works:
            if work.outcome is None:  # a lasting one that nobody wants any more
                self._desk.finish(work.key, ToolOutcome(INTERRUPTED, ok=False))
            self._report(work, used)
        return used

    def stop(self) -> None:
        """What has not begun does not, and what can be taken back ends."""
        self._stopped = True
        self._take_back()

    def settle(self) -> None:
        """The turn ended undisturbed: what was done is no answer to the same wish made again."""
        if self.lasting:
            self._effects.settle()

    def _take(self, call: ToolCall, round: int, used: Used) -> Work:
        key = max(self._items, default=-1) + 1
        work = self._desk.add(key, call, self._turn, round)
        self._items[key] = work.item()
        role = self._cast.role(used.agent)
        if work.state != "held":
            return work
        if role is None or not role.manner.may_use(call.name):
            if signal := SIGNALS.get(call.name):
                self.signals |= {signal}
                used.over = True
            self._desk.finish(key, NOTED if signal else no_such_tool(call.name))
        elif work.policy.confirm:
            self._ask_first(work, used)
        return work

    def _ask_first(self, work: Work, used: Used) -> None:
        wish = self._desk.wish(work)
        if self._confirmations.given(wish, self._turn):
            return
        # Nobody is asked to agree to what cannot be done.
        context = replace(self._context, agent=used.agent, language=used.language)
        objection = self._tools.objection(work.call.name, work.call.arguments, context)
        if objection is None:
            self._confirmations.ask(wish, self._turn, work.key)
        self._desk.finish(work.key, objection or ASK_FIRST)

    def _start(self, work: Work, used: Used) -> None:
        if work.policy.confirm:
            self._confirmations.use(self._desk.wish(work), self._turn)
        key = work.key
        span = self._trace.tool(key, work.call, self._turn)
        context = replace(self._context, agent=used.agent, language=used.language, headers=span.headers)

        def done(outcome: ToolOutcome) -> None:
            self._trace.tool_over(key, "done" if outcome.ok else "failed" if outcome.certain else "unknown", outcome)
            self._finished.put_nowait((key, outcome))

        with span.inside():
            if work.policy.side_effect:
                self.lasting = True
                self._effects.start(work.call, key, context, done)
            else:
                self._running[key] = asyncio.create_task(self._run(work.call, context, done), name="tool")

    async def _run(self, call: ToolCall, context: ToolContext, done: Callable[[ToolOutcome], None]) -> None:
        done(await self._tools.run(call.name, call.arguments, context))

    def _take_back(self) -> None:
        for key, task in self._running.items():
            if not task.done():
                task.cancel()
                self._trace.tool_over(key, "interrupted")
                self._finished.put_nowait((key, ToolOutcome(INTERRUPTED, ok=False)))
        self._running.clear()

    def _report(self, work: Work, used: Used) -> None:
        item = work.item()
        self._items[work.key] = item
        used.items.append(item)
        assert work.outcome is not None
        for effect in work.outcome.effects:
            role = self._cast.role(used.agent)
            match effect:
                case SwitchAgent(agent) if self._cast.role(agent) is not None:
                    used.agent = agent
                case SwitchLanguage(language) if role is not None:
                    used.language = role.manner.declared(language) or used.language
                case PersonChanged():
                    used.person_changed = True
                case EndCall():
                    self.signals |= {"end"}
                    used.over = True
                case Transfer():
                    self.signals |= {"handoff"}
                    used.over = True
                case _:
                    pass  # of a telephone
        for name, arguments in work.outcome.offers if work.outcome.ok else ():
            self._confirmations.ask((name, self._tools.canonical(name, arguments)), self._turn, work.key)

    def _remember(self) -> None:
        """Whom was asked what in the turns before."""
        turn = 0
        for position, item in self._items.items():
            if isinstance(item, UserItem):
                turn += 1
            elif isinstance(item, ToolItem) and self._tools.knows(item.name) and self._tools.policy(item.name).confirm:
                wish = item.name, self._tools.canonical(item.name, item.arguments)
                if item.output == ASK_FIRST.output:
                    self._confirmations.ask(wish, turn, position)
                else:
                    self._confirmations.use(wish, turn)


__all__ = ["SIGNALS", "Signal", "TextTools", "Used"]
