"""A browser's side of the live chat: a ticket by HTTP, then a socket that speaks ``chat.v1``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from relay.live.frames import SUBPROTOCOL

SOON = 20.0  # seconds: a busy machine must fail nothing

Frame = dict[str, Any]

_IDS = count(1)


async def ticket(url: str, visitor: str | None = None, **headers: str) -> dict[str, str]:
    """What the route gives: ``ticket`` and ``visitor``."""
    async with (
        ClientSession() as http,
        http.post(f"{url}/chat/ticket", json={"visitor": visitor}, headers=headers) as told,
    ):
        assert told.status == 200, await told.text()
        given: dict[str, str] = await told.json()
        return given


def socket(url: str, agent: str = "", *, plain: bool = False, **options: Any) -> connect:
    """A socket that is about to be opened."""
    address = f"{url.replace('http', 'ws', 1)}/chat/ws{f'?agent={agent}' if agent else ''}"
    spoken = None if plain else [Subprotocol(SUBPROTOCOL)]
    return connect(address, subprotocols=spoken, proxy=None, compression=None, **options)


async def close_code(ws: ClientConnection) -> int | None:
    """The code the server closes with, whatever it says before."""
    async with asyncio.timeout(SOON):
        try:
            while True:
                await ws.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


@dataclass
class Visitor:
    """One socket. ``frames``: all that were read, in order; ``seq``: of the last one that had a number."""

    ws: ClientConnection
    name: str = ""
    conversation: str = ""
    seq: int = 0
    frames: list[Frame] = field(default_factory=list)

    async def send(self, type: str, **fields: object) -> None:
        await self.ws.send(orjson.dumps({"type": type, **fields}).decode())

    async def next(self, within: float = SOON) -> Frame:
        async with asyncio.timeout(within):
            frame: Frame = orjson.loads(await self.ws.recv())
        self.frames.append(frame)
        if frame["type"] != "ready":
            self.seq = max(self.seq, frame.get("seq", 0))
        return frame

    async def until(self, *types: str, within: float = SOON) -> Frame:
        """Reads until a frame of these types, and returns it."""
        while (frame := await self.next(within))["type"] not in types:
            pass
        return frame

    async def read(self, count: int) -> None:
        """Reads until so many frames with a number were read."""
        while len(self.numbers()) < count:
            await self.next()

    async def say(self, text: str, client_id: str = "") -> str:
        """Sends a message; returns its name."""
        client_id = client_id or f"own-{next(_IDS)}"  # not what a test gives
        await self.send("message", client_id=client_id, text=text)
        return client_id

    async def ask(self, text: str, client_id: str = "") -> Frame:
        """Sends a message and waits until its turn is over."""
        await self.say(text, client_id)
        return await self.until("done", "error")

    async def resume(self, conversation: str, after: int) -> None:
        await self.send("resume", conversation=conversation, after=after)

    async def settled(self) -> None:
        """Everything the server had to say so far is read."""
        await self.send("ping")
        await self.until("pong")

    def numbers(self) -> list[int]:
        """Of the frames that were read, ``ready`` not among them."""
        return [frame["seq"] for frame in self.frames if "seq" in frame and frame["type"] != "ready"]

    def text(self, turn: str = "") -> str:
        """All pieces of a turn's answer."""
        deltas = (frame for frame in self.frames if frame["type"] == "delta" and turn in ("", frame["turn"]))
        return "".join(frame["text"] for frame in deltas)


@asynccontextmanager
async def visiting(
    url: str, visitor: str | None = None, agent: str = "", *, headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Visitor]:
    """A visitor who is let in, and knows where the conversation stands. ``headers``: what the ticket is asked for
    with."""
    given = await ticket(url, visitor, **(headers or {}))
    async with socket(url, agent, **options) as ws:
        here = Visitor(ws)
        await here.send("auth", ticket=given["ticket"])
        ready = await here.next()
        assert ready["type"] == "ready" and ready["visitor"] == given["visitor"], ready
        here.name, here.conversation, here.seq = ready["visitor"], ready["conversation"], ready["seq"]
        yield here


async def drop(here: Visitor) -> None:
    """The connection is lost, without a word."""
    here.ws.transport.abort()
    await here.ws.wait_closed()
