"""The dashboard without calls: the real pages and admission over data that a test sets, and what operators ordered.

``python -m tests.fakes.dashboard`` serves a busy house on port 8099, to look at; ``empty``, ``masked``, another port
and a token may follow.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer
from yarl import URL

from handlers.bearer import answer, json_object, problem
from handlers.dashboard_access import Access
from handlers.dashboard_login import Login
from handlers.dashboard_pages import Pages
from handlers.hardening import harden
from handlers.signatures import PublicAddress
from tests.fakes.dashboard_data import AGENTS, NOW, Json, agent, busy, call, conversation, masked_call, nothing, person
from tests.fakes.dashboard_data import segments as segments_of

API = "/dashboard/api"


@dataclass
class Data:
    """What is served. ``orders``: (id, what, body) of what operators did; ``refusal`` is (status, code, message) of
    what they may not. ``away``: every answer is 503. ``asked``: the minutes of the summaries that were asked for."""

    summary: Json = field(default_factory=nothing)
    conversations: list[Json] = field(default_factory=list)
    calls: dict[str, Json] = field(default_factory=dict)
    orders: list[tuple[str, str, Json]] = field(default_factory=list)
    refusal: tuple[int, str, str] | None = None
    away: bool = False
    asked: list[int] = field(default_factory=list)
    watchers: set[asyncio.Queue[bytes]] = field(default_factory=set)
    come: asyncio.Queue[str] = field(default_factory=asyncio.Queue)  # what each watcher wants to know of

    async def watched(self, conversation: str = "") -> None:
        """Returns once somebody has begun to watch all calls, or one."""
        async with asyncio.timeout(10.0):
            while await self.come.get() != conversation:
                pass

    def tell(self, event: str, **data: object) -> None:
        """To everybody who watches."""
        for queue in self.watchers:
            queue.put_nowait(f"event: {event}\ndata: ".encode() + orjson.dumps({"event": event, **data}) + b"\n\n")


def house(*, words: bool = True, now: float = NOW) -> Data:
    """A busy one, with two live calls."""
    data = Data(summary=busy(now=now), conversations=[conversation(n, live=n < 2, now=now) for n in range(24)])
    calls = [call(n, live=each["live"], now=now) for n, each in enumerate(data.conversations)]
    data.calls = {each["id"]: each if words else masked_call(each) for each in calls}
    return data


class _Routes:
    def __init__(self, data: Data) -> None:
        self.data = data

    async def summary(self, request: web.Request) -> web.StreamResponse:
        minutes = int(request.query["minutes"])
        self.data.asked.append(minutes)
        return answer(200, self.data.summary if minutes == 15 or not self.data.summary["series"] else busy(minutes))

    async def conversations(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        same = ("agent", "person", "channel", "outcome")
        found = [
            each
            for each in self.data.conversations
            if all(asked.get(name, each[name]) == each[name] for name in same)
            and each["slowest_ms"] > float(asked.get("slower_than_ms", 0))
        ]
        start, limit = int(asked.get("after", 0)), min(int(asked["limit"]), 20)
        more = str(start + limit) if start + limit < len(found) else None
        return answer(200, {"conversations": found[start : start + limit], "after": more, "looked": limit})

    async def conversation(self, request: web.Request) -> web.StreamResponse:
        found = self.data.calls.get(request.match_info["id"])
        if found is None:
            raise problem(404, "no_such_conversation", "There is no such conversation, or it is not kept any more.")
        return answer(200, found)

    async def order(self, request: web.Request) -> web.StreamResponse:
        body = await json_object(request)
        if self.data.refusal is not None:
            raise problem(*self.data.refusal)
        self.data.orders.append((request.match_info["id"], request.match_info["what"], body))
        return answer(202, {"delivered": True})

    async def agent(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["name"] not in AGENTS:
            raise problem(404, "no_such_agent", "There is no agent of this name.")
        return answer(200, agent(request.match_info["name"]))

    async def person(self, request: web.Request) -> web.StreamResponse:
        return answer(200, person(request.match_info["id"]))

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        queue.put_nowait(b'retry: 100\n\nevent: status\ndata: {"event":"status","others":true}\n\n')
        self.data.watchers.add(queue)
        self.data.come.put_nowait(request.query.get("conversation", ""))
        try:
            while not self.data.away:
                await response.write(await queue.get())
        except ConnectionError:
            pass  # nobody looks any more
        finally:
            self.data.watchers.discard(queue)
        return response


@asynccontextmanager
async def dashboard(
    data: Data, *, token: str = "", address: PublicAddress | None = None, words: bool = True, port: int = 0
) -> AsyncIterator[str]:
    """The URL of the server, without a path. ``token`` and ``address`` as of the settings."""
    access, routes = Access(token, address), _Routes(data)
    pages = Pages(access)

    def admitted(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Callable[..., object]:
        async def handle(request: web.Request) -> web.StreamResponse:
            access.check(request)
            if data.away:
                raise problem(503, "store_away", "The store does not answer.")
            return await handler(request)

        return handle

    app = web.Application()
    Login(access, pages, shows_words=words).add_routes(app)
    pages.add_routes(app)
    for path, handler in (
        (f"{API}/summary", routes.summary),
        (f"{API}/conversations", routes.conversations),
        (f"{API}/conversations/{{id}}", routes.conversation),
        (f"{API}/agents/{{name}}", routes.agent),
        (f"{API}/people/{{id}}", routes.person),
        ("/dashboard/events", routes.events),
    ):
        app.router.add_get(path, admitted(handler), allow_head=False)
    app.router.add_post(f"{API}/conversations/{{id}}/{{what}}", admitted(routes.order))
    harden(app, public=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def stripping(url: str, prefix: str) -> AsyncIterator[str]:
    """A proxy in front that serves ``url`` below a prefix, which it strips: its own URL, with the prefix."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        to, body = URL(url + request.raw_path.removeprefix(prefix), encoded=True), await request.read()
        async with http.request(request.method, to, headers=request.headers, data=body, allow_redirects=False) as told:
            answer = web.StreamResponse(status=told.status, headers=told.headers)
            await answer.prepare(request)
            async for piece in told.content.iter_any():
                await answer.write(piece)
            return answer

    app = web.Application()
    app.router.add_route("*", f"{prefix}/{{path:.*}}", pass_on)
    async with ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False) as http, TestServer(app) as server:
        yield str(server.make_url(prefix))


async def _look(words: list[str]) -> None:
    shows = "masked" not in words
    data = Data() if "empty" in words else house(words=shows, now=time.time())
    port = next((int(word) for word in words if word.isdecimal()), 8099)
    token = next((word for word in words if word not in ("empty", "masked") and not word.isdecimal()), "")
    async with dashboard(data, token=token, words=shows, port=port) as url:
        print(f"{url}/dashboard", flush=True)
        turn = 0
        while True:
            await asyncio.sleep(1)
            if not data.conversations:
                continue
            turn += 1
            segments = segments_of(250.0 + 33 * (turn % 13))
            one = {"id": f"CA{turn % 9:032x}", "agent": AGENTS[turn % 3], "turn": turn, "outcome": "done"}
            data.tell("turn", **one, first_text_ms=sum(segments.values()), tools=[], at=int(time.time() * 1000))


if __name__ == "__main__":
    asyncio.run(_look(sys.argv[1:]))
