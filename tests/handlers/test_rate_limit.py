"""Whose requests count, how many are let in, and whom no limit concerns: Twilio, and who asks for its apology."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from structlog.testing import capture_logs

from config.settings import load_settings
from handlers.addresses import client_address, network_of
from handlers.app import build_app
from handlers.bearer import Bearer
from handlers.callbacks import FALLBACK, INCOMING, OUTBOUND, RELAY
from handlers.dashboard_access import Access
from handlers.guard import TwilioGate
from handlers.keys import DRAIN
from handlers.modelling import Endpoint
from handlers.rate_limit import WINDOW, Rate, RateLimit
from handlers.routes import CREDENTIALS
from handlers.signatures import PublicAddress, TwilioSignatures
from phone.signing import HEADER, sign
from relay.telemetry import Telemetry
from tests.running import write_agent

TOKEN, BEARER, PUBLIC = "twilio-token", "bearer-token", "https://relay.example.com"
NOWHERE = "unix:///nonexistent/redis.sock"
FORM = {"CallSid": "CA" + "7" * 32, "From": "+15550100200", "To": "+15550100100", "Direction": "inbound"}


# -- whose request it is


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9:5060 ", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("203.0.113", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("", ""),
        ("[", ""),
        ("203.0.113.9:5060:1", ""),
        ("٢٠٣.0.113.9", ""),
    ],
)
def test_an_address_as_it_is_counted(text: str, wanted: str) -> None:
    """IPv4 as it is, also inside IPv6; of IPv6 the network; what is none is none."""
    assert network_of(text) == wanted


@pytest.mark.parametrize(
    ("hops", "lines", "wanted"),
    [
        (0, ["203.0.113.9"], "10.0.0.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (2, ["203.0.113.9,10.0.0.2"], "203.0.113.9"),
        (2, ["203.0.113.9"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, ["203.0.113.9, "], "10.0.0.1"),
        (1, ["203.0.113.9, nonsense"], "10.0.0.1"),
        (3, ["nonsense, 203.0.113.9, 10.0.0.2"], "10.0.0.1"),
    ],
)
def test_the_client_behind_proxies(hops: int, lines: list[str], wanted: str) -> None:
    """The n-th address from the right of all header lines; where there is none, or no address, the peer."""
    headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
    request = make_mocked_request("GET", "/", headers).clone(remote="10.0.0.1")
    assert client_address(request, hops) == wanted


@given(st.lists(st.text(max_size=20), max_size=3))
def test_nobody_chooses_their_own_address(given_by_client: list[str]) -> None:
    """Whatever a client sends, its proxy's entry decides."""
    line = ",".join([*given_by_client, "203.0.113.9"])
    request = make_mocked_request("GET", "/", CIMultiDict({"X-Forwarded-For": line})).clone(remote="10.0.0.1")
    assert client_address(request, 1) == "203.0.113.9"


# -- how many


def test_so_many_in_a_minute() -> None:
    """The limit's number is let in; who then waits as long as told is let in once more."""
    rate, now = Rate(3), 100.0
    assert [rate.take("a", now + each) for each in (0, 1, 2)] == [0.0] * 3
    wait = rate.take("a", now + 3)
    assert rate.take("a", now + 3 + wait - 0.1) > 0
    assert rate.take("a", now + 3 + wait) == 0.0
    assert rate.take("b", now + 3) == 0.0, "others have counts of their own"


def test_one_who_is_refused_is_not_counted() -> None:
    """Asking again and again puts nothing off."""
    rate = Rate(1)
    assert rate.take("a", 0.0) == 0.0
    wait = rate.take("a", 1.0)
    for each in range(50):
        assert rate.take("a", 1.0 + each / 10) > 0
    assert rate.take("a", 1.0 + wait) == 0.0


@given(st.integers(1, 20), st.lists(st.floats(0, 30), min_size=1, max_size=150))
def test_no_minute_has_many_more(limit: int, pauses: list[float]) -> None:
    """In no sixty seconds more than twice the limit, in the first ones not one more; a wait is never longer than two
    windows, and enough."""
    rate, now, let_in = Rate(limit), 0.0, []
    for pause in pauses:
        now += pause
        wait = rate.take("a", now)
        assert 0.0 <= wait <= 2 * WINDOW
        if wait:
            now += wait + 1e-6
            assert rate.take("a", now) == 0.0
        let_in.append(now)
    assert sum(each < let_in[0] + WINDOW for each in let_in) <= limit
    assert all(sum(start <= each < start + WINDOW for each in let_in) <= 2 * limit for start in let_in)


def test_addresses_remembered_are_bounded() -> None:
    """The one that was silent for longest is forgotten; one that keeps asking is not."""
    rate = Rate(1, addresses=10)
    assert rate.take("noisy", 0.0) == 0.0
    for number in range(1000):
        assert rate.take(f"other {number}", 1.0) == 0.0
        assert rate.take("noisy", 1.0) > 0
    assert len(rate) == 10


# -- whom it concerns


class Site:
    """A process with a public address that lets in two strangers a minute."""

    def __init__(self, client: TestClient[web.Request, web.Application], telemetry: Telemetry) -> None:
        self.client = client
        self.done: list[str] = []
        self._telemetry = telemetry

    async def ask(self, method: str, path: str, *, signed: str = "", **headers: str) -> int:
        if signed:
            headers[HEADER] = sign(signed, PUBLIC + path)
        async with self.client.request(method, path, headers=headers) as response:
            if response.status == 429:
                assert 1 <= int(response.headers["Retry-After"]) <= 120
                assert (await response.json())["code"] == "too_many_requests"
            return response.status

    @property
    def refused(self) -> float:
        return self._telemetry.registry.get_sample_value("relay_refused_total", {"reason": "rate"}) or 0.0


@asynccontextmanager
async def site(*, hops: int = 0, development: bool = False) -> AsyncIterator[Site]:
    gate = TwilioGate(
        None if development else PublicAddress.parse(PUBLIC), None if development else TwilioSignatures([TOKEN])
    )
    bearer, telemetry = Bearer(BEARER), Telemetry()

    async def webhook(request: web.Request) -> web.Response:
        here.done.append("asked")
        await gate.form(request)
        return web.Response()

    async def system(request: web.Request) -> web.Response:
        bearer.check(request)
        return web.Response()

    access = Access(BEARER, None)

    async def session(request: web.Request) -> web.Response:
        access.check(request)
        return web.Response()

    async def open_to_all(request: web.Request) -> web.Response:
        here.done.append("open")
        return web.Response()

    async def socket(request: web.Request) -> web.StreamResponse:
        gate.handshake(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        return ws

    limit = RateLimit(
        Rate(2),
        CREDENTIALS,
        telemetry.refused.labels("rate"),
        hops=hops,
        development=development,
        clock=lambda: 0.0,
    )
    app = web.Application(middlewares=[limit.handle])
    app.add_routes(
        [
            web.post(INCOMING, webhook),
            web.post(OUTBOUND, system),
            web.get("/", open_to_all),
            web.get("/dashboard/api/session", session),
            web.get("/health/live", open_to_all),
            web.get(RELAY, socket),
        ]
    )
    async with TestClient(TestServer(app)) as client:
        here = Site(client, telemetry)
        yield here


async def test_a_stranger_is_refused_before_anything_is_done() -> None:
    """The third request has 429 and Retry-After, whatever it asks for, and no handler hears of it."""
    async with site() as here:
        assert [await here.ask("GET", path) for path in ("/", "/nowhere", "/", "/nowhere")] == [200, 404, 429, 429]
        assert await here.ask("POST", INCOMING) == 429
        assert here.done == ["open"]
        assert here.refused == 3


async def test_twilio_is_never_refused() -> None:
    """A valid signature is let in from an address that is over, and does not count."""
    async with site() as here:
        for _ in range(5):
            assert await here.ask("POST", INCOMING, signed=TOKEN) == 200
        assert [await here.ask("GET", "/") for _ in range(3)] == [200, 200, 429]
        assert await here.ask("POST", INCOMING, signed=TOKEN) == 200


async def test_a_false_signature_counts() -> None:
    """It is looked at each time, and refused by its own answer until there were too many."""
    async with site() as here:
        assert [await here.ask("POST", INCOMING, signed="wrong") for _ in range(4)] == [403, 403, 429, 429]
        assert await here.ask("GET", "/") == 429
        assert here.refused == 3


async def test_a_bearer_token_is_a_credential_too() -> None:
    """A false one counts, the valid one is never refused."""
    false, valid = {"Authorization": "Bearer guess"}, {"Authorization": f"Bearer {BEARER}"}
    async with site() as here:
        assert [await here.ask("POST", OUTBOUND, **false) for _ in range(3)] == [401, 401, 429]
        assert await here.ask("POST", OUTBOUND, **valid) == 200


async def test_a_session_of_the_dashboard_is_a_credential_too() -> None:
    """A false cookie counts like a false token; either is looked at below /dashboard."""
    path, began = "/dashboard/api/session", web.Response()
    Access(BEARER, None).begin(began)
    valid = "; ".join(f"{morsel.key}={morsel.value}" for morsel in began.cookies.values())
    async with site() as here:
        assert [await here.ask("GET", path, Cookie="relay_dashboard=1.a.b") for _ in range(3)] == [401, 401, 429]
        assert await here.ask("GET", path, Cookie=valid) == 200
        assert await here.ask("GET", path, Authorization=f"Bearer {BEARER}") == 200


async def test_a_credential_for_another_route_is_none() -> None:
    """A header that the route does not look at buys no work."""
    async with site() as here:
        answers = [await here.ask("GET", "/", signed=TOKEN, Authorization=f"Bearer {BEARER}") for _ in range(3)]
        assert answers == [200, 200, 429]
        assert here.done == ["open", "open"]


async def test_health_is_always_told() -> None:
    """Platforms ask often, and must not be told to wait."""
    async with site() as here:
        assert [await here.ask("GET", "/health/live") for _ in range(5)] == [200] * 5
        assert [await here.ask("GET", "/") for _ in range(3)] == [200, 200, 429]


async def test_a_browser_may_always_ask_what_it_may_send() -> None:
    """A preflight is not counted, nor refused where its address is over: its page could not be told why."""
    async with site() as here:
        assert [await here.ask("OPTIONS", "/") for _ in range(5)] == [405] * 5
        assert [await here.ask("GET", "/") for _ in range(3)] == [200, 200, 429]
        assert await here.ask("OPTIONS", "/") == 405


async def test_handshakes_count() -> None:
    """A websocket without a valid signature is a request like any other; one with it stays open."""
    async with site() as here:
        url, upgrade = here.client.make_url(RELAY), {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert [await here.ask("GET", RELAY, **upgrade) for _ in range(3)] == [403, 403, 429]
        signed = sign(TOKEN, PUBLIC.replace("https", "wss") + RELAY)
        async with here.client.session.ws_connect(url, headers={HEADER: signed}) as ws:
            assert not ws.closed


async def test_clients_of_one_proxy_are_told_apart() -> None:
    """With TRUSTED_HOPS each has a count of its own; without it they share the proxy's."""
    async with site(hops=1) as here:
        for client in ("203.0.113.1", "203.0.113.2"):
            answers = [await here.ask("GET", "/", **{"X-Forwarded-For": f"10.9.9.9, {client}"}) for _ in range(3)]
            assert answers == [200, 200, 429]
    async with site() as here:
        answers = [await here.ask("GET", "/", **{"X-Forwarded-For": f"203.0.113.{each}"}) for each in range(3)]
        assert answers == [200, 200, 429]


async def test_this_machine_in_development() -> None:
    """Its own programs are never refused; what a tunnel passes on is."""
    async with site(development=True) as here:
        assert [await here.ask("GET", "/") for _ in range(5)] == [200] * 5
        tunnel = {"X-Forwarded-For": "203.0.113.9"}
        assert [await here.ask("GET", "/", **tunnel) for _ in range(3)] == [200, 200, 429]


# -- as wired


@asynccontextmanager
async def wired(tmp_path: Path, **environ: str) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """The application, without Redis and without a model."""
    values = {
        "DATA_DIR": str(tmp_path / "data"),
        "AGENTS_DIR": str(write_agent(tmp_path / "agents")),
        "PUBLIC_URL": PUBLIC,
        "TWILIO_AUTH_TOKEN": TOKEN,
        **environ,
    }
    app = await build_app(
        load_settings(None, values), redis_url=NOWHERE, endpoint=Endpoint("http://127.0.0.1:9/v1", "key")
    )
    async with TestClient(TestServer(app)) as client:
        yield client


async def statuses(client: TestClient[web.Request, web.Application], times: int, **asked: Any) -> list[int]:
    found = []
    for _ in range(times):
        async with client.post(**asked) as response:
            found.append(response.status)
    return found


def signed_form(path: str, form: Mapping[str, str]) -> dict[str, str]:
    return {HEADER: sign(TOKEN, PUBLIC + path, form)}


async def test_the_application_limits_strangers(tmp_path: Path) -> None:
    """RATE_PER_MINUTE holds for all routes; a signed call is taken all the same, and 0 lets everybody in."""
    async with wired(tmp_path, RATE_PER_MINUTE="3", TRUSTED_HOPS="1") as client:
        stranger = {"X-Forwarded-For": "203.0.113.9"}
        assert await statuses(client, 4, path=INCOMING, data=FORM, headers=stranger) == [403, 403, 403, 429]
        signature = signed_form(INCOMING, FORM)
        assert await statuses(client, 1, path=INCOMING, data=FORM, headers=stranger | signature) == [200]
    async with wired(tmp_path, RATE_PER_MINUTE="0") as client:
        assert await statuses(client, 200, path="/nowhere") == [404] * 200


# -- the apology


async def test_the_apology_needs_nothing(tmp_path: Path) -> None:
    """GET and POST, unsigned, with no secret, no Redis and no model, also while the process leaves: the default agent's
    line in its language."""
    spanish = 'title = "T"\ntools = []\n[relay]\nlanguage = "es-ES"\n'
    write_agent(tmp_path / "agents", spanish)
    values = {"AGENTS_DIR": str(tmp_path / "agents"), "DATA_DIR": str(tmp_path / "data"), "PUBLIC_URL": PUBLIC}
    app = await build_app(
        load_settings(None, values), redis_url=NOWHERE, endpoint=Endpoint("http://127.0.0.1:9/v1", "key")
    )
    app[DRAIN].begun = True
    async with TestClient(TestServer(app)) as client, asyncio.timeout(10):
        for method in ("GET", "POST"):
            async with client.request(method, FALLBACK, data=b"\xff not a form") as response:
                assert (response.status, response.content_type) == (200, "text/xml")
                text = await response.text()
                assert '<Say language="es-ES">Lo siento, tenemos problemas técnicos.' in text
                assert text.endswith("<Hangup /></Response>")


async def test_twilio_always_hears_the_apology(tmp_path: Path) -> None:
    """From an address that is over it is there for whoever signs, by either method, and for nobody else; the operator
    learns why."""
    async with wired(tmp_path, RATE_PER_MINUTE="1") as client:
        assert await statuses(client, 2, path=FALLBACK, data=FORM) == [200, 429]
        with capture_logs() as logs:
            form = {**FORM, "ErrorCode": "11200", "ErrorUrl": "https://relay.example.com/voice/incoming"}
            asked = {"path": FALLBACK, "data": form, "headers": signed_form(FALLBACK, form)}
            assert await statuses(client, 3, **asked) == [200] * 3
        assert [(entry["log_level"], entry["error_code"]) for entry in logs] == [("error", "11200")] * 3
        async with client.get(FALLBACK, headers={HEADER: sign(TOKEN, PUBLIC + FALLBACK)}) as response:
            assert response.status == 200
        assert await statuses(client, 1, path=FALLBACK, data=FORM, headers={HEADER: "false"}) == [429]
