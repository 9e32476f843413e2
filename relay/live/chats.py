"""The live chats of this process: the conversations that are open or answered here, and the tasks that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from relay.events import Order, SayLine
from relay.jobs import Jobs
from relay.live.answering import Answering, Told
from relay.live.conversation import LiveConversation, Log
from relay.live.line import Line, Wish
from relay.operator import Refusal
from relay.store.chat_running import RunningTurns
from relay.toolbox import EndCall

MOST_ANSWERED = 2000  # conversations, at once


class Alone(Protocol):
    """A socket that has a conversation of its own. ``hang_up``: closes it for good; True, for it is there."""

    name: str
    line: Line

    def hang_up(self) -> bool: ...


class LiveChats:
    """``worker``: the name of this process. ``most``: conversations that are answered at once."""

    def __init__(
        self,
        answering: Answering,
        log: Log,
        running: RunningTurns,
        *,
        worker: str,
        most: int = MOST_ANSWERED,
    ) -> None:
        self._answering = answering
        self._log = log
        self._running = running
        self._worker = worker
        self._jobs = Jobs(most)
        self._open: dict[str, LiveConversation] = {}
        self._alone: dict[str, Alone] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        return len(self._open) + len(self._alone)

    def open(self, name: str, agent: str, person: str) -> LiveConversation:
        """The conversation, for a socket that is about to be attached; to be left when it is detached."""
        if name not in self._open:
            self._open[name] = LiveConversation(
                name,
                agent,
                person,
                self._log,
                self._running,
                self._answering.answer,
                self._start,
                self.left,
                worker=self._worker,
            )
        return self._open[name]

    def left(self, conversation: LiveConversation) -> None:
        """A socket of it is gone, or a turn over."""
        if conversation.unused and self._open.get(conversation.name) is conversation:
            del self._open[conversation.name]
            conversation.line.let_go()

    def line(self, told: Told, idle: Callable[[], object]) -> Line:
        """Of a conversation that is known to its socket alone."""
        return Line(told.name, lambda wish: self._answering.answer(told, wish), self._start, idle)

    @contextmanager
    def alone(self, socket: Alone) -> Iterator[None]:
        """The socket is open: an operator's orders reach it."""
        self._alone[socket.name] = socket
        try:
            yield
        finally:
            del self._alone[socket.name]

    def stop(self, conversation: str, turn: str) -> bool:
        """The turn ends where it is, "" for whichever; False where it is not here."""
        found = self._open.get(conversation)
        return found is not None and found.line.stop(turn)

    def operate(self, conversation: str, order: Order) -> Refusal | None:
        """As ``handlers.calls.Calls.operate``."""
        found = self._open.get(conversation) or self._alone.get(conversation)
        match order:
            case _ if found is None:
                return None
            case SayLine(text):
                return "too_many_lines" if found.line.submit(Wish(text, "say")) else ""
            case EndCall():
                found.line.cease()
                return "" if found.hang_up() else None  # its socket is in another process, or nowhere
        return "not_possible"

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        task = self._jobs.start(coroutine, name)
        if task is not None:
            self._quiet.clear()
            task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        if not len(self._jobs):
            self._quiet.set()

    # -- the process leaves

    @property
    def answering(self) -> int:
        """Conversations in which something is being answered."""
        return len(self._jobs)

    async def quiet(self) -> None:
        """Returns when there are none."""
        await self._quiet.wait()

    def cease(self) -> None:
        """Turns end where they are: what was written stands."""
        for conversation in [*self._open.values()]:
            conversation.line.cease()

    async def close(self, timeout: float) -> None:
        """Waits for the turns that are under way, ``timeout`` seconds at most. Those that are left are ended, and lost:
        another process tells so."""
        await self._jobs.drain(timeout)


__all__ = ["LiveChats"]
