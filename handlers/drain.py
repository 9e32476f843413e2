"""How a process leaves without losing a call.

    begin    readiness answers 503, no new calls; those in progress go on, and all webhooks of theirs are answered
    wait     until they have ended, ``seconds`` at the most, or until somebody hurries
    hand on  each caller left is told of a short pause; then Twilio gets the call back, and asks for its next session
    linger   Twilio asks right after a session's end: the port stays open for that

Source: architecture.md, "Leaving".
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from relay.ending import CLOSE_AFTER_END

HAND_ON_SECONDS = 8.0  # for the words a caller still hears, and what was being said before them
LINGER_SECONDS = 1.5  # behind the last session, for Twilio to ask how its call goes on
START_SECONDS = 2.0  # a process that takes this one's place needs, from our end on

log = structlog.get_logger(__name__)


class OpenCalls(Protocol):
    """The calls of this process (``RelaySocket``)."""

    calls: int

    async def none_open(self) -> None:
        """Returns when there are none."""
        ...


class Drain:
    """``seconds``: how long calls may go on by themselves. Used once; ``hurry`` at any time, from the event loop."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._hurried = asyncio.Event()
        self._awaited: OrderedDict[str, float] = OrderedDict()  # calls without a socket: until when, the soonest first
        self._settled = asyncio.Event()
        self._gone_by = math.inf  # when the last call is handed on
        self.begun = False
        self.handing_on = False
        """No session of a call is begun here any more, not even of one that is known."""

    async def run(self, calls: OpenCalls, hand_on: Callable[[float], object]) -> None:
        """Leaves; returns when nothing keeps the port from being closed. A cancel leaves the calls as they are.

        ``hand_on``: has every session hand its call back within so many seconds."""
        self.begun = True
        log.info("leaving", calls=calls.calls)
        if not calls.calls and not self._longest():
            return
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(self._ended(calls), name="drain: calls end")
            hurried = group.create_task(self._hurried.wait(), name="drain: hurried")
            await asyncio.wait((ending, hurried), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            over = ending.done()
            ending.cancel()
            hurried.cancel()
        self.handing_on, self._gone_by = True, self._clock()
        if over:
            return
        log.info("handing on", calls=calls.calls)
        self._gone_by += HAND_ON_SECONDS
        hand_on(HAND_ON_SECONDS)
        await _within(HAND_ON_SECONDS + CLOSE_AFTER_END + 1.0, calls.none_open())
        self._gone_by = self._clock()
        await asyncio.sleep(LINGER_SECONDS)

    async def _ended(self, calls: OpenCalls) -> None:
        """Returns when there are no calls, and Twilio is about to ask for none."""
        while True:
            await calls.none_open()
            if not (left := self._longest()):
                return
            self._settled.clear()
            await _within(left, self._settled.wait())

    def expect(self, call_sid: str) -> None:
        """Twilio is about to ask how this call goes on, or to open its socket: the port is kept for it a moment."""
        now = self._clock()
        while self._awaited and next(iter(self._awaited.values())) <= now:
            self._awaited.popitem(last=False)
        self._awaited[call_sid] = now + LINGER_SECONDS
        self._awaited.move_to_end(call_sid)

    def settle(self, call_sid: str) -> None:
        """It has asked, and asks for nothing more here."""
        if self._awaited.pop(call_sid, None) is not None:
            self._settled.set()

    def _longest(self) -> float:
        """Seconds for which the last of those calls is awaited, 0.0 for none."""
        return max(0.0, next(reversed(self._awaited.values()), 0.0) - self._clock())

    def hurry(self) -> None:
        """Calls are handed on now."""
        self._hurried.set()

    def pause(self) -> int:
        """Seconds that a call which is handed on should wait before it is connected again, if it is told so by this
        very process: whoever takes it may have to wait for our end. 0 while sessions are still begun here, for then
        there are others, or it is one of another process."""
        if not self.handing_on:
            return 0
        return math.ceil(max(0.0, self._gone_by - self._clock()) + LINGER_SECONDS + START_SECONDS)


async def _within(timeout: float, coming: Awaitable[object]) -> None:
    """Waits for it, so many seconds at the most."""
    try:
        async with asyncio.timeout(timeout):
            await coming
    except TimeoutError:
        pass
