"""The Responses API over websockets, ``GET /v1/responses``, as OpenAI's guide describes it; and what goes wrong there.

A client sends ``response.create``: the body of a request without ``stream``, and the name of a lane in ``stream_id``.
Replies of one lane come one after the other, those of different lanes side by side; every event names its lane. A
socket takes 32 names in its life and speaks 16 replies at a time; more wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, Protocol

import orjson
from aiohttp import WSMsgType, web

from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames
from phone.endpoint.player import PAGE, Player
from phone.endpoint.recorded import Recorded
from phone.endpoint.rejected import Rejected, one_of, typed
from phone.endpoint.reply import Reply
from phone.endpoint.responses import response_object

NAMES = 32
IN_FLIGHT = 16

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_EXPIRED = Rejected(
    "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.",
    code="websocket_connection_limit_reached",
)


class Host(Protocol):
    """What a socket needs of the server it belongs to."""

    player: Player

    async def came(self, record: Recorded) -> None: ...

    def prepare(self, record: Recorded, body: dict[str, Any], size: int) -> tuple[Ask, Reply, Frames]:
        """Raises Rejected."""
        ...

    def left(self, record: Recorded) -> None: ...

    def over(self, record: Recorded) -> None: ...

    def now(self) -> float: ...


class Sockets:
    """The websockets of a server. Its switches may be turned at any time:

    cancels: whether ``response.cancel`` ends a reply, is ignored, or is answered with an error, which names no lane or
    that of the reply. lanes: False refuses ``stream_id``, "unknown" does not look at it and answers one request after
    the other, like servers from before there was one. handshake: the status of an upgrade, any but 101 refuses it.
    held: while set, an upgrade waits for it. asked: how many upgrades were asked for, opened: how many there were;
    refused: how many errors were told, cancelled: how many cancels came.
    """

    def __init__(self, host: Host) -> None:
        self.cancels: Literal["honoured", "ignored", "refused", "refused by lane"] = "honoured"
        self.lanes: bool | Literal["unknown"] = True
        self.handshake = 101
        self.held: asyncio.Event | None = None
        self.asked = 0
        self.opened = 0
        self.refused = 0
        self.cancelled = 0
        self._host = host
        self._open: set[_Socket] = set()

    @property
    def open(self) -> int:
        return len(self._open)

    async def serve(self, request: web.BaseRequest, connection: int, connected_at: float) -> web.StreamResponse:
        """One upgrade and the socket it becomes, until that is closed."""
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if self.handshake != 101:
            raise Rejected("This endpoint does not upgrade.", status=self.handshake)
        ws = web.WebSocketResponse(compress=False, timeout=0.1)
        await ws.prepare(request)
        self.opened += 1
        socket = _Socket(self, self._host, ws, request, connection, connected_at)
        self._open.add(socket)
        try:
            await socket.read()
        finally:
            self._open.discard(socket)
            await socket.end()
        return ws

    async def expire(self) -> None:
        """Their hour is over: says so on every socket and closes it."""
        for socket in list(self._open):
            await socket.refuse(_EXPIRED)
            await socket.ws.close()

    def freeze(self) -> None:
        """From now on the open sockets read nothing and write nothing, as when the other end of a cable is pulled."""
        for socket in self._open:
            socket.freeze()

    def drop(self) -> None:
        """The open sockets are cut."""
        for socket in self._open:
            socket.cut()


class _Socket:
    def __init__(
        self,
        all_: Sockets,
        host: Host,
        ws: web.WebSocketResponse,
        request: web.BaseRequest,
        connection: int,
        connected_at: float,
    ) -> None:
        self.ws = ws
        self._all = all_
        self._host = host
        self._request = request
        self._connection = connection, connected_at
        self._headers = {name.lower(): value for name, value in request.headers.items()}
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        self._order: dict[str, asyncio.Lock] = {}  # of each lane; "" is the one without a name
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: dict[str, tuple[asyncio.Task[None], str, Ask]] = {}  # by the id of the response

    async def read(self) -> None:
        async for message in self.ws:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            try:
                self._take(message.type, message.data)
            except Rejected as refusal:
                await self.refuse(refusal)

    def _take(self, kind: WSMsgType, data: str | bytes) -> None:
        if kind is WSMsgType.BINARY:
            raise Rejected("Only text frames are accepted.", code="invalid_frame")
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise Rejected("We could not parse the JSON body of your request.", code="invalid_json") from None
        typed(event, dict, "event")
        one_of(event.get("type"), ("response.create", "response.cancel"), "type")
        if event.pop("type") == "response.create":
            self._create(event, len(data))
        else:
            self._cancel(event)

    def _create(self, event: dict[str, Any], size: int) -> None:
        if "stream_id" in event and not self._all.lanes:
            raise Rejected("Unknown parameter: 'stream_id'.", param="stream_id", code="unknown_parameter")
        named = "stream_id" in event
        lane = event.pop("stream_id", "")
        if self._all.lanes == "unknown":
            named, lane = False, ""
        if named and not (isinstance(lane, str) and _NAME.fullmatch(lane)):
            raise Rejected("The 'stream_id' field is not a name.", param="stream_id", code="invalid_stream_id")
        self._start(self._reply(event, lane, size))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="reply")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reply(self, body: dict[str, Any], lane: str, size: int) -> None:
        host = self._host
        record = Recorded(
            *self._connection, "WS", "/v1/responses", self._headers, body, host.now(), lane=lane, status=200
        )
        try:
            await host.came(record)
            if lane and lane not in self._order and len(self._order.keys() - {""}) >= NAMES:
                raise Rejected(
                    f"This WebSocket connection has reached its maximum number of distinct stream IDs ({NAMES}).",
                    param="stream_id",
                    code="websocket_stream_limit_reached",
                )
            for name in ("stream", "stream_options", "background"):
                if name in body:
                    raise Rejected(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
            ask, reply, made = host.prepare(record, {**body, "stream": True}, size)
            async with self._order.setdefault(lane, asyncio.Lock()), self._in_flight:
                await host.player.begin(reply)
                if reply.fault is not None and reply.fault.kind == "close":
                    record.complete = True
                    self.cut()
                elif reply.fault is not None and reply.fault.kind == "html":
                    await self.send(PAGE.encode())
                else:
                    name = orjson.loads(_payloads(made.head)[0])["response"]["id"]
                    task = asyncio.current_task()
                    assert task is not None
                    self._speaking[name] = task, lane, ask
                    try:
                        await host.player.stream(_LaneOutlet(self, lane, record), record, ask, reply, made)
                    finally:
                        del self._speaking[name]
        except Rejected as refusal:
            record.status, record.complete = refusal.status, True
            await self.refuse(refusal, lane)
        except asyncio.CancelledError:
            host.left(record)
            raise
        except ConnectionError:
            host.left(record)
        finally:
            host.over(record)

    def _cancel(self, event: dict[str, Any]) -> None:
        self._all.cancelled += 1
        if self._all.cancels == "ignored":
            return
        name = str(event.get("response_id"))
        refusal = Rejected("Invalid value: 'response.cancel'. Supported values are: 'response.create'.", param="type")
        if self._all.cancels == "refused" or name not in self._speaking:
            raise refusal
        speaking, lane, ask = self._speaking[name]
        if self._all.cancels == "refused by lane":
            self._start(self.refuse(refusal, lane))
            return
        speaking.cancel()

        async def tell() -> None:
            await asyncio.wait([speaking])
            response = response_object(ask, Reply(), [], status="cancelled") | {"id": name}
            await self.event({"type": "response.incomplete", "response": response, "sequence_number": 0}, lane)

        self._start(tell())

    async def event(self, event: Mapping[str, Any], lane: str) -> None:
        await self.send(orjson.dumps({**event, **({"stream_id": lane} if lane else {})}))

    async def refuse(self, refusal: Rejected, lane: str = "") -> None:
        self._all.refused += 1
        await self.event({"type": "error", "status": refusal.status, **refusal.body}, lane)

    async def send(self, data: bytes) -> None:
        await self._thawed.wait()
        if not self.ws.closed:
            await self.ws.send_frame(data, WSMsgType.TEXT)

    def freeze(self) -> None:
        self._thawed.clear()
        if self._request.transport is not None:
            self._request.transport.pause_reading()

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def end(self) -> None:
        """No reply goes on without its socket."""
        if tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


class _LaneOutlet:
    """A lane of a socket: one frame an event."""

    def __init__(self, socket: _Socket, lane: str, record: Recorded) -> None:
        self._socket = socket
        self._record = record
        self._end = b',"stream_id":' + orjson.dumps(lane) + b"}" if lane else b"}"

    async def open(self) -> None:
        pass

    async def write(self, events: bytes) -> None:
        for payload in _payloads(events):
            await self._socket.send(payload[:-1] + self._end)

    async def spoil(self) -> None:
        await self._socket.send(b'{"type":"response.output_te')

    def cut(self) -> None:
        self._record.complete = True
        self._socket.cut()


def _payloads(events: bytes) -> list[bytes]:
    return [line[6:] for line in events.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
