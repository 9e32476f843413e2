"""A peer that opens a websocket, says one thing, and then neither reads nor answers pings."""

from __future__ import annotations

import asyncio
import socket
from typing import Self, cast
from urllib.parse import urlsplit


class Deaf(asyncio.Protocol):
    """``heard``: every byte read, while it reads. ``lost``: set when the connection is gone."""

    transport: asyncio.Transport

    @classmethod
    async def on(cls, url: str, first: str) -> Self:
        """Connects to a ``ws://`` address, sends the text frame ``first`` and stops reading. Its buffers are small."""
        loop, there = asyncio.get_running_loop(), urlsplit(url)
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(raw, (there.hostname, there.port))
        peer = (await loop.create_connection(cls, sock=raw))[1]
        peer.transport.write(
            f"GET {there.path} HTTP/1.1\r\nHost: {there.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await peer._answered.wait()
        peer.transport.pause_reading()
        peer.say(first)
        return peer

    def __init__(self) -> None:
        self.heard = bytearray()
        self.lost = asyncio.Event()
        self._answered = asyncio.Event()

    def say(self, text: str) -> None:
        """Sends a text frame of 126 bytes to 64 KiB."""
        data = text.encode()
        assert 126 <= len(data) < 65536
        self.transport.write(b"\x81\xfe" + len(data).to_bytes(2) + bytes(4) + data)

    def listen(self) -> None:
        """Reads again, and fast."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self._answered.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
