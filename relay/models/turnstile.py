"""One at a time through each of many doors, which are there only while somebody is at them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Door:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    people: int = 0  # inside and waiting


class Turnstile:
    """In the order they came. Holds nothing of a door at which nobody is."""

    def __init__(self) -> None:
        self._doors: dict[str, _Door] = {}

    def __len__(self) -> int:
        return len(self._doors)

    @asynccontextmanager
    async def through(self, name: str, patience: float) -> AsyncIterator[None]:
        """Raises TimeoutError after ``patience`` seconds before a door that stays shut. However the context is left, a
        cancel included, the next one comes in."""
        door = self._doors.setdefault(name, _Door())
        door.people += 1
        try:
            async with asyncio.timeout(patience):
                await door.lock.acquire()
            try:
                yield
            finally:
                door.lock.release()
        finally:
            door.people -= 1
            if not door.people:
                del self._doors[name]
