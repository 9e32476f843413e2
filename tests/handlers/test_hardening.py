"""What every answer has in common: its headers, and how little a failure tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientPayloadError, ServerDisconnectedError, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from handlers.hardening import CORP, harden, page_policy

SECRET = "the caller's secret"
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


async def plain(request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def page(request: web.Request) -> web.Response:
    return web.Response(text="<p>Hello</p>", content_type="text/html")


async def framed(request: web.Request) -> web.Response:
    policy = page_policy(frame_ancestors="https://shop.example", script_src="'self' 'nonce-abc'")
    headers = {"Content-Security-Policy": policy, "Cache-Control": "max-age=60"}
    return web.Response(text="<p>Hello</p>", content_type="text/html", headers=headers)


async def widget(request: web.Request) -> web.Response:
    return web.Response(text="let a", content_type="text/javascript", headers={CORP: "cross-origin"})


async def too_large(request: web.Request) -> web.Response:
    raise web.HTTPRequestEntityTooLarge(10, text="Too large.\n")


async def bug(request: web.Request) -> web.Response:
    raise LookupError(SECRET)


async def late(request: web.Request) -> web.Response:
    raise TimeoutError(SECRET)


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in ("one", "two"):
        await response.write(f"data: {word}\n\n".encode())
    if "broken" in request.query:
        raise LookupError(SECRET)
    return response


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.data == "break":
            raise LookupError(SECRET)
        await socket.send_str(message.data)
    return socket


async def left(request: web.Request) -> web.Response:
    """Fails as a handler does whose peer has gone meanwhile."""
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError("Cannot write to closing transport")


@web.middleware
async def limited(request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:
    if "limited" in request.query:
        raise web.HTTPTooManyRequests(headers={"Retry-After": "1"})
    answer: web.StreamResponse = await handler(request)  # type: ignore[operator]
    return answer


@asynccontextmanager
async def hardened(*, public: bool = True) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application(middlewares=[limited])
    handlers = (plain, page, framed, widget, too_large, bug, late, stream, echo, left)
    app.add_routes([web.get(f"/{each.__name__}", each) for each in handlers])
    harden(app, public=public)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/plain", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/plain", 405),
        ("GET", "/too_large", 413),
        ("GET", "/plain?limited", 429),
        ("GET", "/bug", 500),
        ("GET", "/page", 200),
        ("GET", "/stream", 200),
    ],
)
async def test_every_answer_has_the_headers(method: str, path: str, status: int) -> None:
    """An answer is taken for what it says it is, is not kept, tells no other site where it came from, and names no
    version; an error's like any other."""
    async with hardened() as client, client.request(method, path) as answer:
        assert answer.status == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "Server" not in answer.headers


async def test_development_mode_promises_no_tls() -> None:
    """Without PUBLIC_URL there is no https a browser could be told to insist on."""
    async with hardened(public=False) as client, client.get("/plain") as answer:
        assert "Strict-Transport-Security" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_page_has_a_strict_policy() -> None:
    """A page runs its own scripts alone, is framed by nobody and uses no device; what is no page says nothing of it."""
    async with hardened() as client:
        async with client.get("/page") as answer:
            assert answer.headers["Content-Security-Policy"] == STRICT
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "microphone=()" in answer.headers["Permissions-Policy"]
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        async with client.get("/plain") as answer:
            assert "Content-Security-Policy" not in answer.headers


async def test_a_route_may_loosen_them() -> None:
    """What a handler sets itself stays: a page that may be framed is not forbidden to be; scripts may be for all."""
    async with hardened() as client:
        async with client.get("/framed") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "frame-ancestors https://shop.example" in policy and "script-src 'self' 'nonce-abc'" in policy
            assert "default-src 'none'" in policy and "base-uri 'none'" in policy
            assert "X-Frame-Options" not in answer.headers
            assert answer.headers["Cache-Control"] == "max-age=60"
        async with client.get("/widget") as answer:
            assert answer.headers.getall("Cross-Origin-Resource-Policy") == ["cross-origin"]


@pytest.mark.parametrize(("path", "kind"), [("/bug", "LookupError"), ("/late", "TimeoutError")])
async def test_a_bug_tells_nothing(path: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is answered by a plain 500, also to a browser and in debug mode, and is one record that names
    the route and not the query; the connection goes on."""
    async with hardened() as client:
        asyncio.get_running_loop().set_debug(True)
        with capture_logs() as logs:
            async with client.get(f"{path}?q=secret", headers={"Accept": "text/html"}) as answer:
                assert (answer.status, await answer.text()) == (500, "Something went wrong here.\n")
                assert answer.content_type == "text/plain"
        asyncio.get_running_loop().set_debug(False)
        [record] = logs
        error = record.pop("exc_info")
        assert record == {"event": "bug in a handler", "route": path, "error": kind, "log_level": "error"}
        assert type(error).__name__ == kind
        assert caplog.record_tuples == []
        assert (await client.get("/plain")).status == 200


async def test_events_arrive_as_they_are_sent() -> None:
    """A stream has the headers and all of its events."""
    async with hardened() as client, client.get("/stream") as answer:
        assert (answer.content_type, await answer.text()) == ("text/event-stream", "data: one\n\ndata: two\n\n")


async def test_a_bug_behind_the_first_words_cuts_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Half an answer cannot be taken for a whole one, and is one record in the log."""
    async with hardened() as client:
        with capture_logs() as logs:
            async with client.get("/stream?broken") as answer:
                with pytest.raises(ClientPayloadError):
                    await answer.read()
        assert [record["event"] for record in logs] == ["bug in a handler"]
    assert caplog.record_tuples == []


async def test_websockets_open_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """An upgrade carries no header that Twilio would not know, and no version; a bug on it ends it, in one record."""
    async with hardened() as client:
        async with client.ws_connect("/echo") as socket:
            assert not {"Server", "Cache-Control", "Strict-Transport-Security"} & socket._response.headers.keys()
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            with capture_logs() as logs:
                await socket.send_str("break")
                assert (await socket.receive()).type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
        assert [record["event"] for record in logs] == ["bug in a handler"]
    assert caplog.record_tuples == []


async def test_a_peer_that_has_gone_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    """Who leaves in the middle of a request is in no log."""
    async with hardened() as client:
        with capture_logs() as logs, pytest.raises(ServerDisconnectedError):
            await client.get("/left")
        assert logs == []
    assert caplog.record_tuples == []


async def test_what_is_no_request_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no HTTP, first or behind a request, get a 400 and no record: anybody can send them for ever."""
    good = b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
    async with hardened() as client:
        for garbage in (
            b"\x16\x03\x01 secret\r\n\r\n",
            good + b"GET secret\r\n\r\n",
            b"GET / HTTP/1.1\r\nsecret\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(garbage)
            async with asyncio.timeout(20):
                assert b"400 Bad Request" in await reader.read()
            writer.close()
    assert caplog.records == []


@pytest.mark.parametrize("sent", [b"", b"GET /plain HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_connection_that_asks_nothing_is_closed(sent: bytes) -> None:
    """Who connects and sends no request, or only a part of one, is waited for no longer than for the next request of a
    connection that is kept."""
    app = web.Application()
    harden(app, public=True)
    runner = web.AppRunner(app, keepalive_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(sent)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    await runner.cleanup()
