"""Plays a reply: its pace, its gates, and what goes wrong with it. How its bytes leave is an outlet's business."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import uuid4

from aiohttp import web

from phone.endpoint import wire
from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames
from phone.endpoint.recorded import Recorded
from phone.endpoint.rejected import Rejected
from phone.endpoint.reply import Fault, Gate, Reply

_GARBAGE = b'data: {"type":"response.output_te\n\n\x00\xfe no event at all\ndata\n\n'
PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def headers_of_answer() -> dict[str, str]:
    """Headers every answer of the API has."""
    return {"x-request-id": f"req_{uuid4().hex}", "openai-processing-ms": "1", "x-ratelimit-remaining-requests": "9999"}


class Outlet(Protocol):
    """The way of a stream to the client."""

    async def open(self) -> None:
        """Before the first byte: the response headers, where there are such."""
        ...

    async def write(self, events: bytes) -> None:
        """Server-sent events, whole ones."""
        ...

    async def spoil(self) -> None:
        """Something that is no event."""
        ...

    def cut(self) -> None:
        """Ends the connection after what was written; our doing, so the client has not gone early."""
        ...


class HttpOutlet:
    """A chunked response of server-sent events."""

    def __init__(self, request: web.BaseRequest, record: Recorded, shred: int) -> None:
        self.response = web.StreamResponse(
            headers={**headers_of_answer(), "Content-Type": "text/event-stream; charset=utf-8"}
        )
        self._request = request
        self._record = record
        self._shred = shred

    async def open(self) -> None:
        await self.response.prepare(self._request)

    async def write(self, events: bytes) -> None:
        if not self._shred:
            await self.response.write(events)
            return
        for start in range(0, len(events), self._shred):
            await self.response.write(events[start : start + self._shred])

    async def spoil(self) -> None:
        await self.response.write(_GARBAGE)

    def cut(self) -> None:
        _cut(self._request, self._record)


class Player:
    """Holds nothing of a reply; time is passed in. Cancelled by the server when the client goes away."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]], clock: Callable[[], float]) -> None:
        self._sleep = sleep
        self._clock = clock

    async def play(
        self, request: web.BaseRequest, record: Recorded, ask: Ask, reply: Reply, made: Frames
    ) -> web.StreamResponse:
        """The answer over HTTP, to its end or its fault. Raises Rejected for a fault that is an error answer."""
        fault = reply.fault
        await self.begin(reply)
        if fault is not None and fault.kind == "close":
            _cut(request, record)
            return web.Response()
        record.status = 200
        if fault is not None and fault.kind == "html":
            return web.Response(text=PAGE, content_type="text/html")
        if ask.stream:
            outlet = HttpOutlet(request, record, reply.shred)
            await self.stream(outlet, record, ask, reply, made)
            return outlet.response
        return await self._whole(request, record, reply, made)

    async def begin(self, reply: Reply) -> None:
        """What comes before a stream. Raises Rejected for a fault that is an error answer."""
        await self._hold(reply, -1)
        fault = reply.fault
        if fault is not None and fault.kind == "status":
            raise Rejected(fault.message, status=fault.status, type=fault.type, code=fault.code, headers=fault.headers)

    async def stream(self, outlet: Outlet, record: Recorded, ask: Ask, reply: Reply, made: Frames) -> None:
        """The reply as events, to their end or to the fault that ends them."""
        due = self._clock()
        first = reply.first
        if reply.late_headers:
            due, first = await self._pass(due, first), 0.0
        await outlet.open()
        await outlet.write(made.head)
        for step, data in enumerate(made.steps):
            due = await self._pass(due, first if step == 0 else _pace(reply))
            if await self._hold(reply, step):
                due = self._clock()
            if reply.fault is not None and reply.fault.at == step:
                if await self._ends(reply.fault, outlet, record, ask):
                    return
                due = self._clock()
            await outlet.write(data if reply.stamp is None else reply.stamp(data))
            record.sent += 1
        await self._hold(reply, len(made.steps))
        if (
            reply.fault is not None
            and reply.fault.at == len(made.steps)
            and await self._ends(reply.fault, outlet, record, ask)
        ):
            return
        await outlet.write(made.tail)
        record.complete = True

    async def _ends(self, fault: Fault, outlet: Outlet, record: Recorded, ask: Ask) -> bool:
        """Lets a fault happen inside a stream; True if that was the end of it."""
        match fault.kind:
            case "slow" | "stall":
                await self._pass(self._clock(), fault.seconds)
                return False
            case "garbage":
                await outlet.spoil()
                return False
            case "failed" | "error":
                await outlet.write(wire.failure(ask, fault.kind, fault.message, fault.code or "server_error"))
            case "cut":
                outlet.cut()
        return True

    async def _whole(
        self, request: web.BaseRequest, record: Recorded, reply: Reply, made: Frames
    ) -> web.StreamResponse:
        due = self._clock()
        for step in range(len(made.steps) + 1):
            due = await self._pass(due, reply.first if step == 0 else _pace(reply))
            await self._hold(reply, step)
        record.sent = len(made.steps)
        fault = reply.fault
        if fault is not None and fault.kind in ("slow", "stall"):
            await self._pass(due, fault.seconds)
        elif fault is not None:
            response = web.StreamResponse(headers={**headers_of_answer(), "Content-Length": str(len(made.whole))})
            await response.prepare(request)
            await response.write(made.whole[: len(made.whole) // 2])
            _cut(request, record)
            return response
        return web.Response(body=made.whole, headers={**headers_of_answer(), "Content-Type": "application/json"})

    async def _pass(self, since: float, seconds: float) -> float:
        """Lets time pass until ``seconds`` after ``since`` and returns that moment: a late wake-up is made up for."""
        due = since + seconds
        left = due - self._clock()
        if seconds > 0 and left > 0:
            await self._sleep(left)
        return due

    async def _hold(self, reply: Reply, step: int) -> bool:
        """Waits at the gate before a step; True if there is one."""
        gate = reply.gate_before(step)
        if gate is None:
            return False
        if isinstance(gate, Gate):
            gate.reached.set()
        await gate.wait()
        return True


def _cut(request: web.BaseRequest, record: Recorded) -> None:
    record.complete = True
    if request.transport is not None:
        request.transport.close()


def _pace(reply: Reply) -> float:
    return reply.pace() if callable(reply.pace) else reply.pace
