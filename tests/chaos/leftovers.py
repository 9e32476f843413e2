"""What a running application has left behind: tasks, connections, open files, calls and memory."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from structlog import DropEvent
from structlog.testing import capture_logs
from structlog.typing import EventDict

from handlers.keys import RELAY_SOCKET
from tests.running import Running

GROWTH = 64 * 1024 * 1024  # bytes a process may have grown by, the test itself included
SPARE = 64  # files that pools may have opened more: connections to Redis, 50 at most, and to the model
LOOKS, PAUSE = 250, 0.02  # what ends with a connection ends a moment after it


@dataclass(frozen=True, slots=True)
class Baseline:
    """What there is at a moment; what the system does not tell is 0. ``peers``: connections to the application."""

    tasks: int
    peers: int
    files: int
    calls: int
    memory: int

    @classmethod
    def now(cls, relay: Running) -> Self:
        gc.collect()
        return cls(len(asyncio.all_tasks()), _peers(relay), _files(), relay.app[RELAY_SOCKET].calls, _resident())

    async def exceeded(self, relay: Running) -> list[str]:
        """What there is more of now, once that is nothing or some seconds have passed."""
        for _ in range(LOOKS):
            if not (more := list(self._more(self.now(relay)))):
                break
            await asyncio.sleep(PAUSE)
        return more

    def _more(self, now: Baseline) -> Iterator[str]:
        if now.tasks > self.tasks:
            yield f"{now.tasks - self.tasks} tasks"
        if now.peers > self.peers:
            yield f"{now.peers - self.peers} connections"
        if now.files > self.files + SPARE:
            yield f"{now.files - self.files} files"
        if now.calls > self.calls:
            yield f"{now.calls - self.calls} calls"
        if now.memory > self.memory + GROWTH:
            yield f"{now.memory - self.memory} bytes"


@contextmanager
def errors() -> Iterator[list[EventDict]]:
    """The records of a while that tell of a bug; the others are not kept."""
    with capture_logs([_only_errors]) as records:
        yield records


def _only_errors(logger: object, method: str, event: EventDict) -> EventDict:
    # On a machine that has other things to do Redis may answer too late; that is no bug.
    if method in ("error", "critical", "exception") and event.get("error") != "StoreError":
        return event
    raise DropEvent


def _peers(relay: Running) -> int:
    """Connections of the application's port that are established, or that it has not closed after its peer."""
    port = f":{urlsplit(relay.url).port:04X}"
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return 0
    return sum(1 for _, local, _, state, *_ in map(str.split, lines) if local.endswith(port) and state in ("01", "08"))


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
