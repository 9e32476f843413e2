"""What stands between Twilio and several equal processes: it passes connections on to one of them, with TLS or not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Front:
    """A proxy of bytes. ``url`` never changes; ``pass_on`` has new connections go elsewhere, ``fail_over`` cuts the
    others too. ``tls``: it speaks TLS with those who come. ``rewrite``: what becomes of what they send."""

    def __init__(
        self,
        target: str = "",
        *,
        tls: ssl.SSLContext | None = None,
        rewrite: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self._target = target
        self._tls = tls
        self.rewrite = rewrite
        self._pipes: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    def pass_on(self, target: str) -> None:
        """New connections go there; those that are open stay where they are."""
        self._target = target

    def fail_over(self, target: str) -> None:
        self.pass_on(target)
        for writer in self._open:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}" if self._tls is None else f"https://localhost:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.fail_over("")
        for pipe in self._pipes:
            pipe.cancel()
        if self._pipes:
            await asyncio.wait(self._pipes)

    def _choose(self) -> str:
        """Where the next connection goes."""
        return self._target

    def _passed_on(self, target: str, there: asyncio.StreamWriter) -> None:
        """A connection is open to this target."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._choose()
        there = urlsplit(target)
        try:
            far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        except OSError:
            writer.transport.abort()
            return
        self._passed_on(target, far_writer)
        for each in (writer, far_writer):
            self._open.add(each)
        ways = ((reader, far_writer, lambda data: self.rewrite(data)), (far_reader, writer, bytes))
        for source, sink, change in ways:
            pipe = asyncio.create_task(self._pipe(source, sink, change), name="pipe")
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        try:
            while data := await source.read(65536):
                sink.write(change(data))
                await sink.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            sink.close()
            self._open.discard(sink)
