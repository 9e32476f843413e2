"""How late a process of the load itself is: an event that had to wait for the loop makes a figure too large."""

from __future__ import annotations

import asyncio
import time

EVERY = 0.02
TIMER = 0.001  # the step of the loop's own timers: so much earlier or later says nothing


class Lag:
    """``run`` measures until it is cancelled."""

    def __init__(self) -> None:
        self._late: list[float] = []

    async def run(self) -> None:
        while True:
            due = time.monotonic() + EVERY
            await asyncio.sleep(EVERY)
            self._late.append(max(0.0, time.monotonic() - due - TIMER))

    def take(self) -> list[float]:
        """Seconds, one value each ``EVERY`` of them, since it was last asked."""
        late, self._late = self._late, []
        return late
