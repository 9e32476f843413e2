"""A Redis of the past: it answers a client's greetings and INFO, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def old_redis(version: str) -> AsyncIterator[str]:
    """Its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = [await _word(reader) for _ in range(int(head[1:]))]
            match words[0].upper():
                case b"INFO":
                    body = f"redis_version:{version}\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n".encode()
                    writer.write(b"$%d\r\n%s\r\n" % (len(body), body))
                case b"PING" | b"SELECT":
                    writer.write(b"+OK\r\n")
                case _:
                    writer.write(b"-ERR unknown command\r\n")
        writer.close()
        left.set()

    left = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        # Protocol 2: it does not know the greeting of 3.
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2"
        await asyncio.wait_for(left.wait(), 20)


async def _word(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline())[1:])
    return (await reader.readexactly(size + 2))[:-2]
