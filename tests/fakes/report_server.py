"""Whoever wants reports, as a real HTTP server: keeps what it was sent."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

SECRET = "report-secret"


@dataclass(frozen=True, slots=True)
class Delivered:
    body: bytes
    signature: str
    content_type: str

    @property
    def signed(self) -> bool:
        """By whoever has the secret, over these very bytes."""
        wanted = "sha256=" + hmac.new(SECRET.encode(), self.body, "sha256").hexdigest()
        return hmac.compare_digest(self.signature, wanted)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass
class ReportServer:
    """``url`` is the value of REPORT_URL. ``answers``: the statuses of the next deliveries, 200 behind them.
    ``held``: the next deliveries are not answered before it is set."""

    url: str = ""
    received: list[Delivered] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    held: asyncio.Event | None = None
    elsewhere: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a process that reports to this server."""
        return {"REPORT_URL": self.url, "REPORT_SECRET": SECRET}

    async def until(self, true: Callable[[], object], within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not true():
                self.arrived.clear()
                await self.arrived.wait()

    async def report(self, within: float = 20.0) -> dict[str, Any]:
        """The first one, once it is there, its signature checked."""
        await self.until(lambda: self.received, within)
        assert self.received[0].signed
        return self.received[0].data

    async def _take(self, request: web.Request) -> web.Response:
        signature = request.headers.get("X-Relay-Signature", "")
        self.received.append(Delivered(await request.read(), signature, request.headers.get("Content-Type", "")))
        self.arrived.set()
        if self.held is not None:
            await self.held.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()


@asynccontextmanager
async def report_server() -> AsyncIterator[ReportServer]:
    server = ReportServer()
    app = web.Application()
    app.router.add_post("/reports", server._take)
    app.router.add_route("*", "/elsewhere", server._elsewhere)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/reports?to=me"
        yield server
    finally:
        await runner.cleanup()
