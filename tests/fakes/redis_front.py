"""A Redis server as it is reached over a network: with TLS, slow, or cut off."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class RedisFront:
    """Passes everything on to the server at ``url`` (``redis://`` or ``unix://``) and back. ``delay``: seconds that
    each command, or pipeline, waits before it is passed on; those of one connection wait one after the other."""

    def __init__(self, url: str, *, encrypted: bool) -> None:
        self._server = urlsplit(url)
        self._encrypted = encrypted
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"redis{'s' if self._encrypted else ''}://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            await self._pass_on(reader, writer)
        except OSError:
            pass
        finally:
            self._lines.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server.scheme == "unix":
            answers, commands = await asyncio.open_unix_connection(self._server.path)
        else:
            answers, commands = await asyncio.open_connection(self._server.hostname, self._server.port)
        try:
            back = asyncio.create_task(_copy(answers, writer, self, slow=False), name="redis front")
            there = asyncio.create_task(_copy(reader, commands, self, slow=True), name="redis front")
            try:
                await asyncio.wait([back, there], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in (back, there):
                    each.cancel()
                await asyncio.gather(back, there, return_exceptions=True)
        finally:
            commands.close()

    async def cut(self) -> None:
        """Every connection that is open now is lost."""
        lines = [*self._lines]
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, front: RedisFront, *, slow: bool) -> None:
    while data := await reader.read(1 << 16):
        if slow and front.delay:
            await asyncio.sleep(front.delay)
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def redis_front(url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RedisFront]:
    front = RedisFront(url, encrypted=tls is not None)
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0, ssl=tls)
    front.port = server.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        server.close()
        await front.cut()
        await server.wait_closed()
