"""``POST /voice/outbound`` over a real port, with a real Redis and a server in Twilio's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis
from structlog.testing import capture_logs

from channels.twilio.rest import Account, TwilioRest
from handlers.bearer import Bearer
from handlers.callbacks import OUTBOUND
from handlers.dialling import Dialler, Line, fingerprint_of
from handlers.outbound import OutboundRoute
from relay.store.client import connect
from relay.store.outbound import OutboundCalls
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TwilioRestServer, twilio_rest
from tests.handlers.standins import NOW, serving

TOKEN = "bearer-secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TO = "+15550100207"
WISH = {"to": TO, "agent": "sales"}
LINE = Line("https://relay.example.com/phone", "+15550100999", ("+1", "+44"))

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@asynccontextmanager
async def process(
    server: TwilioRestServer,
    redis: Redis,
    *,
    token: str = TOKEN,
    limit: int = 1000,
    deadline: float = 5.0,
    line: Line = LINE,
    clock: list[float] | None = None,
    **given: Any,
) -> AsyncIterator[Client]:
    """A process with the route; ``clock`` holds its time."""
    times = clock or [NOW]
    rest = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=deadline)
    dialler = Dialler(line, rest, OutboundCalls(redis, limit), {"default", "sales"}, now=lambda: times[0], **given)
    route = OutboundRoute(Bearer(token), dialler, "default")
    try:
        async with serving(web.post(OUTBOUND, route.place)) as client:
            yield client
    finally:
        await rest.close()


async def ask(client: Client, wish: Any = WISH, key: str = "", **headers: str) -> tuple[int, Mapping[str, Any]]:
    sent = BEARER | ({"Idempotency-Key": key} if key else {}) | headers
    async with client.post(OUTBOUND, json=wish, headers=sent) as response:
        return response.status, await response.json()


async def test_a_call_is_placed(server: TwilioRestServer, redis: Redis) -> None:
    """Twilio is asked to call the number from ours, and to ask us for the agent's TwiML; its sid is the answer."""
    async with process(server, redis) as client:
        code, answer = await ask(client)
    (form,) = server.calls()
    assert (code, dict(answer)) == (202, {"call_sid": f"CA{1:032x}"})
    assert (form["To"], form["From"]) == (TO, "+15550100999")
    assert form["Url"] == "https://relay.example.com/phone/voice/incoming?agent=sales"
    assert form["StatusCallback"] == "https://relay.example.com/phone/voice/status"
    assert form["AsyncAmdStatusCallback"] == "https://relay.example.com/phone/voice/amd?agent=sales"


async def test_who_names_no_agent_gets_the_default_one(server: TwilioRestServer, redis: Redis) -> None:
    """As for a call that comes in."""
    async with process(server, redis) as client:
        assert (await ask(client, {"to": TO}))[0] == 202
    assert server.calls()[0]["Url"].endswith("?agent=default")


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"to": "5550100207", "agent": "sales"}, 400, "bad_number"),
        ({"to": "+1555010020\u0667", "agent": "sales"}, 400, "bad_number"),
        ({"to": "+15550100207\n", "agent": "sales"}, 400, "bad_number"),
        ({"to": "sip:a@b.example", "agent": "sales"}, 400, "bad_number"),
        ({"to": "", "agent": "sales"}, 400, "bad_number"),
        ({"to": 15550100207, "agent": "sales"}, 400, "bad_field"),
        ({"agent": "sales"}, 400, "bad_field"),
        ({"to": TO, "agent": None}, 400, "bad_field"),
        ({"to": TO, "agent": "nobody"}, 400, "unknown_agent"),
        ({"to": TO, "agent": "sales", "url": "https://evil.example"}, 400, "unknown_field"),
        ([TO], 400, "bad_json"),
        ({"to": "+4930123456", "agent": "sales"}, 403, "country"),
    ],
)
async def test_what_is_no_call(server: TwilioRestServer, redis: Redis, wish: Any, status: int, code: str) -> None:
    """Refused with a code and a sentence that does not repeat the number; Twilio is not asked, nothing is counted."""
    async with process(server, redis) as client:
        got, answer = await ask(client, wish)
        assert (got, answer["code"]) == (status, code)
        assert "5550100207" not in answer["message"]
    assert server.asked == [] and await redis.keys("*") == []


async def test_no_country_may_be_dialled_unless_it_is_named(server: TwilioRestServer, redis: Redis) -> None:
    """An empty list allows none."""
    async with process(server, redis, line=Line(LINE.base, LINE.number)) as client:
        assert (await ask(client))[1]["code"] == "country"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"to=1", 415),
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/json"}, b"\xff", 400),
        ({"Content-Type": "application/json"}, b"", 400),
        ({"Content-Type": "application/json"}, b'{"to": "' + b"1" * 20_000 + b'"}', 413),
        ({"Content-Type": "application/json", "Idempotency-Key": "a b"}, b"{}", 400),
        ({"Content-Type": "application/json", "Idempotency-Key": "x" * 256}, b"{}", 400),
    ],
)
async def test_what_is_no_request(
    server: TwilioRestServer, redis: Redis, headers: dict[str, str], body: bytes, status: int
) -> None:
    """A JSON object of sensible size, or an error in JSON."""
    async with (
        process(server, redis) as client,
        client.post(OUTBOUND, data=body, headers=BEARER | headers) as response,
    ):
        assert response.status == status
        assert set(await response.json()) == {"code", "message"}
    assert server.asked == []


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer bearer-secre\u00fc"]
)
async def test_without_the_token_nothing_is_read(server: TwilioRestServer, redis: Redis, header: str | None) -> None:
    """401 before the body is looked at, whatever it holds."""
    async with process(server, redis) as client:
        headers = {} if header is None else {"Authorization": header}
        async with client.post(OUTBOUND, data=b"{", headers=headers) as response:
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert (await response.json())["code"] == "unauthorized"


async def test_without_a_token_in_the_settings_the_route_is_closed(server: TwilioRestServer, redis: Redis) -> None:
    """An empty 404, also for an empty token."""
    async with process(server, redis, token="") as client:
        for headers in ({}, {"Authorization": "Bearer "}, BEARER):
            async with client.post(OUTBOUND, json=WISH, headers=headers) as response:
                assert (response.status, await response.read()) == (404, b"")


async def test_missing_settings_are_named(server: TwilioRestServer, redis: Redis) -> None:
    """To whoever has the token."""
    async with process(server, redis, missing=["PUBLIC_URL"]) as client:
        code, answer = await ask(client)
        assert (code, answer["code"]) == (503, "not_configured")
        assert "PUBLIC_URL" in answer["message"]


# once


async def test_twenty_at_once_with_one_key_place_one_call(server: TwilioRestServer, redis: Redis) -> None:
    """On two processes, while Twilio takes its time; all are told the same sid, and so is a later one."""
    server.held = asyncio.Event()
    async with process(server, redis) as one, process(server, redis) as two:
        asking = [asyncio.create_task(ask(each, key="k-1")) for each in (one, two) * 10]
        await server.until(lambda: server.calls())
        server.held.set()
        answers = await asyncio.gather(*asking)
        answers.append(await ask(two, key="k-1"))
    assert {(code, answer["call_sid"]) for code, answer in answers} == {(202, f"CA{1:032x}")}
    assert len(server.calls()) == 1


async def test_without_a_key_each_request_is_a_call(server: TwilioRestServer, redis: Redis) -> None:
    """So are requests with different keys."""
    async with process(server, redis) as client:
        sids = [(await ask(client, key=key))[1]["call_sid"] for key in ("", "", "a", "b")]
    assert len(set(sids)) == len(server.calls()) == 4


async def test_a_key_is_good_for_one_wish(server: TwilioRestServer, redis: Redis) -> None:
    """Another number or agent with it is refused."""
    async with process(server, redis) as client:
        await ask(client, key="k")
        for other in ({**WISH, "to": "+15550100208"}, {**WISH, "agent": "default"}):
            code, answer = await ask(client, other, key="k")
            assert (code, answer["code"]) == (422, "key_reused")
    assert len(server.calls()) == 1


async def test_a_refused_call_may_be_tried_again_with_its_key(server: TwilioRestServer, redis: Redis) -> None:
    """Twilio has told that there is none."""
    server.fail = [(400, 21211)]
    async with process(server, redis) as client:
        code, answer = await ask(client, key="k")
        assert (code, answer["code"]) == (502, "refused")
        assert "21211" in answer["message"] and TO not in answer["message"]
        assert (await ask(client, key="k"))[0] == 202


async def test_a_call_twilio_has_no_room_for_may_be_tried_again(server: TwilioRestServer, redis: Redis) -> None:
    """It has told that it placed none."""
    server.fail, server.for_good = [(429, 20429)], True
    async with process(server, redis) as client:
        code, answer = await ask(client, key="k")
        assert (code, answer["code"]) == (503, "unavailable") and "none was placed" in answer["message"]
        server.fail, server.for_good = [], False
        assert (await ask(client, key="k"))[0] == 202


@pytest.mark.parametrize("how", ["silent", "error"])
async def test_a_call_of_which_nobody_knows_is_not_placed_again(
    server: TwilioRestServer, redis: Redis, how: str
) -> None:
    """The key answers 409 from then on, and at once; another key is another call."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    if how == "silent":
        server.held = asyncio.Event()
    else:
        server.fail = [(500, 0)]
    async with process(server, redis, sleep=sleep, deadline=0.1) as client:
        code, answer = await ask(client, key="k")
        assert (code, answer["code"]) == (503, "unavailable")
        if server.held is not None:
            server.held.set()
            server.held = None
        for _ in range(2):
            code, answer = await ask(client, key="k")
            assert (code, answer["code"]) == (409, "outcome_unknown")
        assert len(server.calls()) == 1 and waits == []
        assert (await ask(client, key="other"))[0] == 202


async def test_a_process_that_leaves_notes_what_it_has_asked_for(server: TwilioRestServer, redis: Redis) -> None:
    """Its request is cut, Twilio's answer is waited for: another process then answers the key with the call's sid."""
    server.held = asyncio.Event()
    rest = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=5.0)
    dialler = Dialler(LINE, rest, OutboundCalls(redis, 10), {"default", "sales"}, now=lambda: NOW)
    asking = asyncio.create_task(dialler.dial(TO, "sales", "k"))
    await server.until(lambda: server.calls())
    asking.cancel()
    await asyncio.wait([asking])
    leaving = asyncio.create_task(dialler.close())
    await asyncio.sleep(0)
    server.held.set()
    await leaving
    await rest.close()
    async with process(server, redis) as client:
        assert await ask(client, key="k") == (202, {"call_sid": f"CA{1:032x}"})
    assert len(server.calls()) == 1


async def test_a_process_that_leaves_does_not_wait_for_ever(server: TwilioRestServer, redis: Redis) -> None:
    """Of a call Twilio keeps silent about nobody knows."""
    server.held = asyncio.Event()
    rest = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=5.0)
    dialler = Dialler(LINE, rest, OutboundCalls(redis, 10), {"sales"}, now=lambda: NOW, patience=0.05)
    asking = asyncio.create_task(dialler.dial(TO, "sales", "k"))
    await server.until(lambda: server.calls())
    await dialler.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.held.set()
    await rest.close()


async def test_who_waits_for_another_is_told_when_nobody_knows(server: TwilioRestServer, redis: Redis) -> None:
    """A claim whose owner has died is waited for as long as its owner may have been asking, and no longer."""
    clock, calls = [NOW], OutboundCalls(redis, 10)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += 1

    await calls.claim("dead", "k", fingerprint_of(TO, "sales", b""), NOW)
    async with process(server, redis, clock=clock, sleep=sleep) as client:
        assert (await ask(client, key="k"))[1]["code"] == "outcome_unknown"
    assert len(waits) == 11 and server.calls() == []


async def test_what_is_kept_of_a_wish_does_not_tell_whom_it_was_for(server: TwilioRestServer, redis: Redis) -> None:
    """There are few enough numbers to try them all: without the process's own secret that finds nothing."""
    async with process(server, redis, secret=b"of this process") as client:
        assert (await ask(client, key="k"))[0] == 202
    (name,) = await redis.keys("{outbound}:key:*")
    kept = await redis.hget(name, "asked")  # type: ignore[misc]
    assert kept == fingerprint_of(TO, "sales", b"of this process").encode()
    assert kept != fingerprint_of(TO, "sales", b"").encode()


# how many


async def test_the_rate_is_one_for_all_processes(server: TwilioRestServer, redis: Redis) -> None:
    """Of many at once on two processes exactly so many are placed; the rest is told when to come again."""
    clock = [NOW]
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(process(server, redis, limit=5, clock=clock)) for _ in range(2)]
        answers = await asyncio.gather(*(ask(each) for each in both * 10))
        assert sorted(code for code, _ in answers) == [202] * 5 + [429] * 15
        assert len(server.calls()) == 5
        clock[0] += 30
        async with both[0].post(OUTBOUND, json=WISH, headers=BEARER) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "30")
        clock[0] += 30.1
        assert (await ask(both[1]))[0] == 202


async def test_a_repeated_wish_is_not_counted(server: TwilioRestServer, redis: Redis) -> None:
    """And is answered although there is no room for another call."""
    async with process(server, redis, limit=1) as client:
        first = await ask(client, key="k")
        assert await ask(client, key="k") == first
        assert (await ask(client, key="other"))[0] == 429
        assert (await ask(client, key="k")) == first


# what may be away


async def test_without_redis_no_call_is_placed(server: TwilioRestServer) -> None:
    """503: nobody could tell whether it was placed already."""
    away = connect("unix:///nowhere/redis.sock")
    async with process(server, away) as client:
        code, answer = await ask(client)
        assert (code, answer["code"]) == (503, "store")
    assert server.asked == []
    await away.aclose()


async def test_neither_numbers_nor_the_token_are_logged(server: TwilioRestServer, redis: Redis) -> None:
    """Whether the call is placed or not."""
    with capture_logs() as logs:
        async with process(server, redis) as client:
            await ask(client, key="secret-key")
            server.fail = [(400, 21211), (500, 1)]
            await ask(client)
            await ask(client)
    assert len(logs) == 3
    assert not any(word in str(logs) for word in ("5550100", TOKEN, "secret-key"))
