"""An app at the other end of ``phone.caller``: aiohttp, one voice webhook, one websocket, one action callback.

What it says is decided by ``behave``; left out, it repeats what the caller said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self
from xml.sax.saxutils import quoteattr

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from relay.frames import Incoming, Outgoing, Prompt, Setup, Text, dump, parse_incoming


class Wire:
    """The app's end of one websocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket

    async def send(self, *frames: Outgoing | str | bytes) -> None:
        for frame in frames:
            if isinstance(frame, bytes):
                await self.socket.send_bytes(frame)
            else:
                await self.socket.send_str(frame if isinstance(frame, str) else dump(frame))

    async def say(self, text: str) -> None:
        await self.send(Text(text, last=True))


Behave = Callable[[Wire, Incoming], Awaitable[None]]


async def echo(wire: Wire, frame: Incoming) -> None:
    if isinstance(frame, Prompt) and frame.last:
        await wire.say(f"You said: {frame.voice_prompt}.")


class EchoApp:
    """attributes: of ``<ConversationRelay>``. public: the address its TwiML names instead of the one it listens on.
    answers: TwiML bodies of successive action callbacks, the last one again and again; "connect" for a new session."""

    def __init__(
        self,
        behave: Behave = echo,
        *,
        answers: tuple[str, ...] = ("",),
        public: str = "",
        voice_status: int = 200,
        relay_status: int = 0,
        document: str = "",
        action: bool = True,
        **attributes: str,
    ) -> None:
        self.behave = behave
        self.attributes = {"events": "speaker-events tokens-played"} | attributes
        self.answers = list(answers)
        self.public = public
        self.voice_status, self.relay_status, self.document, self.action = voice_status, relay_status, document, action
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.frames: list[Incoming] = []
        self.close_codes: list[int | None] = []
        app = web.Application()
        app.router.add_post("/voice/incoming", self._incoming)
        app.router.add_post("/voice/action", self._action)
        app.router.add_get("/voice/relay", self._relay)
        app.router.add_get("/health/live", self._live)
        self.server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self.server.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    @property
    def setups(self) -> list[Setup]:
        return [frame for frame in self.frames if isinstance(frame, Setup)]

    @property
    def actions(self) -> list[dict[str, str]]:
        return [fields for path, _, fields in self.requests if path.startswith("/voice/action")]

    def connect(self, **more: str) -> str:
        base = self.public or self.url
        attributes = {"url": base.replace("http", "ws", 1) + "/voice/relay"} | self.attributes | more
        written = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
        action = f" action={quoteattr(base + '/voice/action?attempt=1')}" if self.action else ""
        return (
            f"<Connect{action}><ConversationRelay {written}>"
            f'<Parameter name="ticket" value="a &amp; b"/></ConversationRelay></Connect>'
        )

    async def _note(self, request: web.Request) -> None:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((request.path_qs, dict(request.headers), fields))

    async def _incoming(self, request: web.Request) -> web.Response:
        await self._note(request)
        if self.voice_status != 200:
            return web.Response(status=self.voice_status)
        return self._twiml(self.document or self.connect())

    async def _action(self, request: web.Request) -> web.Response:
        await self._note(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return self._twiml(self.connect(welcomeGreeting="") if answer == "connect" else answer)

    def _twiml(self, body: str) -> web.Response:
        return web.Response(text=f"<?xml version='1.0'?><Response>{body}</Response>", content_type="text/xml")

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path_qs, dict(request.headers), {}))
        if self.relay_status:
            return web.Response(status=self.relay_status)
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        wire = Wire(socket)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = parse_incoming(message.data)
            self.frames.append(frame)
            await self.behave(wire, frame)
        self.close_codes.append(socket.close_code)
        return socket
