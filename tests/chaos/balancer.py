"""A platform's balancer: connections go to the process with the fewest of them, among those that say they are ready."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp

from handlers.health import READY
from tests.calls.front import Front


class Balancer(Front):
    """``url`` never changes. Processes are asked ``every`` so many seconds whether they are ready; one that is not gets
    no new connection and keeps those it has."""

    def __init__(self, http: aiohttp.ClientSession, every: float = 0.05) -> None:
        super().__init__("")
        self._http = http
        self._every = every
        self._ready: dict[str, bool] = {}
        self._carried: dict[str, set[asyncio.StreamWriter]] = {}
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def add(self, url: str) -> None:
        """One more process; returns once it is ready."""
        self._ready[url], self._carried[url] = False, set()
        await self.until(url, ready=True)

    def remove(self, url: str) -> None:
        """It is gone."""
        del self._ready[url], self._carried[url]

    async def until(self, url: str, *, ready: bool, within: float = 30.0) -> None:
        async with asyncio.timeout(within):
            while self._ready[url] is not ready:
                self._news.clear()
                await self._news.wait()

    def _choose(self) -> str:
        ready = [url for url, fine in self._ready.items() if fine]
        return min(ready, key=lambda url: len(self._open & self._carried[url]), default="http://127.0.0.1:9")

    def _passed_on(self, target: str, there: asyncio.StreamWriter) -> None:
        if target in self._carried:
            self._carried[target].add(there)

    async def _watch(self) -> None:
        while True:
            for url in [*self._ready]:
                fine = await self._asked(url)
                if url in self._ready:
                    self._ready[url] = fine
            self._news.set()
            await asyncio.sleep(self._every)

    async def _asked(self, url: str) -> bool:
        try:
            async with self._http.get(url + READY) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._watching = asyncio.create_task(self._watch(), name="watch readiness")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await super().__aexit__(kind, error, trace)
