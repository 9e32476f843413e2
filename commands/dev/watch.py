"""Which files of this checkout have changed, by looking at them.

A look asks the system for the times and sizes of some 300 files, 3 ms; it sees changes on every kind of disk, a mounted
folder of another system too, which systems do not all report. What a running server picks up by itself, the files of
agents, is not looked at.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

ROOMS = ("channels", "commands", "config", "handlers", "phone", "relay", "tools")
SUFFIXES = (".py", ".lua", ".html", ".css", ".js")
EVERY = 0.3

Marks = dict[Path, tuple[int, int, int]]


class Watch:
    """``changed`` is called with the files of a burst, once no more of them change: editors write a file several times,
    and a switch of branches writes many. ``every``: seconds between looks."""

    def __init__(
        self, checkout: Path, more: tuple[Path, ...], changed: Callable[[list[Path]], object], *, every: float = EVERY
    ) -> None:
        self._checkout = checkout
        self._more = more
        self._changed = changed
        self._every = every
        self._known = self._look()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        before = self._known
        while True:
            await asyncio.sleep(self._every)
            now = await asyncio.to_thread(self._look)
            if now == before and now != self._known:
                known, self._known = self._known, now
                self._changed(sorted(path for path in known.keys() | now.keys() if known.get(path) != now.get(path)))
            before = now

    def _look(self) -> Marks:
        return {path: mark for path in (*self._files(), *self._more) if (mark := _mark(path))}

    def _files(self) -> Iterator[Path]:
        for room in ROOMS:
            for folder, _, names in os.walk(self._checkout / room):
                yield from (Path(folder, name) for name in names if name.endswith(SUFFIXES))


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
