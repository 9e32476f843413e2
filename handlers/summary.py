"""``GET /dashboard/api/summary?minutes=``: the figures of all processes, for the dashboard and whoever else asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from handlers.bearer import problem
from handlers.dashboard_access import Access
from handlers.dashboard_api import add_get
from relay.errors import StoreError

USUAL_MINUTES, MOST_MINUTES = 15, 1440
FRESH_FOR = 1.0

Read = Callable[[int], Awaitable[dict[str, Any]]]


class Summary:
    """``read`` tells the figures of so many minutes, or raises StoreError. It is asked at most once in ``fresh_for``
    seconds for the same minutes, however many look, and for one of them at a time."""

    def __init__(
        self,
        access: Access,
        read: Read,
        *,
        fresh_for: float = FRESH_FOR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._read = read
        self._fresh_for = fresh_for
        self._clock = clock
        self._reading = asyncio.Lock()
        self._kept: dict[int, tuple[float, dict[str, Any] | StoreError]] = {}

    def add_routes(self, app: web.Application) -> None:
        add_get(app, self._access, "/summary", self._show)

    async def _show(self, request: web.Request) -> Mapping[str, object]:
        minutes = _minutes(request.query.get("minutes", str(USUAL_MINUTES)))
        async with self._reading:
            found = await self._look(minutes)
        if isinstance(found, StoreError):
            raise found
        return found

    async def _look(self, minutes: int) -> dict[str, Any] | StoreError:
        """Also that they cannot be read is believed for a while: to find out takes as long. A cancel leaves what was
        found before."""
        now = self._clock()
        self._kept = {each: kept for each, kept in self._kept.items() if now - kept[0] < self._fresh_for}
        if minutes not in self._kept:
            try:
                found: dict[str, Any] | StoreError = await self._read(minutes)
            except StoreError as error:
                found = error.with_traceback(None)
            self._kept[minutes] = self._clock(), found
        return self._kept[minutes][1]


def _minutes(given: str) -> int:
    if given.isascii() and given.isdecimal() and len(given) <= 4 and 1 <= int(given) <= MOST_MINUTES:
        return int(given)
    raise problem(400, "bad_minutes", f"minutes is a whole number from 1 to {MOST_MINUTES}.")


__all__ = ["Summary"]
