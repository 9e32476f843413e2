"""The websocket route by itself: who is let in, what is read, and how a socket ends. The call behind it is an echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson
import pytest
from aiohttp import ClientSession, WSServerHandshakeError, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from channels.twilio.tickets import Ticket, Tickets
from handlers.admission import Admission
from handlers.guard import TwilioGate
from handlers.relay_socket import RelaySocket
from handlers.signatures import PublicAddress, TwilioSignatures
from handlers.websocket import FRAME_LIMIT, HEARTBEAT, AiohttpSocket
from phone.signing import sign
from relay.frames import Prompt, Setup, dump
from relay.outgoing import WRITE_LIMIT
from relay.telemetry import Telemetry
from tests.fakes.deaf import Deaf
from tests.handlers.standins import CALL, NOW, SESSION

PATH = "/voice/relay"
ACCOUNT = "AC" + "1" * 32
KEY = b"k" * 32
TICKETS = Tickets([KEY], 120)


@dataclass
class Desk:
    """Takes every call admitted: echoes its frames until the socket ends, or does what the test wants instead."""

    taken: list[tuple[Setup, Ticket, int]] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    instead: Callable[[AiohttpSocket], Awaitable[None]] | None = None

    async def serve(
        self, socket: AiohttpSocket, setup: Setup, ticket: Ticket, attempt: int, admitted: Callable[[], Awaitable[bool]]
    ) -> str:
        self.taken.append((setup, ticket, attempt))
        socket.send(b"taken")
        if self.instead is not None:
            await self.instead(socket)
        async for frame in socket:
            self.frames.append(frame)
            socket.send(frame.encode() if isinstance(frame, str) else frame)
        self.ended.set()
        return "completed" if socket.closed_cleanly else "dropped"


@dataclass
class Sessions:
    """What is known of sessions; None: this process, or Redis, cannot tell, or Redis does not answer."""

    here: bool | None = None
    store: bool | None = False
    silent: bool = False
    asked: int = 0  # of Redis

    def known_here(self, conversation: str, session: str) -> bool | None:
        return self.here

    async def known_to_store(self, conversation: str, session: str) -> bool | None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        return self.store


@dataclass
class Route:
    url: str
    desk: Desk
    telemetry: Telemetry

    def connect(self, **options: object) -> connect:
        return connect(self.url, proxy=None, compression=None, **options)  # type: ignore[arg-type]

    def rejected(self, reason: str) -> float:
        value = self.telemetry.registry.get_sample_value("relay_frames_rejected_total", {"reason": reason})
        return value or 0.0


@asynccontextmanager
async def route(
    gate: TwilioGate | None = None, sessions: Sessions | None = None, **options: object
) -> AsyncIterator[Route]:
    """The route on a port of its own; ``options`` as ``RelaySocket`` has them."""
    desk, telemetry = Desk(), Telemetry()
    options = {"setup_deadline": 5.0} | options
    admission = Admission(Tickets([KEY], 120), sessions or Sessions(), deadline=0.05, now=lambda: NOW)
    handler = RelaySocket(gate or TwilioGate(None, None), admission, telemetry, desk.serve, **options)  # type: ignore[arg-type]
    app = web.Application()
    app.router.add_get(PATH, handler.handle, allow_head=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield Route(f"ws://{host}:{port}{PATH}", desk, telemetry)
    finally:
        await runner.cleanup()


def setup(**fields: object) -> str:
    """A ``setup`` that is let in, or with other fields one that is not."""
    parameters = {"ticket": TICKETS.mint(CALL, "default", NOW)}
    values = {"session_id": SESSION, "call_sid": CALL, "account_sid": ACCOUNT, "custom_parameters": parameters}
    return dump(Setup(**(values | fields)))  # type: ignore[arg-type]


async def close_code(socket: ClientConnection) -> int | None:
    """The code the server closes with, whatever it says before."""
    async with asyncio.timeout(20):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


# -- the handshake

PUBLIC = PublicAddress.parse("https://relay.example.com/agents")
SIGNED = f"wss://relay.example.com/agents{PATH}"


def guarded(*tokens: str) -> TwilioGate:
    return TwilioGate(PUBLIC, TwilioSignatures(tokens) if tokens else None)


@pytest.mark.parametrize(
    ("token", "url"),
    [("new", SIGNED), ("old", SIGNED), ("new", SIGNED + "/"), ("new", SIGNED.replace(".com", ".com:443"))],
    ids=[
        "exact, with the prefix a proxy strips",
        "the token being rotated out",
        "with a trailing slash",
        "with a port",
    ],
)
async def test_a_signed_handshake_is_let_in(token: str, url: str) -> None:
    """Twilio's signature over the public address opens the websocket, in every spelling Twilio may sign."""
    headers = {"x-twilio-signature": sign(token, url)}
    async with route(guarded("new", "old")) as there, there.connect(additional_headers=headers) as socket:
        await socket.send(setup())
        assert await socket.recv() == "taken"


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "nonsense ü",
        sign("another token", SIGNED),
        sign("new", SIGNED.removeprefix("wss://")),
        sign("new", SIGNED.replace("wss:", "https:")),
        sign("new", SIGNED.replace("/agents", "")),
        sign("new", SIGNED + "?agent=x"),
    ],
    ids=["none", "empty", "not ASCII", "wrong token", "no scheme", "https", "without the prefix", "with a query"],
)
async def test_any_other_handshake_is_refused_before_the_upgrade(signature: str | None) -> None:
    """Without the right signature the answer is 403 and no websocket is ever opened."""
    headers = {} if signature is None else {"x-twilio-signature": signature}
    async with route(guarded("new")) as there:
        with pytest.raises(InvalidStatus) as refused:
            await there.connect(additional_headers=headers)
        assert refused.value.response.status_code == 403
        assert there.desk.taken == []


async def test_without_a_token_the_route_does_not_exist() -> None:
    """With PUBLIC_URL and no TWILIO_AUTH_TOKEN the answer is 404 with an empty body."""
    async with route(guarded()) as there, ClientSession() as http:
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(there.url)
        assert refused.value.status == 404
        async with http.get(there.url.replace("ws:", "http:")) as answer:
            assert (answer.status, await answer.read()) == (404, b"")


async def test_a_plain_request_is_told_what_this_is() -> None:
    """GET without an upgrade is answered 426."""
    async with route() as there, ClientSession() as http, http.get(there.url.replace("ws:", "http:")) as answer:
        assert answer.status == 426


async def test_a_process_that_hands_its_calls_on_takes_none() -> None:
    """A handshake is then answered 503, so that Twilio tries elsewhere."""
    async with route(leaving=lambda: True) as there:
        with pytest.raises(InvalidStatus) as refused:
            await there.connect()
        assert refused.value.response.status_code == 503


async def test_compression_is_refused() -> None:
    """An offer of permessage-deflate is not taken up: frames leave as they are written."""
    async with route() as there, connect(there.url, proxy=None, compression="deflate") as socket:
        assert socket.protocol.extensions == []
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_what_the_first_turn_needs_is_opened_with_the_socket() -> None:
    """``upgrading`` is called for a handshake that is let in, before ``setup``, and for no other."""
    opened: list[None] = []
    async with route(guarded("token"), upgrading=lambda: opened.append(None)) as there:
        with pytest.raises(InvalidStatus):
            await there.connect()
        assert opened == []
        async with there.connect(additional_headers={"x-twilio-signature": sign("token", SIGNED)}):
            assert len(opened) == 1


# -- the first frame


async def test_setup_opens_the_call() -> None:
    """What ``setup`` and its ticket say reaches the call, with the attempt the callback counted."""
    parameters = {"ticket": TICKETS.mint(CALL, "spa", NOW), "attempt": "2"}
    async with route(account_sid=ACCOUNT) as there, there.connect() as socket:
        await socket.send(setup(custom_parameters=parameters))
        assert await socket.recv() == "taken"
    [(first, ticket, attempt)] = there.desk.taken
    assert (first.call_sid, ticket.agent, attempt) == (CALL, "spa", 2)


async def refused_with(there: Route, *frames: str | bytes) -> int | None:
    async with there.connect() as socket:
        for frame in frames:
            await socket.send(frame)
        code = await close_code(socket)
    assert there.desk.taken == []
    return code


@pytest.mark.parametrize(
    "frame",
    [
        dump(Prompt("hello")),
        "not JSON",
        "[]",
        '{"type": "setup"}',
        '{"type": "setup", "sessionId": "VX1", "callSid": 5}',
        '{"type": "surprise"}',
        setup(session_id="V" * 129),
    ],
)
async def test_another_first_frame(frame: str) -> None:
    """A first frame that is no usable ``setup`` closes with 1008 and is counted."""
    async with route() as there:
        assert await refused_with(there, frame) == 1008
        assert there.rejected("no_setup") == 1


async def test_no_setup_in_time() -> None:
    """A socket that stays silent is closed with 1008 at the deadline; pings do not put it off."""

    async def ping(socket: ClientConnection) -> None:
        while True:
            await socket.ping()
            await asyncio.sleep(0.02)

    async with route(setup_deadline=0.1) as there, there.connect() as socket:
        pinging = asyncio.create_task(ping(socket))
        assert await close_code(socket) == 1008
        pinging.cancel()
        await asyncio.wait([pinging])
        assert there.rejected("no_setup") == 1


async def test_a_foreign_account() -> None:
    """A call of another account than TWILIO_ACCOUNT_SID's closes with 1008."""
    async with route(account_sid=ACCOUNT) as there:
        assert await refused_with(there, setup(account_sid="AC" + "2" * 32)) == 1008
        assert there.rejected("account") == 1


@pytest.mark.parametrize(
    ("ticket", "reason"),
    [
        (None, "ticket_malformed"),
        ("", "ticket_malformed"),
        ("made up", "ticket_malformed"),
        (Tickets([b"x" * 32], 120).mint(CALL, "default", NOW), "ticket_signature"),
        (TICKETS.mint("CA" + "9" * 32, "default", NOW), "ticket_signature"),
        (TICKETS.mint(CALL, "default", NOW - 121), "ticket_expired"),
    ],
    ids=["none", "empty", "made up", "another key's", "another call's", "expired"],
)
async def test_a_wrong_ticket(ticket: str | None, reason: str) -> None:
    """A ticket that is missing, not ours, not this call's or too old closes with 1008, each counted by its reason."""
    async with route() as there:
        parameters = {} if ticket is None else {"ticket": ticket}
        assert await refused_with(there, setup(custom_parameters=parameters)) == 1008
        assert there.rejected(reason) == 1


async def test_a_used_ticket() -> None:
    """A ticket opens one session: another one closes with 1008, also while the first is on."""
    async with route() as there, there.connect() as one:
        text = setup()
        await one.send(text)
        assert await one.recv() == "taken"
        stolen = orjson.loads(text) | {"sessionId": "VX" + "5" * 32}
        async with there.connect() as other:
            await other.send(orjson.dumps(stolen).decode())
            assert await close_code(other) == 1008
        assert there.rejected("ticket_used") == 1
        assert [each.session_id for each, _, _ in there.desk.taken] == [SESSION]


USED, EXPIRED = NOW, NOW - 121


@pytest.mark.parametrize(
    ("minted", "sessions", "taken"),
    [
        (USED, Sessions(here=True), True),
        (USED, Sessions(here=False, store=True), False),
        (USED, Sessions(store=True), True),
        (USED, Sessions(store=False), False),
        (USED, Sessions(store=None), True),
        (USED, Sessions(silent=True), True),
        (EXPIRED, Sessions(here=True), True),
        (EXPIRED, Sessions(here=False, store=True), False),
        (EXPIRED, Sessions(store=True), True),
        (EXPIRED, Sessions(store=False), False),
        (EXPIRED, Sessions(store=None), False),
        (EXPIRED, Sessions(silent=True), False),
    ],
    ids=lambda value: {USED: "used", EXPIRED: "expired"}.get(value, "") if isinstance(value, float) else None,
)
async def test_another_socket_of_a_session(minted: float, sessions: Sessions, taken: bool) -> None:
    """A used or expired ticket is good for a session that may come back, as this process knows or else Redis. Where
    nobody knows, its age decides."""
    text = setup(custom_parameters={"ticket": TICKETS.mint(CALL, "default", minted)})
    sessions = replace(sessions)
    async with route(sessions=sessions) as there:
        if minted == USED:
            async with there.connect() as first:
                await first.send(text)
                assert await first.recv() == "taken"
        async with there.connect() as socket:
            await socket.send(text)
            if taken:
                assert await socket.recv() == "taken"
            else:
                assert await close_code(socket) == 1008
        assert there.rejected("ticket_used" if minted == USED else "ticket_expired") == (not taken)
        assert sessions.asked == (sessions.here is None)


async def test_a_wrong_ticket_of_a_known_session() -> None:
    """Whatever is known, a ticket that is not ours, or another call's, opens nothing."""
    sessions = Sessions(here=True, store=True)
    async with route(sessions=sessions) as there:
        for wrong in (Tickets([b"x" * 32], 120).mint(CALL, "default", NOW), TICKETS.mint("CA9", "default", NOW)):
            assert await refused_with(there, setup(custom_parameters={"ticket": wrong})) == 1008
        assert there.rejected("ticket_signature") == 2
        assert sessions.asked == 0


async def test_a_binary_first_frame() -> None:
    """A binary frame is no text: 1003."""
    async with route() as there:
        assert await refused_with(there, setup().encode()) == 1003


# -- sizes


def padded(size: int) -> str:
    """A ``setup`` of exactly so many bytes."""
    data = orjson.loads(setup())
    data["padding"] = ""
    data["padding"] = "x" * (size - len(orjson.dumps(data)))
    return orjson.dumps(data).decode()


async def test_a_frame_of_64_KiB_is_read() -> None:
    """A frame may be 64 KiB long, the first one and every other."""
    async with route() as there, there.connect() as socket:
        await socket.send(padded(FRAME_LIMIT))
        assert await socket.recv() == "taken"
        await socket.send("y" * FRAME_LIMIT)
        assert await socket.recv() == "y" * FRAME_LIMIT


@pytest.mark.parametrize("size", [FRAME_LIMIT + 1, 4 * 1024 * 1024])
@pytest.mark.parametrize("first", [True, False], ids=["as the first", "later"])
async def test_a_longer_frame_closes_with_1009(size: int, first: bool) -> None:
    """A frame over 64 KiB closes with 1009, before it is read to its end."""
    async with route() as there, there.connect() as socket:
        if not first:
            await socket.send(setup())
            assert await socket.recv() == "taken"
        try:
            await socket.send(padded(size))
        except ConnectionClosed:
            pass
        assert await close_code(socket) == 1009
        assert there.desk.frames == []


async def test_the_limit_counts_all_fragments() -> None:
    """A message in fragments may not be longer than a frame."""
    async with route() as there, there.connect() as socket:
        await socket.send(setup())
        assert await socket.recv() == "taken"
        await socket.send(["z" * 40_000, "z" * 40_000])
        assert await close_code(socket) == 1009


# -- how it ends


async def test_a_lost_connection_is_no_goodbye() -> None:
    """A socket that is just gone ends the call as dropped; a close frame with 1000 ends it as completed."""
    async with route() as there:
        for code, how in ((1000, True), (None, False)):
            clean: list[bool] = []

            async def listen(socket: AiohttpSocket, clean: list[bool] = clean) -> None:
                async for _ in socket:
                    pass
                clean.append(socket.closed_cleanly)
                there.desk.ended.set()

            there.desk.instead = listen
            there.desk.ended.clear()
            async with there.connect() as socket:
                await socket.send(setup())
                assert await socket.recv() == "taken"
                if code is None:
                    socket.transport.abort()
                else:
                    await socket.close(code)
                await asyncio.wait_for(there.desk.ended.wait(), 20)
            assert clean == [how]


async def test_a_ping_of_a_peer_that_is_gone() -> None:
    """Frames that a lost connection leaves behind, a ping among them, end in an end and not in an error."""
    async with route() as there:
        ended = asyncio.Event()

        async def late(socket: AiohttpSocket) -> None:
            while not socket._transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            socket.send(b"nobody reads this")
            assert socket.unread() == 0
            assert [frame async for frame in socket] in ([], ["before"])
            await socket.close(1011, "nobody hears this")
            socket.release()
            ended.set()

        there.desk.instead = late
        async with there.connect() as socket:
            await socket.send(setup())
            assert await socket.recv() == "taken"
            await socket.send("before")
            await socket.ping()
            socket.transport.abort()
            await asyncio.wait_for(ended.wait(), 20)


async def test_a_peer_that_leaves_before_setup(caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is lost before its first frame is one that brought none."""
    async with route() as there, there.connect() as socket:
        socket.transport.abort()
        async with asyncio.timeout(20):
            while not there.rejected("no_setup"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert caplog.records == []


async def test_a_bug_closes_with_1011() -> None:
    """What nobody foresaw ends the call with 1011, so that the action callback takes it up again."""
    async with route() as there, there.connect() as socket:

        async def fail(_: AiohttpSocket) -> None:
            raise RuntimeError("a bug")

        there.desk.instead = fail
        await socket.send(setup())
        assert await close_code(socket) == 1011


async def test_a_dead_socket_is_noticed() -> None:
    """A peer that answers no ping is given up after one and a half heartbeats, which is less than a minute."""
    assert HEARTBEAT * 1.5 + 2 <= 60  # aiohttp rounds either wait up to a second
    async with route(heartbeat=0.05) as there:
        peer = await Deaf.on(there.url, setup())
        await asyncio.wait_for(there.desk.ended.wait(), 20)
        assert len(there.desk.taken) == 1
        peer.transport.abort()


async def test_a_living_socket_is_left_open() -> None:
    """A peer that answers pings may be silent for as long as it likes."""
    async with route(heartbeat=0.5) as there, there.connect() as socket:
        await socket.send(setup())
        assert await socket.recv() == "taken"
        await asyncio.sleep(1.2)
        await socket.send("still there")
        assert await socket.recv() == "still there"


async def flooded(there: Route, *, listens: bool) -> tuple[bytes, float]:
    """What a peer read that stopped reading while it was sent too much, and listens again, or not, when the socket is
    being closed; and how long closing took."""
    closing = asyncio.Event()
    seconds = [0.0]

    async def flood(socket: AiohttpSocket) -> None:
        while socket.unread() < 2 * WRITE_LIMIT:
            socket.send(b"w" * 16 * 1024)
            await asyncio.sleep(0)
        closing.set()
        began = asyncio.get_running_loop().time()
        await socket.close(1013, "slow")
        seconds[0] = asyncio.get_running_loop().time() - began

    there.desk.instead = flood
    peer = await Deaf.on(there.url, setup())
    async with asyncio.timeout(10):
        await closing.wait()
        if listens:
            peer.listen()
        await there.desk.ended.wait()
        peer.listen()
        await peer.lost.wait()
    return bytes(peer.heard), seconds[0]


GOODBYE = b"\x88\x06" + (1013).to_bytes(2) + b"slow"


async def test_a_goodbye_stands_behind_what_was_sent() -> None:
    """A slow peer that reads on finds everything it was sent, and then the close frame."""
    async with route() as there:
        heard, _ = await flooded(there, listens=True)
        assert heard.endswith(b"w" + GOODBYE)


async def test_nobody_waits_for_a_peer_that_does_not_read() -> None:
    """Frames are written without a pause however much is unread, and closing has a deadline at which the connection is
    cut."""
    async with route() as there:
        heard, seconds = await flooded(there, listens=False)
        assert GOODBYE not in heard
        assert seconds < 15


async def test_pings_of_a_peer_that_does_not_read() -> None:
    """A peer that asks and asks and never reads the answers is cut off, before they fill the memory."""
    async with route() as there:
        unread: list[int] = []

        async def watched(socket: AiohttpSocket) -> None:
            async for _ in socket:
                unread.append(socket.unread())

        there.desk.instead = watched
        peer = await Deaf.on(there.url, setup())
        ping, frame = b"\x89\xfd" + bytes(4) + b"p" * 125, b"\x81\x81" + bytes(4) + b"f"
        async with asyncio.timeout(10):
            while not peer.lost.is_set():
                peer.transport.write(ping * 500 + frame)
                await asyncio.sleep(0)
            await there.desk.ended.wait()
        assert max(unread) <= WRITE_LIMIT + 500 * 127 + 100
