"""The endpoint's websockets, as the SDK and a plain client see them: the judge of the relay's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from openai import AsyncOpenAI

from phone.model import Gate, ModelServer, Reply

INPUT = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def ws(server: ModelServer) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/responses") as ws:
        yield ws


async def create(ws: aiohttp.ClientWebSocketResponse, lane: str = "", **fields: Any) -> None:
    body = {"type": "response.create", "model": "m", "input": INPUT, **({"stream_id": lane} if lane else {}), **fields}
    await ws.send_str(orjson.dumps(body).decode())


async def next_of(ws: aiohttp.ClientWebSocketResponse, *kinds: str) -> Any:
    """The next event of one of these types, or the next error."""
    async with asyncio.timeout(20):
        while True:
            event = await ws.receive_json()
            if event["type"] in ("error", *kinds):
                return event


async def test_the_sdk_reads_it(server: ModelServer) -> None:
    """The SDK's own connection gets typed events, each with its lane."""
    options: Any = {"close_timeout": 0.1}
    async with (
        AsyncOpenAI(base_url=server.url, api_key="any") as client,
        client.responses.connect(websocket_connection_options=options) as connection,
    ):
        await connection.response.create(model="m", input="Hello", stream_id="one")
        words, lanes = "", set()
        async for event in connection:
            lanes.add(event.stream_id)
            if event.type == "response.output_text.delta":
                words += event.delta
            elif event.type == "response.completed":
                break
    assert (words, lanes) == ("Hello from the scripted model.", {"one"})
    (asked,) = server.asked
    assert (asked.method, asked.lane, asked.body) == ("WS", "one", {"model": "m", "input": "Hello"})


async def test_a_lane_is_first_in_first_out(server: ModelServer, ws: aiohttp.ClientWebSocketResponse) -> None:
    """The second reply of a lane waits for the first; another lane does not."""
    gate = Gate()
    server.script(Reply("First.", gate=gate), Reply("Second."), Reply("Beside."))
    await create(ws, "a")
    await create(ws, "a")
    await create(ws, "b")
    assert (await next_of(ws, "response.completed"))["stream_id"] == "b"
    assert [asked.complete for asked in server.asked] == [False, False, True]
    gate.set()
    texts = [await next_of(ws, "response.output_text.done") for _ in range(2)]
    assert [(event["stream_id"], event["text"]) for event in texts] == [("a", "First."), ("a", "Second.")]


async def test_sixteen_speak_and_the_next_waits(server: ModelServer, ws: aiohttp.ClientWebSocketResponse) -> None:
    """A socket has 16 replies in flight, whichever lane they are in."""
    gates = [Gate() for _ in range(17)]
    server.script(*[Reply("Hi.", gate=gate) for gate in gates])
    for number in range(17):
        await create(ws, f"lane{number}")
    for gate in gates[:16]:
        await asyncio.wait_for(gate.reached.wait(), 20)
    assert not gates[16].reached.is_set()
    gates[3].set()
    await asyncio.wait_for(gates[16].reached.wait(), 20)


async def test_a_socket_takes_32_names(ws: aiohttp.ClientWebSocketResponse) -> None:
    """The 33rd name is refused on its lane; the names there are go on, and so does the lane without one."""
    for number in range(32):
        await create(ws, f"lane{number}")
        await next_of(ws, "response.completed")
    await create(ws, "more")
    error = await next_of(ws, "response.completed")
    assert (error["error"]["code"], error["stream_id"]) == ("websocket_stream_limit_reached", "more")
    for lane in ("lane3", ""):
        await create(ws, lane)
        event = await next_of(ws, "response.completed")
        assert (event["type"], event.get("stream_id", "")) == ("response.completed", lane)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stream": True}, "unknown_parameter"),
        ({"background": False}, "unknown_parameter"),
        ({"stream_options": {"include_obfuscation": False}}, "unknown_parameter"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found"),
        ({"stream_id": "no name!"}, "invalid_stream_id"),
        ({"stream_id": ""}, "invalid_stream_id"),
        ({"type": "response.stop"}, "invalid_value"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "invalid_value"),
    ],
)
async def test_what_is_refused(fields: dict[str, Any], code: str, ws: aiohttp.ClientWebSocketResponse) -> None:
    """An error in OpenAI's shape, with the status HTTP would have; the socket goes on."""
    await create(ws, **fields)
    event = await next_of(ws, "response.completed")
    assert (event["type"], event["status"], event["error"]["code"]) == ("error", 400, code)
    await create(ws)
    assert (await next_of(ws, "response.completed"))["type"] == "response.completed"


async def test_frames_that_are_no_events(ws: aiohttp.ClientWebSocketResponse) -> None:
    """Binary frames and broken JSON are answered by errors."""
    await ws.send_bytes(orjson.dumps({"type": "response.create", "model": "m", "input": INPUT}))
    assert (await next_of(ws))["error"]["code"] == "invalid_frame"
    await ws.send_str("{")
    assert (await next_of(ws))["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("cancels", ["honoured", "ignored", "refused"])
async def test_cancels(cancels: Any, server: ModelServer, ws: aiohttp.ClientWebSocketResponse) -> None:
    """A cancel ends the reply with an event, or changes nothing, or is an error that names no lane."""
    server.sockets.cancels = cancels
    gate = Gate()
    server.script(Reply("Hello there.", gate=gate, gate_at=1))
    await create(ws, "a")
    name = (await next_of(ws, "response.created"))["response"]["id"]
    await next_of(ws, "response.output_text.delta")
    await ws.send_str(orjson.dumps({"type": "response.cancel", "response_id": name}).decode())
    if cancels == "refused":
        error = await next_of(ws)
        assert error["type"] == "error" and "stream_id" not in error
    if cancels == "honoured":
        end = await next_of(ws, "response.incomplete")
        assert (end["response"]["id"], end["response"]["status"], end["stream_id"]) == (name, "cancelled", "a")
        assert server.asked[0].closed_early
    else:
        gate.set()
        assert (await next_of(ws, "response.completed"))["response"]["id"] == name


async def test_the_hour_is_over(server: ModelServer, ws: aiohttp.ClientWebSocketResponse) -> None:
    """Every socket is told, and closed; what it was saying is over."""
    gate = Gate()
    server.script(Reply("Hello there.", gate=gate))
    await create(ws, "a")
    await asyncio.wait_for(gate.reached.wait(), 20)
    expiring = asyncio.create_task(server.sockets.expire())
    assert (await next_of(ws))["error"]["code"] == "websocket_connection_limit_reached"
    assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
    await expiring
    await asyncio.wait_for(server.asked[0].ended.wait(), 20)
    assert server.asked[0].closed_early


async def test_keys_are_looked_at(server: ModelServer) -> None:
    """An upgrade with a wrong key is answered as a request would be."""
    async with ModelServer(key="right") as locked, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(locked.url + "/responses", headers={"Authorization": "Bearer wrong"})
        assert refused.value.status == 401
