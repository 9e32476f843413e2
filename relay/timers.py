"""The timers of one session, by name: one of a name at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay.parting import nobody

READER_HOPS = 4  # passes of the event loop after which frames that had arrived have been read


class Timers:
    """``fired`` is called with a timer's name when it is due; it must not raise."""

    def __init__(self, fired: Callable[[str], None]) -> None:
        self._fired = fired
        self._running: dict[str, asyncio.Handle] = {}
        self._stopped = False

    def start(self, name: str, delay: float) -> None:
        """In so many seconds; replaces a running one of this name."""
        self.cancel(name)
        if not self._stopped:
            self._running[name] = asyncio.get_running_loop().call_later(delay, self._due, name)

    def start_behind_reader(self, name: str, hops: int = READER_HOPS) -> None:
        """As soon as the reader has taken in what has arrived."""
        self.cancel(name)
        if not self._stopped:
            self._running[name] = asyncio.get_running_loop().call_soon(self._hop, name, hops)

    def cancel(self, name: str) -> None:
        if (handle := self._running.pop(name, None)) is not None:
            handle.cancel()

    def stop(self) -> None:
        """None fires any more, and none is started."""
        self._stopped = True
        for name in list(self._running):
            self.cancel(name)

    def let_go(self) -> None:
        """Of the session, which is over (``parting.py``)."""
        self._fired = nobody

    def _hop(self, name: str, hops: int) -> None:
        if hops:
            self.start_behind_reader(name, hops - 1)
        else:
            self._due(name)

    def _due(self, name: str) -> None:
        self._running.pop(name, None)
        self._fired(name)
