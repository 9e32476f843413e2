"""The load driver against a websocket server of its own kind: order, times, and how a call ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from phone.load import CallLost, Entrance, LoadCall
from phone.signing import HEADER, sign
from relay.frames import Dtmf, Prompt, Text, encode

SID = "CA" + "1" * 32
Serve = Callable[[web.WebSocketResponse, web.Request], Awaitable[Any]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A websocket server on a free port; yields its URL."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await serve(ws, request)
        return ws

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
    finally:
        await runner.cleanup()


async def answering(ws: web.WebSocketResponse, _: web.Request) -> None:
    """Answers each prompt with its words, one a frame."""
    async for frame in ws:
        data = orjson.loads(frame.data)
        if data["type"] == "prompt":
            for word in data["voicePrompt"].split():
                await ws.send_str(encode(Text(word + " ")).decode())
            await ws.send_str(encode(Text("", last=True)).decode())


async def test_an_answer_has_its_times_in_order() -> None:
    """Sent, first, second and last frame of an answer come in this order, and its text is complete."""
    async with server(answering) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        answer = await call.prompt("one two three").ended(within=5)
        await call.close()
    assert 0 < answer.sent < answer.first <= answer.second <= answer.last
    assert (answer.text, answer.frames) == ("one two three ", 3)


async def test_setup_comes_first_with_the_parameters_and_the_signature() -> None:
    """The handshake is signed as Twilio signs it, and setup is the first frame and carries the ticket."""
    seen: dict[str, Any] = {}

    async def look(ws: web.WebSocketResponse, request: web.Request) -> None:
        seen["signature"] = request.headers.get(HEADER)
        seen["setup"] = orjson.loads((await ws.receive()).data)
        await ws.receive()

    async with server(look) as url:
        call = await LoadCall.open(Entrance(url, "token", {"ticket": "t"}), call_sid=SID)
        await call.close()
        assert seen["signature"] == sign("token", url)
    assert seen["setup"]["type"] == "setup"
    assert seen["setup"]["customParameters"] == {"ticket": "t"}


async def test_a_pong_keeps_its_place_among_the_frames() -> None:
    """What the server wrote before it read the ping is heard before the callback, what came later after it."""
    order: list[str] = []
    done = asyncio.Event()

    async def talk(ws: web.WebSocketResponse, _: web.Request) -> None:
        await ws.receive()
        await ws.receive()  # the prompt
        await ws.send_str(encode(Text("before")).decode())
        await ws.receive()  # answers the ping on the way to the next prompt
        await ws.send_str(encode(Text("after")).decode())
        await ws.receive()

    def hear(frame: Text, at: float) -> None:
        order.append(frame.token)
        if frame.token == "after":
            done.set()

    async with server(talk) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID, hear=hear)
        call.prompt("one")
        call.after_all_before(lambda: order.append("pong"))
        call.prompt("two")
        async with asyncio.timeout(20):
            await done.wait()
        await call.close()
    assert order == ["before", "pong", "after"]


async def test_a_call_that_is_dropped_is_lost() -> None:
    """An answer that cannot come any more ends with CallLost, and nothing can be said afterwards."""

    async def drop(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.receive()
        await ws.receive()
        assert request.transport is not None
        request.transport.abort()

    async with server(drop) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        with pytest.raises(CallLost):
            await call.prompt("hello").ended(within=5)
        with pytest.raises(CallLost):
            call.prompt("hello")
        await call.close()


async def test_a_refused_handshake_is_lost() -> None:
    """A server that does not upgrade, or is not there, is told as CallLost."""
    async with server(answering) as url:
        with pytest.raises(CallLost, match="refused"):
            await LoadCall.open(Entrance(url + "/not-here"), call_sid=SID)
    with pytest.raises(CallLost):
        await LoadCall.open(Entrance(url), call_sid=SID)


async def test_an_answer_that_never_ends_is_lost() -> None:
    """Waiting has a deadline."""

    async def silent(ws: web.WebSocketResponse, _: web.Request) -> None:
        async for _frame in ws:
            pass

    async with server(silent) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        with pytest.raises(CallLost):
            await call.prompt("hello").ended(within=0.05)
        await call.close()


async def test_frames_twilio_would_refuse_are_counted() -> None:
    """What is no frame of Twilio's counts as a fault and is not heard."""

    async def wrong(ws: web.WebSocketResponse, _: web.Request) -> None:
        await ws.receive()
        await ws.send_str('{"type":"text"}')
        await ws.send_bytes(b"no")
        await answering(ws, _)

    async with server(wrong) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        answer = await call.prompt("hello").ended(within=5)
        await call.close()
    assert (call.faults, answer.text) == (2, "hello ")


async def test_a_call_may_be_left_in_any_way() -> None:
    """Without a setup, with a code of one's own, without a word; what was encoded before goes out as it is."""
    ended: asyncio.Queue[tuple[int | None, list[str]]] = asyncio.Queue()

    async def watching(ws: web.WebSocketResponse, _: web.Request) -> None:
        types = [orjson.loads(frame.data)["type"] async for frame in ws]
        ended.put_nowait((ws.close_code, types))

    async with server(watching) as url:
        call = await LoadCall.open(Entrance(url), call_sid=SID, setup=False)
        await call.close(1011)
        assert await asyncio.wait_for(ended.get(), 20) == (1011, [])
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        call.write(call.encoded([Prompt("Hi", "en-US"), Dtmf("1")]) * 2)
        await call.close()
        said = ["setup", *["prompt", "dtmf"] * 2]
        assert await asyncio.wait_for(ended.get(), 20) == (1000, said)
        call = await LoadCall.open(Entrance(url), call_sid=SID)
        call.drop()
        code, _ = await asyncio.wait_for(ended.get(), 20)
        assert code == 1006
        with pytest.raises(CallLost):
            call.write(b"")
