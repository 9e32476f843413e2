"""An OpenAI-compatible endpoint without a model: for people (rehearsal), for load, and for tests. Never calls anywhere.

    async with ModelServer(Rehearsals.load(agents)) as server:      # words of the agents' rehearsal.toml
        AsyncOpenAI(base_url=server.url, api_key="rehearsal")       # model="rehearsal:<agent>"

    python -m phone.model --port 9000 --first 0.25:0.8 --pace 0.02 --tokens 60 --slow 0.05 --cut 0.03 --seed 1

Routes below ``/v1``: ``POST /chat/completions``, ``POST /responses``, ``GET /responses`` (a websocket),
``GET /models``, ``GET /models/{model}``; and for load tests ``GET /control`` (counts) and ``POST /control`` (a JSON
object of new values for ``Load``).
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import orjson
from aiohttp import web

from phone.endpoint import wire
from phone.endpoint.checks import Api, Ask, check
from phone.endpoint.live import LiveRehearsals
from phone.endpoint.parts import Frames
from phone.endpoint.player import Player, headers_of_answer
from phone.endpoint.recorded import Recorded
from phone.endpoint.rejected import Rejected
from phone.endpoint.reply import Fault, Gate, Reply, ToolUse, pieces
from phone.endpoint.script import Rehearsal, Rehearsals
from phone.endpoint.sockets import Sockets
from phone.endpoint.strain import Delay, Load, Strain

__all__ = [
    "Ask",
    "Delay",
    "Fault",
    "Gate",
    "Load",
    "ModelServer",
    "Recorded",
    "Rehearsal",
    "Rehearsals",
    "Rejected",
    "Reply",
    "Strain",
    "ToolUse",
    "pieces",
    "rehearsal_server",
]

Behaviour = Callable[[Ask], Reply]

_APIS: dict[str, Api] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
_LEAVE = 0.5


class _Connections(web.Server):
    """Counts the connections accepted and gives each its number, from 1, and the moment it was open."""

    def __init__(self, clock: Callable[[], float], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.accepted = 0
        self.numbers: dict[object, int] = {}
        self.opened: dict[int, float] = {}
        self._clock = clock

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.accepted += 1
        self.numbers[handler] = self.accepted
        self.opened[self.accepted] = self._clock()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if number := self.numbers.pop(handler, None):
            del self.opened[number]


class ModelServer:
    """The endpoint. Start and stop it as a context, or by ``start`` and ``close``.

    behaviour: makes the reply to a request; replies given to ``script`` go first. key: the bearer token wanted, None
    takes any. models: the names that exist, None takes any. keep: how many of the last requests are remembered, words
    included; with 0 only the counts are. ``sockets``: its websockets; an upgrade is no request, what comes by one is.
    """

    def __init__(
        self,
        behaviour: Behaviour = lambda ask: Reply(text="Hello from the scripted model."),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        models: Collection[str] | None = None,
        keep: int = 1000,
        tls: ssl.SSLContext | None = None,
        keep_alive: float = 3600.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour
        self.total = 0
        self.active = 0
        self.closed_early = 0
        self.requests: deque[Recorded] = deque(maxlen=keep)
        self._address = (host, port)
        self._key = key
        self._models = models
        self._tls = tls
        self._keep_alive = keep_alive
        self._clock = clock
        self.player = Player(sleep, clock)
        self.sockets = Sockets(self)
        self._scripted: deque[Reply] = deque()
        self._reasoned: dict[str, str] = {}
        self._serving: set[asyncio.Task[Any]] = set()
        self._busy: set[object] = set()
        self._arrived = asyncio.Condition()
        self._closing = False
        self._protocols: _Connections | None = None
        self._listener: asyncio.Server | None = None

    # -- for whoever runs it

    @property
    def url(self) -> str:
        """The base URL for a client, ``http://host:port/v1``."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._address[0]}:{self._address[1]}/v1"

    @property
    def connections(self) -> int:
        """How many connections were accepted since the start."""
        return self._protocols.accepted if self._protocols is not None else 0

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._protocols.numbers) if self._protocols is not None else 0

    @property
    def asked(self) -> list[Recorded]:
        """The remembered requests for an answer, in order, refused ones too; without the looks at ``/models``."""
        return [request for request in self.requests if request.path in _APIS]

    def script(self, *replies: Reply) -> None:
        """The next replies, in order, in place of the behaviour's."""
        self._scripted.extend(replies)

    async def received(self, count: int, *, within: float = 5.0) -> Recorded:
        """Waits until so many requests for an answer have come and returns the last of them. Raises TimeoutError."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= count)
            return self.asked[count - 1]

    def close_idle(self) -> None:
        """Closes the connections on which nothing is asked, as servers do after a while."""
        if self._protocols is not None:
            for handler in self._protocols.connections:
                if handler not in self._busy:
                    handler.force_close()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._closing = False
        self._protocols = _Connections(
            self._clock, self._serve, handler_cancellation=True, access_log=None, keepalive_timeout=self._keep_alive
        )
        self._listener = await loop.create_server(self._protocols, *self._address, ssl=self._tls)
        self._address = (self._address[0], self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening, ends what is being streamed, and closes every connection; then no task is left."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_LEAVE)
        if self._protocols is not None:
            self._protocols.pre_shutdown()  # ends the idle ones, for which shutdown would wait
            await self._protocols.shutdown(_LEAVE)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- requests

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v1/responses" and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._upgrade(request)
        raw = await request.read()
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            body = None
        connection, connected_at = self._connection(request)
        record = Recorded(
            connection=connection,
            connected_at=connected_at,
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            at=self._clock(),
        )
        # aiohttp runs a connection in one task and cancels it when the client goes away; so does close().
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._busy.add(request.protocol)
        try:
            await self.came(record)
            response = await self._route(request, record, len(raw))
            record.complete = True
            return response
        except Rejected as refusal:
            record.status, record.complete = refusal.status, True
            return _json(refusal.body, status=refusal.status, headers=refusal.headers)
        except asyncio.CancelledError:
            self.left(record)
            raise
        except ConnectionError:
            # The client has gone: nobody reads this answer, and it is no error of ours to be logged.
            self.left(record)
            return web.Response()
        finally:
            self._serving.discard(task)
            self._busy.discard(request.protocol)
            self.over(record)

    async def _upgrade(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._busy.add(request.protocol)
        try:
            if self._key is not None:
                self._authorise(request.headers.get("Authorization", ""))
            return await self.sockets.serve(request, *self._connection(request))
        except Rejected as refusal:
            return _json(refusal.body, status=refusal.status, headers=refusal.headers)
        except ConnectionError:
            return web.Response()
        finally:
            self._serving.discard(task)
            self._busy.discard(request.protocol)

    def _connection(self, request: web.BaseRequest) -> tuple[int, float]:
        """The number of a request's connection, and when that was open."""
        assert self._protocols is not None
        number = self._protocols.numbers.get(request.protocol, 0)
        return number, self._protocols.opened.get(number, 0.0)

    async def came(self, record: Recorded) -> None:
        """A request has been read."""
        self.total += 1
        self.active += 1
        self.requests.append(record)
        async with self._arrived:
            self._arrived.notify_all()

    def left(self, record: Recorded) -> None:
        """Its client has gone or wants no more of it."""
        if not record.complete and not self._closing:
            record.closed_early = True
            self.closed_early += 1

    def over(self, record: Recorded) -> None:
        """The server is done with it."""
        self.active -= 1
        record.ended_at = self._clock()
        record.ended.set()

    def now(self) -> float:
        return self._clock()

    async def _route(self, request: web.BaseRequest, record: Recorded, size: int) -> web.StreamResponse:
        path = request.path
        if path == "/v1/control" and isinstance(self.behaviour, Strain):
            return self._control(self.behaviour, record)
        if self._key is not None:
            self._authorise(record.headers.get("authorization", ""))
        if path in _APIS:
            if record.method != "POST":
                raise _unknown_url(record, 405)
            return await self._answer(request, record, _APIS[path], size)
        if record.method == "GET" and path == "/v1/models":
            record.status = 200
            names = sorted(self._models) if self._models is not None else ["scripted"]
            return _json({"object": "list", "data": [_model(name) for name in names]})
        if record.method == "GET" and path.startswith("/v1/models/"):
            name = unquote(path.removeprefix("/v1/models/"))
            self._exists(name)
            record.status = 200
            return _json(_model(name))
        raise _unknown_url(record, 404)

    def _authorise(self, header: str) -> None:
        assert self._key is not None
        if not header:
            raise Rejected("You didn't provide an API key.", status=401)
        given = header.removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key.encode()):
            raise Rejected("Incorrect API key provided.", status=401, code="invalid_api_key")

    def _exists(self, model: str) -> None:
        if self._models is not None and model not in self._models:
            raise Rejected(
                f"The model '{model}' does not exist or you do not have access to it.",
                status=404,
                code="model_not_found",
            )

    def _control(self, strain: Strain, record: Recorded) -> web.Response:
        if record.method == "POST":
            try:
                strain.load = strain.load.changed(record.body if isinstance(record.body, dict) else {"": None})
            except ValueError as error:
                raise Rejected(str(error)) from error
        record.status = 200
        counts = {name: getattr(self, name) for name in ("total", "active", "connections", "closed_early")}
        # This request is not one of the model's.
        return _json({**counts, "total": counts["total"] - 1, "active": counts["active"] - 1})

    async def _answer(self, request: web.BaseRequest, record: Recorded, api: Api, size: int) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise Rejected(
                f"Unsupported content type: '{request.content_type}'. "
                "This API method only accepts 'application/json' requests.",
                code="unsupported_content_type",
            )
        ask, reply, made = self._prepare(record, api, record.body, size)
        return await self.player.play(request, record, ask, reply, made)

    def prepare(self, record: Recorded, body: Any, size: int) -> tuple[Ask, Reply, Frames]:
        """What a request by websocket asks and how it is answered. Raises Rejected."""
        return self._prepare(record, "responses", body, size)

    def _prepare(self, record: Recorded, api: Api, body: Any, size: int) -> tuple[Ask, Reply, Frames]:
        ask = record.ask = check(api, body, size=size, at=record.at, reasoned=self._reasoned)
        self._exists(ask.model)
        reply = self._scripted.popleft() if self._scripted else self.behaviour(ask)
        made = wire.frames(ask, reply)
        self._remember(made.reasoned)
        return ask, reply, made

    def _remember(self, reasoned: Mapping[str, str]) -> None:
        self._reasoned.update(reasoned)
        while len(self._reasoned) > 1000:
            self._reasoned.pop(next(iter(self._reasoned)))


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers={**headers_of_answer(), **(headers or {}), "Content-Type": "application/json"},
    )


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rehearsal"}


def _unknown_url(record: Recorded, status: int) -> Rejected:
    return Rejected(f"Invalid URL ({record.method} {record.path})", status=status)


def rehearsal_server(agents: Path, *, default: str = "default", port: int = 0) -> ModelServer:
    """The endpoint ``relay serve`` uses when no model is set: every agent's script as it is on disk, nothing
    remembered. Raises ScriptError (a ValueError) with everything that is wrong in the agents' rehearsal files."""
    scripts = LiveRehearsals(agents, default=default)
    return ModelServer(scripts, models=scripts, port=port, keep=0)


if __name__ == "__main__":
    from phone.endpoint.command import main

    main(ModelServer)
