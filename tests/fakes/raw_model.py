"""A model's endpoint as bytes on a socket: it answers with what it is given, in the pieces it is given, and counts
connections. For what a well-behaved server cannot show: cut bodies, odd line ends, silence, garbage."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Literal, Self

import orjson

Step = bytes | asyncio.Event | Literal["hold", "close", "reset"]
"""Bytes are written; an event is waited for; ``hold`` waits until the peer closes; ``close`` and ``reset`` end it."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_raw\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = HEAD + b"connection: close\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it came in. ``connection`` counts from 1."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class RawModel:
    """Answers each POST with the next of ``answers`` (the last again and again), each GET with ``models_answer``."""

    def __init__(self, *answers: Sequence[Step]) -> None:
        self.answers = deque(answers)
        self.models_answer: Sequence[Step] = [http(200, {"id": "m", "object": "model"})]
        self.connections = 0
        self.requests: list[Received] = []
        self.peer_closed = asyncio.Event()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def posts(self) -> list[Received]:
        return [request for request in self.requests if request.method == "POST"]

    @property
    def gets(self) -> list[Received]:
        return [request for request in self.requests if request.method == "GET"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def until(self, condition: Any, within: float = 20.0) -> None:
        """Waits until ``condition()`` holds; it is looked at after every request and connection."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        number = self.connections
        try:
            while (request := await _read_request(number, reader)) is not None:
                self.requests.append(request)
                async with self._changed:
                    self._changed.notify_all()
                if not await self._answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.peer_closed.set()
        except asyncio.CancelledError:
            pass  # the test is over; start_server's own callback would log it
        finally:
            writer.close()

    async def _answer(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Plays one answer. False: the connection is over."""
        if request.method == "GET":
            steps = self.models_answer
        else:
            steps = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                await asyncio.sleep(0)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step == "hold":
                await reader.read(1)
                self.peer_closed.set()
                return False
            else:
                if step == "reset":
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                return False
        return True


def http(status: int, body: object, **headers: str) -> bytes:
    """A whole JSON response."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def event(data: object) -> bytes:
    """One server-sent event."""
    return b"data: " + (data if isinstance(data, bytes) else orjson.dumps(data)) + b"\n\n"


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def streamed(events: Iterable[object]) -> list[Step]:
    """A well-formed streamed answer, one chunk an event."""
    return [CHUNKED, *(chunk(event(data)) for data in events), END]


def in_pieces(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    """``body`` cut at the given places."""
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(body)}), len(body)]
    return [body[start:end] for start, end in pairwise(places)]


# What the two APIs send, as short as it can be.


def text(piece: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}


def ending(reason: str, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def chat_answer(*pieces: str) -> list[Step]:
    return streamed([*(text(piece) for piece in pieces), ending("stop"), b"[DONE]"])


def delta(piece: str, kind: str = "output_text") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": 0, "content_index": 0, "delta": piece}


def completed(**response: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", **response}}


def responses_answer(*pieces: str) -> list[Step]:
    return streamed([{"type": "response.created", "response": {}}, *(delta(piece) for piece in pieces), completed()])


async def _read_request(number: int, reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(number, method, path, headers, body)
