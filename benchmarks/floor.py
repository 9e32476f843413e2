"""The floor: the least a relay can do. One websocket, one request a turn, one frame a piece; nothing else.

No interrupts, no tools carried out, no store, no metrics, no deadlines. It speaks what a prompt of a call asks for, and
writes what a message of a live chat asks for. It asks for what the relay asks for: the same
instructions, history and tools (``BENCH_REQUEST`` names the file they stand in).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from benchmarks.leash import on_a_leash

SESSION = web.AppKey("session", aiohttp.ClientSession)


async def relay(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    messages: list[dict[str, Any]] = [{"role": "system", "content": REQUEST["instructions"]}]
    async for frame in ws:
        data = orjson.loads(frame.data)
        if data["type"] == "prompt":
            await turn(ws, request.app[SESSION], messages, data["voicePrompt"], spoken)
        elif data["type"] == "message":
            await turn(ws, request.app[SESSION], messages, data["text"], written)
    return ws


def spoken(token: str, text: str) -> dict[str, Any]:
    """A frame of a call; ``text``: all of it, behind the last token."""
    return {"type": "text", "token": token, "last": not token}


def written(token: str, text: str) -> dict[str, Any]:
    """A frame of a live chat."""
    return {"type": "delta", "text": token} if token else {"type": "done", "text": text}


async def turn(
    ws: web.WebSocketResponse,
    session: aiohttp.ClientSession,
    messages: list[dict[str, Any]],
    said: str,
    frame: Callable[[str, str], dict[str, Any]],
) -> None:
    messages.append({"role": "user", "content": said})
    body = {
        "model": "bench",
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": REQUEST["tools"],
    }
    text, held = "", b""
    async with session.post(URL, data=orjson.dumps(body), headers=HEADERS) as response:
        async for piece in response.content.iter_any():
            *events, held = (held + piece).split(b"\n\n")
            for event in events:
                if event == b"data: [DONE]":
                    continue
                choices = orjson.loads(event[6:])["choices"]
                if choices and (token := choices[0]["delta"].get("content")):
                    text += token
                    await ws.send_frame(orjson.dumps(frame(token, "")), aiohttp.WSMsgType.TEXT)
    await ws.send_frame(orjson.dumps(frame("", text)), aiohttp.WSMsgType.TEXT)
    messages.append({"role": "assistant", "content": text})


async def session(app: web.Application) -> Any:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=300)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as app[SESSION]:
        yield


def main() -> None:
    import uvloop

    on_a_leash()
    app = web.Application()
    app.router.add_get("/ws", relay)
    app.cleanup_ctx.append(session)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        web.run_app(
            app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None, loop=runner.get_loop()
        )


if __name__ == "__main__":
    REQUEST = orjson.loads(Path(os.environ["BENCH_REQUEST"]).read_bytes())
    URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    HEADERS = {
        "Content-Type": "application/json",
        "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        "Accept-Encoding": "identity",
    }
    main()
