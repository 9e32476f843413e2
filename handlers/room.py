"""How many calls this process takes at once (MAX_CALLS): those whose socket is open, and those on their way to one.

A call is on its way from the moment its TwiML is given, or Twilio is asked to place it, so that many that ring at once
cannot all find the last place free. Its socket may be opened at another process, or never: it is waited for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ON_ITS_WAY = 15.0
"""Seconds for which a call that was given TwiML is waited for; its socket is opened within a second or two."""

RINGING = 75.0
"""Seconds for which one that we placed is: a telephone rings for 60."""


class Room:
    """``most``: calls at once. Calls are told apart by their CallSid. ``clock``: seconds that do not go back."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._until: dict[str, float] = {}  # until when a call has its place; for good while a socket is open
        self._sockets: dict[str, int] = {}

    def full(self, call_sid: str = "") -> bool:
        """Whether there is no place for this call; one that has its place keeps it."""
        if call_sid in self._until or len(self._until) < self._most:
            return False
        self._clear()
        return len(self._until) >= self._most

    def expect(self, call_sid: str, seconds: float = ON_ITS_WAY) -> None:
        """The call is on its way, and has a place whether there is one or not: that is for ``full`` to tell first."""
        if call_sid in self._sockets:
            return
        if len(self._until) >= self._most:
            self._clear()
        self._until[call_sid] = self._clock() + seconds

    def forget(self, call_sid: str) -> None:
        """The call is not on its way any more."""
        if call_sid not in self._sockets:
            self._until.pop(call_sid, None)

    @contextmanager
    def inside(self, call_sid: str) -> Iterator[None]:
        """A socket of the call is open."""
        self._sockets[call_sid] = self._sockets.get(call_sid, 0) + 1
        self._until[call_sid] = math.inf
        try:
            yield
        finally:
            self._sockets[call_sid] -= 1
            if not self._sockets[call_sid]:
                del self._sockets[call_sid], self._until[call_sid]

    def _clear(self) -> None:
        now = self._clock()
        for call_sid in [call_sid for call_sid, until in self._until.items() if until <= now]:
            del self._until[call_sid]


__all__ = ["ON_ITS_WAY", "RINGING", "Room"]
