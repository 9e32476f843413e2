"""Work that outlives its turn, and maybe its call: owned by the process, bounded, named, drained at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Jobs:
    """Holds running jobs. Each ends by its own deadline; one that raises is logged, its words are not."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Runs it as a task of the process; None, and it never runs, when too many are running."""
        if len(self._tasks) >= self._limit:
            coroutine.close()
            log.error("job refused", job=name, running=len(self._tasks))
            return None
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job failed", job=task.get_name(), error=type(error).__name__, exc_info=error)

    def names(self) -> list[str]:
        """Of what is running."""
        return [task.get_name() for task in self._tasks if not task.done()]

    async def drain(self, deadline: float) -> None:
        """Waits for what is running, ``deadline`` seconds at most, then cancels the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
