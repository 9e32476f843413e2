"""Who is let in: signed by Twilio with PUBLIC_URL, this machine alone without it."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import MultiDict
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator

from handlers.guard import TwilioGate, is_local
from handlers.signatures import PublicAddress, TwilioSignatures
from tests.handlers.standins import serving

TOKEN = "test_auth_token"
PUBLIC = PublicAddress.parse("https://relay.example.com/phone")
DEVELOPMENT = TwilioGate(None, None)
OPEN = TwilioGate(PUBLIC, TwilioSignatures([TOKEN]))
CLOSED = TwilioGate(PUBLIC, None)


def routes(gate: TwilioGate) -> list[web.RouteDef]:
    async def form(request: web.Request) -> web.Response:
        return web.json_response(list((await gate.form(request)).items()))

    async def handshake(request: web.Request) -> web.WebSocketResponse:
        gate.handshake(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    return [web.post("/form", form), web.get("/socket", handshake)]


def signed(url: str, params: MultiDict[str] | None = None) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, params or {})}


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X-Real-IP",
        "CF-Connecting-IP",
        "Cf-Ray",
        "True-Client-IP",
        "Fly-Client-IP",
        "Ngrok-Trace-Id",
        "X-Amzn-Trace-Id",
        "Tailscale-User-Login",
        "CDN-Loop",
        "Origin",
    ],
)
async def test_development_mode_refuses_what_came_through_a_tunnel(header: str) -> None:
    """A loopback peer with a forwarding header, or a web page, gets 403 and the log says to set PUBLIC_URL."""
    async with serving(*routes(DEVELOPMENT)) as client:
        with capture_logs() as logs:
            posted = await client.post("/form", headers={header: "203.0.113.7"})
            upgraded = await client.get("/socket", headers={header: ""})
        assert (posted.status, upgraded.status) == (403, 403)
        assert [("PUBLIC_URL" in entry["event"], entry["log_level"]) for entry in logs] == [(True, "warning")] * 2


@pytest.mark.parametrize(
    "host", ["abc.tunnel.example", "relay.example.com:8080", "127.0.0.1.example", "10.0.0.1", "a@localhost"]
)
async def test_development_mode_refuses_another_machines_name(host: str) -> None:
    """A tunnel without forwarding headers, or a rebound DNS name, is known by its Host."""
    async with serving(*routes(DEVELOPMENT)) as client:
        assert (await client.post("/form", headers={"Host": host})).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_development_mode_refuses_another_sites_page(site: str) -> None:
    """A browser that tells no Origin, as for an image, tells where the page that asks comes from."""
    async with serving(*routes(DEVELOPMENT)) as client:
        assert (await client.post("/form", headers={"Sec-Fetch-Site": site})).status == 403
        assert (await client.post("/form", headers={"Sec-Fetch-Site": "none"})).status == 200


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "relay.localhost"])
async def test_development_mode_takes_unsigned_requests_of_this_machine(host: str) -> None:
    """A loopback peer that names this machine is taken without a signature, form and websocket alike."""
    async with serving(*routes(DEVELOPMENT)) as client:
        response = await client.post("/form", data={"a": "1"}, headers={"Host": host})
        assert (response.status, await response.json()) == (200, [["a", "1"]])
        async with client.ws_connect("/socket", headers={"Host": host}) as socket:
            assert (await socket.receive()).type.name == "CLOSE"


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_only_a_loopback_peer_is_local(peer: str, local: bool) -> None:
    """The peer's own address decides, in every spelling of loopback."""
    request = make_mocked_request("GET", "/").clone(remote=peer)
    assert is_local(request) is local


async def test_route_without_its_secret_is_closed() -> None:
    """With PUBLIC_URL and no auth token both kinds of route answer 404 with an empty body, signed or not."""
    assert CLOSED.is_closed and not OPEN.is_closed and not DEVELOPMENT.is_closed
    async with serving(*routes(CLOSED)) as client:
        for response in (
            await client.post("/form", headers=signed("https://relay.example.com/phone/form")),
            await client.get("/socket"),
        ):
            assert (response.status, await response.read()) == (404, b"")


async def test_signed_form_is_read_as_it_was_signed() -> None:
    """Blank values, spaces, repeated names and other scripts arrive as sent, and the signature covers them."""
    pairs = [("From", "+15550100200"), ("CallerName", ""), ("Body", "  a b "), ("X", "2"), ("X", "1"), ("N", "héß✓")]
    url = "https://relay.example.com/phone/form?agent=a%20b&attempt=1"
    async with serving(*routes(OPEN)) as client:
        response = await client.post(
            "/form?agent=a%20b&attempt=1", data=MultiDict(pairs), headers=signed(url, MultiDict(pairs))
        )
        assert response.status == 200
        assert await response.json() == [list(pair) for pair in pairs]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "é"},
        signed("https://127.0.0.1/phone/form", MultiDict(a="1")),
        signed("https://relay.example.com/form", MultiDict(a="1")),
        signed("https://relay.example.com/phone/form"),
        signed("https://evil.example/phone/form", MultiDict(a="1"))
        | {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    ],
)
async def test_form_not_signed_for_the_public_address_is_refused(headers: dict[str, str]) -> None:
    """No signature, a malformed one, one without prefix or parameters, one over the sender's own Host: 403."""
    async with serving(*routes(OPEN)) as client:
        with capture_logs() as logs:
            assert (await client.post("/form", data={"a": "1"}, headers=headers)).status == 403
        assert [entry["route"] for entry in logs] == ["/form"]


async def test_signature_header_that_is_not_utf8_is_refused() -> None:
    """Raw bytes in the header end in 403, not in an error of ours."""
    async with serving(*routes(OPEN)) as client:
        assert client.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /socket HTTP/1.1\r\nHost: h\r\nX-Twilio-Signature: \xff\xfe\x80\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"403"
        writer.close()
        await writer.wait_closed()


async def test_handshake_is_checked_before_the_upgrade() -> None:
    """A handshake signed over wss:// and the public address is upgraded; any other answers 403 without one."""
    async with serving(*routes(OPEN)) as client:
        async with client.ws_connect("/socket", headers=signed("wss://relay.example.com/phone/socket")) as socket:
            assert (await socket.receive()).type.name == "CLOSE"
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        refused = await client.get(
            "/socket",
            headers=upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | signed("wss://evil.example/socket"),
        )
        assert refused.status == 403


async def test_form_beyond_the_limit_is_not_read() -> None:
    """More than 64 KiB, however it is sent, and more fields than any webhook has: 413."""
    async with serving(*routes(DEVELOPMENT)) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/form", data=b"a=" + b"x" * 65_534, headers=form)).status == 200
        assert (await client.post("/form", data=b"a=" + b"x" * 65_535, headers=form)).status == 413
        packed = gzip.compress(b"a=" + b"x" * 1_000_000)
        assert (await client.post("/form", data=packed, headers=form | {"Content-Encoding": "gzip"})).status == 413
        assert (await client.post("/form", data="&".join("a=1" for _ in range(1001)), headers=form)).status == 413


async def test_body_that_cannot_be_unpacked_is_the_senders_mistake() -> None:
    """A content encoding that does not hold what it says is answered with 400."""
    async with serving(*routes(DEVELOPMENT)) as client:
        response = await client.post("/form", data=b"not gzip at all", headers={"Content-Encoding": "gzip"})
        assert response.status == 400


async def test_form_that_does_not_arrive_is_not_waited_for() -> None:
    """A sender that stops in the middle of its form is answered 408 at the deadline."""
    gate = TwilioGate(None, None, body_deadline=0.05)
    async with serving(*routes(gate)) as client:
        assert client.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\na=1")
        async with asyncio.timeout(20):
            assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        await writer.wait_closed()


async def test_bytes_that_are_not_utf8_are_refused_not_an_error() -> None:
    """A form of arbitrary bytes cannot match its signature and is answered 403."""
    async with serving(*routes(OPEN)) as client:
        response = await client.post("/form", data=b"\xff\xfe=%ff%00&&==", headers={"X-Twilio-Signature": "x"})
        assert response.status == 403
