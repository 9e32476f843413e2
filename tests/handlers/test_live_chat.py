"""The route of the live chat by itself: how much one socket may ask, how many there may be, and how each is closed.
Whatever is asked is answered by an echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import orjson
import pytest
from aiohttp import web
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from handlers.addresses import client_address
from handlers.chat_origins import Origins
from handlers.chat_rules import ChatLimits, MessageRates
from handlers.chat_socket import ChatParts
from handlers.live_chat import SOCKET, LiveChat
from handlers.websocket import FRAME_LIMIT
from relay.live.answering import Answering, Told
from relay.live.chats import LiveChats
from relay.live.conversation import LiveConversation
from relay.live.line import Wish
from relay.store.chat_current import CurrentChats
from relay.store.chat_log import ChatLog
from relay.store.chat_running import RunningTurns
from relay.store.chat_tickets import ChatTickets
from relay.store.presence import Presence, sockets_key
from relay.telemetry import Telemetry
from tests.chats.visitor import SOON, Visitor, close_code
from tests.chats.visitor import socket as connect
from tests.fakes.deaf import Deaf


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Echo:
    """Answers each message with itself, a long one with a book; while it is not ``free``, not yet."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    async def answer(self, told: Told, wish: Wish) -> None:
        await self.free.wait()
        wish.turn = f"t_{wish.key}"
        told.done(wish, wish.text * (20_000 if len(wish.text) > 100 else 1))


@dataclass
class Route:
    url: str
    chat: LiveChat
    chats: LiveChats
    echo: Echo
    telemetry: Telemetry
    tickets: ChatTickets
    redis: Redis

    def refused(self, reason: str = "chat_sockets") -> float:
        value = self.telemetry.registry.get_sample_value("relay_refused_total", {"reason": reason})
        return value or 0.0

    def open(self) -> float:
        return self.telemetry.registry.get_sample_value("relay_chat_sockets") or 0.0

    async def until(self, sockets: int) -> None:
        """Returns once so many sockets are open."""
        await eventually(lambda: self.open() == sockets)

    @asynccontextmanager
    async def visiting(self, name: str = "v_ada", **options: Any) -> AsyncIterator[Visitor]:
        async with connect(self.url, **options) as ws:
            here = Visitor(ws)
            await here.send("auth", ticket=await self.tickets.issue(name))
            ready = await here.next()
            here.name, here.conversation = ready["visitor"], ready["conversation"]
            yield here


@asynccontextmanager
async def route(
    redis: Redis,
    *,
    most: int = 100,
    most_of_one: int = 0,
    hops: int = 0,
    heartbeat: float = 25.0,
    rate: int = 1000,
    of_address: int = 0,
    development: bool = True,
    **limits: Any,
) -> AsyncIterator[Route]:
    echo, telemetry, tickets, log = Echo(), Telemetry(), ChatTickets(redis), ChatLog(redis, ttl=60)

    async def nowhere(conversation: LiveConversation, turn: str) -> None:
        pass

    async def fresh() -> None:
        pass

    chats = LiveChats(cast(Answering, echo), log, RunningTurns(redis, 60), worker="w")
    allowed = ChatLimits(per_minute=rate, **limits)
    messages = MessageRates(rate, of_address, telemetry.refused.labels("rate"))
    parts = ChatParts(chats, tickets, Presence(redis), CurrentChats(redis, 60), messages, nowhere, allowed)
    chat = LiveChat(
        Origins(None, (), ""),
        parts,
        telemetry,
        {"default"},
        "default",
        most=most,
        most_of_one=most_of_one,
        client=lambda request: client_address(request, hops),
        fresh=fresh,
        draining=lambda: False,
        development=development,
        heartbeat=heartbeat,
    )
    app = web.Application()
    chat.add_routes(app)
    log.start()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield Route(f"http://{host}:{port}", chat, chats, echo, telemetry, tickets, redis)
    finally:
        await runner.cleanup()
        await chats.close(1)
        await log.close(1)


# -- one socket


async def closed_with(there: Route, *frames: str | bytes) -> int | None:
    async with there.visiting() as ada:
        for frame in frames:
            await ada.ws.send(frame)
        return await close_code(ada.ws)


async def test_a_socket_has_to_say_whose_it_is(redis: Redis) -> None:
    """In time: 4408."""
    async with route(redis, auth_deadline=0.05) as there:
        for plain in (False, True):
            async with connect(there.url, plain=plain) as ws:
                if not plain:
                    assert await close_code(ws) == 4408
                else:
                    await ws.send('{"message": "hi"}')
                    assert await ws.recv() == '{"message":"hi"}'


async def test_frames_that_are_none_are_answered_and_then_not(redis: Redis) -> None:
    """An error each, and after a few of them the socket is closed: 4400."""
    async with route(redis, bad_frames=2) as there, there.visiting() as ada:
        for frame in ("hello", '{"type": "auth", "ticket": "again"}'):
            await ada.ws.send(frame)
            error = await ada.until("error")
            assert (error["code"], error["retryable"]) == ("bad_frame", False)
        await ada.ws.send("[]")
        assert await close_code(ada.ws) == 4400


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"hello"], 1003),
        (["x" * (FRAME_LIMIT + 1)], 1009),
        (['{"type": "ping"}'] * 16, 4429),
        (['{"type": "resume", "conversation": "c", "after": 0}'] * 11, 4429),
    ],
    ids=["binary", "too large", "too many in a second", "resumed too often"],
)
async def test_what_no_client_sends_closes_the_socket(redis: Redis, frames: list[str | bytes], code: int) -> None:
    """Each with a code of its own."""
    async with route(redis, per_second=15) as there:
        assert await closed_with(there, *frames) == code


async def test_the_largest_frame_is_read(redis: Redis) -> None:
    """It is told that its text is too long, and the socket goes on."""
    async with route(redis) as there, there.visiting() as ada:
        frame = orjson.dumps({"type": "message", "client_id": "m1", "text": ""}).decode()
        await ada.ws.send(frame.replace('""', f'"{"x" * (FRAME_LIMIT - len(frame))}"'))
        error = await ada.until("error")
        assert (error["code"], error["client_id"], error["retryable"]) == ("too_long", "m1", False)
        assert (await ada.ask("  "))["code"] == "empty"
        assert (await ada.ask("hi"))["text"] == "hi"


async def test_messages_in_a_minute_are_limited(redis: Redis) -> None:
    """By visitor, on whichever socket; those that are refused may be sent again later."""
    async with route(redis, rate=2, of_address=100, development=False) as there:
        async with there.visiting() as ada, there.visiting("v_bob") as bob:
            assert [(await ada.ask("hi"))["type"] for _ in range(2)] == ["done", "done"]
            error = await ada.ask("hi", "m3")
            assert (error["code"], error["retryable"], error["client_id"]) == ("rate", True, "m3")
            assert (await bob.ask("hi"))["type"] == "done"
        async with there.visiting() as ada:
            assert (await ada.ask("hi"))["code"] == "rate"
            await ada.send("reset")  # nor may a new conversation be begun
            assert (await ada.until("error"))["code"] == "rate"
        async with connect(there.url, plain=True) as ws:
            for answer in (b'{"message":"hi"}', b'{"message":"hi"}', b"rate"):
                await ws.send('{"message": "hi"}')
                assert answer in (await ws.recv(decode=False))
        assert there.refused("rate") == 4


@pytest.mark.parametrize("limit", [{"of_address": 100}, {"development": False}])
async def test_who_is_no_stranger_may_send_any_number(redis: Redis, limit: dict[str, Any]) -> None:
    """This machine in development mode; anybody where requests are not limited."""
    async with route(redis, rate=2, **limit) as there, there.visiting() as ada:
        assert [(await ada.ask("hi"))["type"] for _ in range(5)] == ["done"] * 5


async def test_messages_of_an_address_are_limited(redis: Redis) -> None:
    """However many visitors it has; this machine's own are not counted while it is being developed on."""
    for development, answered in ((False, ["done", "error"]), (True, ["done", "done"])):
        async with (
            route(redis, of_address=1, development=development) as there,
            there.visiting() as ada,
            there.visiting("v_bob") as bob,
        ):
            assert [(await each.ask("hi"))["type"] for each in (ada, bob)] == answered


async def test_one_that_reads_too_slowly_is_let_go(redis: Redis) -> None:
    """1013, and nobody waits for it: whoever else is there is answered meanwhile."""
    async with route(redis) as there, there.visiting() as ada:
        message = orjson.dumps({"message": "0123456789" * 20}).decode()
        deaf = await Deaf.on(f"{there.url.replace('http', 'ws')}{SOCKET}", message)
        await there.until(2)
        deaf.say(message)
        assert (await ada.ask("hi"))["text"] == "hi"
        await there.until(1)
        deaf.listen()
        async with asyncio.timeout(SOON):
            await deaf.lost.wait()


async def test_one_that_is_gone_without_a_word_is_noticed(redis: Redis) -> None:
    """By its pings; and it is in no list any more."""
    async with route(redis, heartbeat=0.1) as there:
        deaf = await Deaf.on(
            f"{there.url.replace('http', 'ws')}{SOCKET}", orjson.dumps({"message": "x" * 200}).decode()
        )
        await there.until(1)
        await there.until(0)
        deaf.transport.abort()
        async with there.visiting() as ada:
            await there.until(1)
            ada.ws.transport.pause_reading()  # type: ignore[attr-defined]
            await there.until(0)
            assert not await redis.exists(sockets_key(ada.name))
            ada.ws.transport.resume_reading()  # type: ignore[attr-defined]


async def test_a_socket_says_that_it_is_still_here(redis: Redis) -> None:
    """To other processes; and learns late, if need be, that a newer one has the visitor."""
    async with route(redis, renewed=0.05) as there, there.visiting() as ada:
        await ada.settled()
        key = sockets_key(ada.name)
        async with asyncio.timeout(SOON):
            while not await redis.exists(key):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await redis.delete(key)
        async with asyncio.timeout(SOON):
            while not await redis.exists(key):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await Presence(redis).enter(ada.name, "newer", lambda: None)
        assert await close_code(ada.ws) == 4409


async def test_a_client_that_says_nothing_is_told_all_the_same(redis: Redis) -> None:
    """Frames are kept back for a client that may want to resume, and no longer."""
    async with route(redis, resume_within=0.2) as there:
        async with there.visiting() as ada:
            there.echo.free.clear()
            await ada.say("hi")
        async with there.visiting() as again:
            there.echo.free.set()
            assert (await again.until("done"))["text"] == "hi"


async def test_without_the_store_a_client_is_to_come_again(redis: Redis) -> None:
    """1013, and the place is free again."""
    async with route(redis, most=1) as there:
        await redis.set("chat:{v_ada}:conversations", "of another type")
        async with connect(there.url) as ws:
            ticket = await there.tickets.issue("v_ada")
            await ws.send(orjson.dumps({"type": "auth", "ticket": ticket}).decode())
            assert await close_code(ws) == 1013
        await there.until(0)
        async with there.visiting("v_bob") as bob:
            await bob.settled()


# -- all of them


async def refused(there: Route, **options: Any) -> tuple[int, str, str | None]:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(there.url, **options)
    response = refusal.value.response
    assert response.body is not None
    return response.status_code, orjson.loads(response.body)["code"], response.headers.get("Retry-After")


async def test_sockets_of_a_process_are_limited(redis: Redis) -> None:
    """Before the upgrade; a place is free again when its socket is closed."""
    async with route(redis, most=2) as there:
        async with there.visiting(), connect(there.url, plain=True):
            assert await refused(there) == (503, "busy", "10")
            assert (there.open(), there.refused(), len(there.chat)) == (2, 1, 2)
        await there.until(0)
        async with there.visiting():
            pass


async def test_sockets_of_an_address_are_limited(redis: Redis) -> None:
    """By what the proxies in front say, if there are any."""
    async with route(redis, most_of_one=1) as there, there.visiting():
        assert await refused(there, plain=True) == (429, "too_many_sockets", "10")
    async with route(redis) as there, there.visiting(), there.visiting("v_bob"):
        assert there.open() == 2


async def test_every_socket_is_closed_when_the_process_leaves(redis: Redis) -> None:
    """1012: those with nothing to be answered at once, the others behind their answer."""
    async with route(redis) as there, there.visiting() as ada, there.visiting("v_bob") as bob:
        there.echo.free.clear()
        await bob.say("hi", "m1")
        await bob.settled()
        leaving = asyncio.create_task(there.chat.leave(SOON))
        assert await close_code(ada.ws) == 1012
        assert not leaving.done()
        there.echo.free.set()
        assert (await bob.until("done"))["text"] == "hi"
        assert await close_code(bob.ws) == 1012
        async with asyncio.timeout(SOON):
            await leaving


async def test_who_is_in_a_hurry_does_not_wait(redis: Redis) -> None:
    """Neither for turns nor for those that do not end."""
    async with route(redis) as there, there.visiting() as ada:
        there.echo.free.clear()
        await ada.say("hi", "m1")
        await ada.settled()
        leaving = asyncio.create_task(there.chat.leave(60))
        there.chat.hurry()
        assert await close_code(ada.ws) == 1012
        there.echo.free.set()
        async with asyncio.timeout(SOON):
            await leaving
