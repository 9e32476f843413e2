"""The messages of one conversation, answered one after another by one task.

A turn belongs to the process: it goes on when the socket it came by is gone. Its task lives as long as there is
something to answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from relay.parting import nobody

MOST_WAITING = 5  # messages behind the one that is being answered

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None] | None]
"""Runs it as a task of the process; None, and it never runs, where the process takes no more."""

Kind = Literal["message", "say", "look"]


@dataclass(slots=True, eq=False)
class Wish:
    """What is to be done in a turn of the conversation: a visitor's message answered, a line of an operator's said, or
    nothing but looked at what a process that has died has left. ``key``: the client's name for the message, "" for
    none; ``language``: what the visitor reads, as far as it is known; ``read``: when it came, by the loop's clock.

    ``turn``: its name, once it has begun. ``ending``: ends it early; ``stopped``: it was asked to. ``over``: how it
    ended is told, and what is left to do concerns nobody."""

    text: str = field(default="", repr=False)
    kind: Kind = "message"
    key: str = ""
    language: str = ""
    read: float = 0.0
    turn: str = ""
    stopped: bool = False
    over: bool = False
    ending: Callable[[], object] = nobody

    def stop(self) -> None:
        self.stopped = True
        self.ending()

    def let_go(self) -> None:
        """Of the turn, which is over (``relay/parting.py``)."""
        self.ending = nobody


class Line:
    """``answer``: answers one, and raises nothing on purpose. ``idle``: called whenever nothing is left to do."""

    def __init__(
        self,
        name: str,
        answer: Callable[[Wish], Awaitable[None]],
        spawn: Spawn,
        idle: Callable[[], object],
        *,
        most: int = MOST_WAITING,
    ) -> None:
        self._name = name
        self._answer = answer
        self._spawn = spawn
        self._idle = idle
        self._most = most
        self._waiting: deque[Wish] = deque()
        self._task: asyncio.Task[None] | None = None
        self.current: Wish | None = None
        """What is being answered."""

    @property
    def busy(self) -> bool:
        return self._task is not None

    def submit(self, wish: Wish) -> Literal["", "known", "busy"]:
        """Has it done, in its turn. "known": it is there already; "busy": too many wait."""
        if wish.key and self.find(wish.key) is not None:
            return "known"
        if wish.kind == "look" and any(each is not None and each.kind == "look" for each in self._all()):
            return "known"
        if len(self._waiting) + (self.current is not None) > self._most:
            return "busy"
        self._waiting.append(wish)
        if self._task is None:
            self._task = self._spawn(self._run(), f"chat {self._name}")
            if self._task is None:
                self._waiting.clear()
                return "busy"
        return ""

    def find(self, key: str) -> Wish | None:
        """The one that is being answered, or waits, by the client's name for it."""
        return next((each for each in self._all() if each is not None and each.key == key and not each.over), None)

    def _all(self) -> tuple[Wish | None, ...]:
        return (self.current, *self._waiting)

    def stop(self, turn: str = "") -> bool:
        """What is being answered, or about to be, ends where it is; False where it is not this turn."""
        wish = next((each for each in self._all() if each is not None and not each.over), None)
        if wish is None or wish.kind == "look" or turn not in ("", wish.turn):
            return False
        wish.stop()
        return True

    def cease(self) -> bool:
        """The turn ends where it is, and what waits is not begun: without an ack it is the client's to send again.
        False where none is here."""
        self._waiting.clear()
        return self.stop()

    def let_go(self) -> None:
        """Of the conversation, which is over here."""
        self._answer, self._idle = _nothing, nobody

    async def _run(self) -> None:
        try:
            while self._waiting:
                self.current = self._waiting.popleft()
                await self._answer(self.current)
        finally:
            self.current, self._task = None, None
            self._waiting.clear()  # nobody answers them after a cancel or a bug: without an ack they are sent again
            self._idle()


async def _nothing(wish: Wish) -> None:
    """Answers nobody: whoever asks has missed the end."""


__all__ = ["MOST_WAITING", "Line", "Spawn", "Wish"]
