"""The tools of a session: what runs in it, what it hands to the process, and the keys that tools wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from relay.call import Call
from relay.errors import ToolError
from relay.events import CollectDigits, DigitsCollected, Event, StartTool, ToolFinished, ToolProgress
from relay.parting import never, nobody
from relay.parts import SessionParts
from relay.replay import Gate
from relay.toolbox import DigitsWanted, Keyed, ToolContext, ToolOutcome
from relay.trace import SessionTrace

T = TypeVar("T")

ALREADY_COLLECTING = "Keys are being collected by another tool already. Call this again when that one has ended."


class ToolRuns:
    """``receive``: takes what the call is to know; ``note``: what the model is to be told later. ``spawn``: starts a
    task of the session's. ``gate``: remembers what was told, None where nothing is told again. ``alive``: whether the
    session still begins anything. ``trace``: of the session."""

    def __init__(
        self,
        call: Call,
        parts: SessionParts,
        trace: SessionTrace,
        receive: Callable[[Event], None],
        note: Callable[[str], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        gate: Gate | None,
        alive: Callable[[], bool],
    ) -> None:
        self._call = call
        self._parts = parts
        self._trace = trace
        self._receive = receive
        self._note = note
        self._spawn = spawn
        self._gate = gate
        self._alive = alive
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._keyed: dict[int, asyncio.Future[Keyed | None]] = {}  # what tools wait for, by their keys

    def start(self, action: StartTool) -> None:
        """Runs the tool as a task of the session, or of the process where it is ``owned`` there."""
        key = action.key
        span = self._trace.tool(key, action.call, action.turn)
        outside = copy_context()
        receive = self._receive  # the session's, which a tool of the process outlives

        def told(take: Callable[[T], None], what: T) -> None:
            """What the call makes of what a tool tells it is none of the tool's doing, and not in its span."""
            outside.copy().run(take, what)

        def done(outcome: ToolOutcome) -> None:
            told(partial(self._done, key, receive), outcome)

        context = replace(
            self._parts.context,
            agent=self._call.manner.agent,
            language=self._call.language,
            report=lambda text: told(self._receive, ToolProgress(key, text)),
            note=lambda text: told(self._note, text),
            keypad=lambda wanted: self._collect(key, wanted, partial(told, self._receive)),
            headers=span.headers,
        )
        with span.inside():
            if action.owned:
                self._parts.effects.start(action.call, key, context, done)
            elif self._alive():
                self._tasks[key] = self._spawn(self._run(action, context, done), "tool")

    def cancel(self, key: int) -> None:
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()
            self._trace.tool_over(key, "interrupted")

    def collected(self, action: DigitsCollected) -> None:
        """The call has the keys a tool waits for, or has none for it. From here on they are masked."""
        if action.keyed is not None:
            self._parts.masks.add(action.key, action.keyed.digits)
            for position, item in self._call.record.items.items():  # what was said of them before
                if (masked := self._parts.masks.item(position, item)) != item:
                    self._parts.writer.put(position, masked)
        answer = self._keyed.get(action.key)
        if answer is not None and not answer.done():
            answer.set_result(action.keyed)

    def stop(self) -> None:
        """Nobody presses keys any more. The session cancels its tasks itself."""
        for waiting in self._keyed.values():
            if not waiting.done():
                waiting.set_result(Keyed())

    def let_go(self) -> None:
        """Of the session, which is over (``parting.py``); but for what goes on."""
        self._receive = self._note = nobody
        self._spawn, self._alive = never, lambda: False

    async def _run(self, action: StartTool, context: ToolContext, done: Callable[[ToolOutcome], None]) -> None:
        call = action.call
        done(await self._parts.tools.run(call.name, call.arguments, context))

    def _done(self, key: int, receive: Callable[[Event], None], outcome: ToolOutcome) -> None:
        self._tasks.pop(key, None)
        self._trace.tool_over(key, "done" if outcome.ok else "failed" if outcome.certain else "unknown", outcome)
        receive(ToolFinished(key, outcome))

    async def _collect(self, key: int, wanted: DigitsWanted, tell: Callable[[Event], None]) -> Keyed:
        if not self._alive():
            return Keyed()
        if key in self._keyed:
            raise ToolError(ALREADY_COLLECTING)
        answer: asyncio.Future[Keyed | None] = asyncio.get_running_loop().create_future()
        self._keyed[key] = answer
        try:
            if self._gate is not None:
                self._gate.told.hide_keys(self._call.keys_waiting)
            tell(CollectDigits(key, wanted))
            keyed = await answer
        except asyncio.CancelledError:
            tell(CollectDigits(key, None))
            raise
        finally:
            del self._keyed[key]
        if keyed is None:
            raise ToolError(ALREADY_COLLECTING)
        return keyed
