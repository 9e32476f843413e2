"""A server that is not ours at an address that should be: it answers everything as it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Stranger:
    """``answers``: by path, others get ``otherwise``; each is status, headers and body. ``silent``: paths that are
    never answered. ``asked``: method and path of each request."""

    url: str = ""
    otherwise: tuple[int, Mapping[str, str], str] = (404, {}, "not found")
    answers: dict[str, tuple[int, Mapping[str, str], str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        if request.path in self.silent:
            await asyncio.Event().wait()
        status, headers, body = self.answers.get(request.path, self.otherwise)
        return web.Response(status=status, headers=headers, text=body)


@asynccontextmanager
async def stranger(tls: ssl.SSLContext | None = None) -> AsyncIterator[Stranger]:
    server = Stranger()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server._answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "http" if tls is None else "https"
        server.url = f"{scheme}://localhost:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
