"""Plays a reply over HTTP: its pace, its gates, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from aiohttp import web

from phone.endpoint import wire
from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames
from phone.endpoint.recorded import Recorded
from phone.endpoint.rejected import Rejected
from phone.endpoint.reply import Fault, Gate, Reply

_GARBAGE = b'data: {"type":"response.output_te\n\n\x00\xfe no event at all\ndata\n\n'
_PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def headers_of_answer() -> dict[str, str]:
    """Headers every answer of the API has."""
    return {"x-request-id": f"req_{uuid4().hex}", "openai-processing-ms": "1", "x-ratelimit-remaining-requests": "9999"}


class Player:
    """Holds nothing of a reply; time is passed in. Cancelled by the server when the client goes away."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]], clock: Callable[[], float]) -> None:
        self._sleep = sleep
        self._clock = clock

    async def play(
        self, request: web.BaseRequest, record: Recorded, ask: Ask, reply: Reply, made: Frames
    ) -> web.StreamResponse:
        """The answer, sent to its end or to its fault. Raises Rejected for a fault that is an error answer."""
        fault = reply.fault
        await self._hold(reply, -1)
        if fault is not None and fault.kind == "status":
            raise Rejected(fault.message, status=fault.status, type=fault.type, code=fault.code, headers=fault.headers)
        if fault is not None and fault.kind == "close":
            self._cut(request, record)
            return web.Response()
        record.status = 200
        if fault is not None and fault.kind == "html":
            return web.Response(text=_PAGE, content_type="text/html")
        if ask.stream:
            return await self._stream(request, record, ask, reply, made)
        return await self._whole(request, record, reply, made)

    async def _stream(
        self, request: web.BaseRequest, record: Recorded, ask: Ask, reply: Reply, made: Frames
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={**headers_of_answer(), "Content-Type": "text/event-stream; charset=utf-8"}
        )
        due = self._clock()
        first = reply.first
        if reply.late_headers:
            due, first = await self._pass(due, first), 0.0
        await response.prepare(request)
        await _write(response, made.head, reply.shred)
        for step, data in enumerate(made.steps):
            due = await self._pass(due, first if step == 0 else _pace(reply))
            if await self._hold(reply, step):
                due = self._clock()
            if reply.fault is not None and reply.fault.at == step:
                if await self._ends(reply.fault, request, record, response, ask):
                    return response
                due = self._clock()
            await _write(response, data, reply.shred)
            record.sent += 1
        await self._hold(reply, len(made.steps))
        if (
            reply.fault is not None
            and reply.fault.at == len(made.steps)
            and await self._ends(reply.fault, request, record, response, ask)
        ):
            return response
        await _write(response, made.tail, reply.shred)
        record.complete = True
        return response

    async def _ends(
        self, fault: Fault, request: web.BaseRequest, record: Recorded, response: web.StreamResponse, ask: Ask
    ) -> bool:
        """Lets a fault happen inside a stream; True if that was the end of it."""
        match fault.kind:
            case "slow" | "stall":
                await self._pass(self._clock(), fault.seconds)
                return False
            case "garbage":
                await response.write(_GARBAGE)
                return False
            case "failed" | "error":
                await response.write(wire.failure(ask, fault.kind, fault.message, fault.code or "server_error"))
            case "cut":
                self._cut(request, record)
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
            self._cut(request, record)
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

    def _cut(self, request: web.BaseRequest, record: Recorded) -> None:
        """Ends the connection after what was written; our doing, so the client has not gone early."""
        record.complete = True
        if request.transport is not None:
            request.transport.close()


def _pace(reply: Reply) -> float:
    return reply.pace() if callable(reply.pace) else reply.pace


async def _write(response: web.StreamResponse, data: bytes, shred: int) -> None:
    if not shred:
        await response.write(data)
        return
    for start in range(0, len(data), shred):
        await response.write(data[start : start + shred])
