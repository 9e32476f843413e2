"""A live chat without a model: the real widget and page over a real socket that speaks ``chat.v1``, with the faults a
test wants. Its turns survive their sockets, and a message sent again is no second turn, as with the real one.

``python -m tests.fakes.chat_server`` serves it on port 8098, to look at; another port may follow.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from config.agents import load_agents
from config.values import CHECKOUT
from handlers.chat_pages import ChatPages
from handlers.hardening import harden

Json = dict[str, Any]

SHOW = """Here is what to bring:

1. **Passport** or *identity card*
2. The form, filled in:
   - both pages
   - [signed by hand](https://example.org/sign)

```python
def total(prices: list[float]) -> float:
    return round(sum(prices) * 1.19, 2)  # and a comment that is far longer than any window is wide
```

Questions? Ask `Ada`, or write to help@example.org.
"""


@dataclass
class Answer:
    """``pieces``: as they are sent, each when ``gate``, if there is one, lets it. ``error``: code and whether it may be
    tried again, in the place of an end."""

    pieces: list[str]
    gate: asyncio.Semaphore | None = None
    error: tuple[str, bool] | None = None


@dataclass
class Conversation:
    name: str
    log: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    turns: dict[str, str] = field(default_factory=dict)  # by the client's name for the message
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    socket: web.WebSocketResponse | None = None
    transport: asyncio.Transport | None = None

    async def tell(self, frame: Json) -> None:
        if self.socket is not None and not self.socket.closed:
            try:
                await self.socket.send_json(frame)
            except ConnectionError:
                pass  # it is in the log

    async def add(self, frame: Json) -> None:
        self.log.append({**frame, "seq": len(self.log) + 1})
        await self.tell(self.log[-1])


@dataclass
class Chat:
    """``answers``: of the next turns; then each repeats what was written. ``asked``: the texts turns were begun for.
    ``frames``: what clients sent. ``away``: tickets are refused with this status, if it is not 0. ``deaf``: pings get
    no answer. ``pace``: seconds between two pieces of an answer."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[str] = field(default_factory=list)
    frames: list[Json] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    away: int = 0
    deaf: bool = False
    pace: float = 0.0
    visitors: dict[str, Conversation] = field(default_factory=dict)
    tasks: dict[asyncio.Task[None], Conversation] = field(default_factory=dict)
    names: Any = field(default_factory=count)
    come: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def script(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    async def saw(self, kind: str) -> None:
        """Returns once a frame of this type has come that was not waited for before."""
        async with asyncio.timeout(10.0):
            while await self.come.get() != kind:
                pass

    def cut(self) -> None:
        """Every connection breaks."""
        for each in self.visitors.values():
            if each.transport is not None:
                each.transport.abort()

    async def close(self, code: int) -> None:
        for each in self.visitors.values():
            if each.socket is not None:
                await each.socket.close(code=code)

    async def die(self) -> None:
        """As when the process is killed: connections break, and turns are lost."""
        self.cut()
        for task, conversation in list(self.tasks.items()):
            task.cancel()
            over = {frame["turn"] for frame in conversation.log if frame["type"] == "done"}
            conversation.turns = {key: turn for key, turn in conversation.turns.items() if turn in over}
        if self.tasks:
            await asyncio.wait(list(self.tasks))

    # What the widget asks

    async def ticket(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            return web.json_response({"code": "away", "message": "Not now."}, status=self.away)
        visitor = (await request.json())["visitor"] or f"v_{next(self.names)}"
        self.tickets.append(visitor)
        return web.json_response({"ticket": f"{len(self.tickets) - 1}", "visitor": visitor})

    async def history(self, request: web.Request) -> web.StreamResponse:
        talk = self._of(self.tickets[int(request.headers["Authorization"].removeprefix("Bearer "))])
        done = [frame["seq"] for frame in talk.log if frame["type"] == "done"]
        return web.json_response({"conversation": talk.name, "seq": max(done, default=0), "messages": talk.messages})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("chat.v1",))
        await socket.prepare(request)
        auth = await socket.receive_json()
        visitor = self.tickets[int(auth["ticket"])]
        talk = self._of(visitor)
        if talk.socket is not None and not talk.socket.closed:
            await talk.socket.close(code=4409)
        talk.socket, talk.transport = None, request.transport  # until it has said from where on it wants frames
        await socket.send_json(_ready(talk))
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            frame = message.json()
            self.frames.append(frame)
            match frame["type"]:
                case "resume":
                    talk.socket = socket
                    if frame["conversation"] != talk.name or frame["after"] > len(talk.log):
                        await socket.send_json({"type": "reset"})
                    for each in talk.log[frame["after"] :]:
                        await socket.send_json(each)
                case "message":
                    await self._message(talk, frame)
                case "stop":
                    talk.stop.set()
                case "reset":
                    del self.visitors[visitor]
                    talk = self._of(visitor)
                    talk.socket, talk.transport = socket, request.transport
                    await socket.send_json(_ready(talk))
                case "ping" if not self.deaf:
                    await socket.send_json({"type": "pong"})
            self.come.put_nowait(frame["type"])
        return socket

    async def _message(self, talk: Conversation, frame: Json) -> None:
        key = frame["client_id"]
        if key in talk.turns:
            await talk.tell({"type": "ack", "client_id": key, "turn": talk.turns[key]})
            return
        talk.turns[key] = f"t{len(self.asked)}"
        task = asyncio.create_task(self._turn(talk, key, frame["text"]), name="turn")
        self.tasks[task] = talk
        task.add_done_callback(self.tasks.pop)

    async def _turn(self, talk: Conversation, key: str, text: str) -> None:
        turn = talk.turns[key]
        self.asked.append(text)
        talk.stop.clear()
        answer = self.answers.popleft() if self.answers else Answer(["You wrote: ", text])
        await talk.tell({"type": "ack", "client_id": key, "turn": turn})
        said = ""
        for piece in answer.pieces:
            if answer.gate is not None:
                opened = asyncio.create_task(answer.gate.acquire())
                stopped = asyncio.create_task(talk.stop.wait())
                await asyncio.wait([opened, stopped], return_when=asyncio.FIRST_COMPLETED)
                opened.cancel()
                stopped.cancel()
            await asyncio.sleep(self.pace)
            if talk.stop.is_set():
                break
            said += piece
            await talk.add({"type": "delta", "turn": turn, "text": piece})
        if answer.error is not None:
            del talk.turns[key]
            code, retryable = answer.error
            told = {"type": "error", "code": code, "message": "It did not work.", "retryable": retryable}
            await talk.add({**told, "turn": turn, "client_id": key})
            return
        talk.messages += [
            {"role": "user", "text": text, "turn": turn},
            {"role": "assistant", "text": said, "turn": turn},
        ]
        await talk.add({"type": "done", "turn": turn, "text": said, "stopped": talk.stop.is_set()})

    def _of(self, visitor: str) -> Conversation:
        if visitor not in self.visitors:
            self.visitors[visitor] = Conversation(f"c{next(self.names)}")
        return self.visitors[visitor]

    @web.middleware
    async def _cors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = (
            web.Response(status=204) if request.method == "OPTIONS" else await handler(request)
        )
        if not response.prepared:
            response.headers.setdefault("Access-Control-Allow-Origin", "*")
            response.headers["Access-Control-Allow-Headers"] = "content-type, authorization"
        return response


def _ready(talk: Conversation) -> Json:
    return {"type": "ready", "conversation": talk.name, "seq": len(talk.log)}


@asynccontextmanager
async def chat_server(port: int = 0) -> AsyncIterator[Chat]:
    chat = Chat()
    app = web.Application(middlewares=[chat._cors])
    ChatPages(load_agents(CHECKOUT / "config" / "agents"), "default", fresh=partial(asyncio.sleep, 0)).add_routes(app)
    app.router.add_post("/chat/ticket", chat.ticket)
    app.router.add_get("/chat/history", chat.history)
    app.router.add_get("/chat/ws", chat.socket)
    harden(app, public=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        chat.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield chat
    finally:
        for task in list(chat.tasks):
            task.cancel()
        await runner.cleanup()


@asynccontextmanager
async def site(page: str, style: str = "", policy: str = "") -> AsyncIterator[str]:
    """Somebody else's site: the address of its only page, on another origin than the chat's; its style is at
    ``/loud.css``. ``policy``: its Content-Security-Policy."""

    async def show(request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": policy} if policy else {}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def loud(request: web.Request) -> web.Response:
        return web.Response(text=style, content_type="text/css")

    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/loud.css", loud)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def _look(port: int) -> None:
    async with chat_server(port) as chat:
        chat.pace = 0.05
        print(f"{chat.url}/chat", flush=True)
        while True:
            if not chat.answers:
                chat.script(Answer([word + " " for word in SHOW.split(" ")]))
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(_look(int(sys.argv[1]) if sys.argv[1:] else 8098))
