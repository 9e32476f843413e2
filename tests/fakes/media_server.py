"""A vendor's server of media, and names that lead where a test wants them to."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import AF_INET, AddressFamily

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

PICTURE = b"\xff\xd8 a picture"
BODY = "what an answer says that is none"


@dataclass
class Names(AbstractResolver):
    """A resolver that knows what the test tells it. ``answers`` by the name; the last one stays."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        if host.lower() not in self.answers:
            raise OSError("unknown")
        answers = self.answers[host.lower()]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=self.port or port, family=AF_INET, proto=0, flags=0)
            for each in found
        ]

    async def close(self) -> None:
        pass


@dataclass
class Vendor:
    """A server of media. ``seen``: the headers of each request, with its path."""

    url: str = ""
    port: int = 0
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.raw_path, dict(request.headers)))
        match request.path.split("/")[1:]:
            case ["picture"]:
                return web.Response(body=PICTURE, headers={"Content-Type": "image/jpeg", "Set-Cookie": "a=b"})
            case ["voice"]:
                return web.Response(body=b"ogg", headers={"Content-Type": "Audio/OGG; codecs=opus"})
            case ["page"]:
                return web.Response(text="<p>", content_type="text/html")
            case ["status", status]:
                return web.Response(status=int(status), text=BODY)
            case ["to"]:
                return web.Response(
                    status=int(request.query.get("status", "302")), headers={"Location": request.query["url"]}
                )
            case ["nowhere"]:
                return web.Response(status=302)
            case ["announced", size]:
                return web.Response(body=b"x" * int(size), content_type="image/jpeg")
            case ["streamed", size]:
                return await self._stream(request, [b"x" * int(size)])
            case ["packed", size]:
                content = gzip.compress(b"x" * int(size))
                return web.Response(body=content, headers={"Content-Type": "image/jpeg", "Content-Encoding": "gzip"})
            case ["badly-packed"]:
                return web.Response(body=b"no gzip", headers={"Content-Type": "image/jpeg", "Content-Encoding": "gzip"})
            case ["half-packed"]:
                content = zlib.compress(b"x" * 500)[:-8]
                return web.Response(body=content, headers={"Content-Type": "image/jpeg", "Content-Encoding": "deflate"})
            case ["broken"]:
                response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": "900"})
                await response.prepare(request)
                await response.write(b"x")
                assert request.transport is not None
                request.transport.close()
                return response
            case ["held"]:
                self.waiting += 1
                await self.held.wait()
                return web.Response(body=PICTURE, content_type="image/jpeg")
        raise AssertionError(request.path)

    async def _stream(self, request: web.Request, chunks: list[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response


@asynccontextmanager
async def vendor(tls: ssl.SSLContext | None = None) -> AsyncIterator[Vendor]:
    there = Vendor()
    app = web.Application()
    app.router.add_get("/{path:.*}", there.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        there.port = runner.addresses[0][1]
        there.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{there.port}"
        yield there
    finally:
        there.held.set()
        await runner.cleanup()
