"""What a running application has left behind: tasks, open files, calls and memory."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from structlog.typing import EventDict

from handlers.keys import RELAY_SOCKET
from tests.running import Running

GROWTH = 64 * 1024 * 1024  # bytes a process may have grown by, the test itself included
SPARE = 12  # connections to Redis and to the model that pools may have opened more
LOOKS, PAUSE = 250, 0.02  # what ends with a connection ends a moment after it


@dataclass(frozen=True, slots=True)
class Baseline:
    """What there is at a moment; files and memory are 0 where the system does not tell."""

    tasks: int
    files: int
    calls: int
    memory: int

    @classmethod
    def now(cls, relay: Running) -> Self:
        gc.collect()
        return cls(len(asyncio.all_tasks()), _files(), relay.app[RELAY_SOCKET].calls, _resident())

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
        if now.files > self.files + SPARE:
            yield f"{now.files - self.files} files"
        if now.calls > self.calls:
            yield f"{now.calls - self.calls} calls"
        if now.memory > self.memory + GROWTH:
            yield f"{now.memory - self.memory} bytes"


def errors(logs: list[EventDict]) -> list[EventDict]:
    """The records that tell of a bug."""
    return [record for record in logs if record["log_level"] in ("error", "critical")]


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
