"""Reports of what became of text messages: who may make them, in what order they come, what is taken down."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis
from structlog.testing import capture_logs

from handlers.guard import TwilioGate
from handlers.signatures import PublicAddress, TwilioSignatures
from handlers.twilio_status import STATUS, TwilioStatus
from phone.signing import HEADER, sign
from relay.messages import Status
from relay.store.client import connect
from relay.store.messages import Messages, message_key
from tests.handlers.standins import serving

TOKEN, URL = "test_auth_token", "https://relay.example.com/phone"
SID = "SM" + "0" * 32
GATE = TwilioGate(PublicAddress.parse(URL), TwilioSignatures([TOKEN]))

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def messages(redis: Redis) -> Messages:
    return Messages(redis)


@pytest.fixture
async def client(messages: Messages) -> AsyncIterator[Client]:
    async with serving(web.post(STATUS, TwilioStatus(GATE, messages).message)) as serves:
        yield serves


def form(status: str = "delivered", **more: str | list[str]) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {
        "MessageSid": SID,
        "SmsSid": SID,
        "MessageStatus": status,
        "To": "+15550100123",
        "From": "+15550100999",
        "AccountSid": "AC" + "0" * 32,
        "ApiVersion": "2010-04-01",
    }
    return {name: value for name, value in {**fields, **more}.items() if value != "absent"}


async def post(client: Client, fields: dict[str, str | list[str]], token: str = TOKEN) -> int:
    pairs = [(name, each) for name, value in fields.items() for each in ([value] if isinstance(value, str) else value)]
    async with client.post(STATUS, data=pairs, headers={HEADER: sign(token, URL + STATUS, fields)}) as answer:
        await answer.read()
        return answer.status


async def test_a_status_is_taken_down(client: Client, messages: Messages) -> None:
    """With the code of an error; a repeated report and an older one change nothing, and are answered alike."""
    await messages.sent(SID, kind="text", conversation="CA1", person="phone:+15550100123")
    reports = [("sent", ""), ("sent", ""), ("queued", ""), ("undelivered", "30003"), ("sent", ""), ("delivered", "")]
    with capture_logs() as logs:
        for status, code in reports:
            assert await post(client, form(status, **({"ErrorCode": code} if code else {}))) == 200
    assert await messages.status(SID) == Status("undelivered", "30003")
    assert [(entry["event"], entry["error_code"]) for entry in logs] == [("text message lost", "30003")]
    assert "5550100" not in str(logs)


async def test_a_message_that_is_not_on_record(client: Client, messages: Messages) -> None:
    """It may have been faster than its message: 200, a warning without numbers, and it is not lost."""
    with capture_logs() as logs:
        assert await post(client, form("delivered")) == 200
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "5550100" not in str(logs)
    assert await messages.status(SID) == Status("delivered")


@pytest.mark.parametrize("status", ["received", "receiving", "partially_delivered", "made-up"])
async def test_a_status_of_something_else(client: Client, messages: Messages, redis: Redis, status: str) -> None:
    """Twilio has other words, and may make new ones: they are answered and not taken down."""
    await messages.sent(SID, kind="text", conversation="CA1", person="")
    assert await post(client, form(status)) == 200
    assert await messages.status(SID) == Status("queued")


@pytest.mark.parametrize(
    "fields",
    [
        {"MessageSid": "absent"},
        {"MessageSid": ""},
        {"MessageSid": "CA" + "0" * 32},
        {"MessageSid": "SM}:{" + "0" * 32},
        {"MessageSid": "SM" + "0" * 100},
        {"MessageSid": ["SM1", "SM2"]},
        {"MessageStatus": "absent"},
        {"MessageStatus": ""},
        {"MessageStatus": "<b>"},
        {"MessageStatus": ["sent", "delivered"]},
        {"ErrorCode": "not a number"},
        {"ErrorCode": "9" * 20},
    ],
    ids=str,
)
async def test_a_bad_form(client: Client, redis: Redis, fields: dict[str, str | list[str]]) -> None:
    """Is refused by name, and nothing is stored."""
    with capture_logs() as logs:
        assert await post(client, form(**{"status": "sent", **fields})) == 400  # type: ignore[arg-type]
    assert await redis.keys("*") == []
    assert logs == []


async def test_nobody_but_twilio(client: Client, redis: Redis) -> None:
    """Without its signature, or with another's, nothing is read."""
    assert await post(client, form(), token="another") == 403
    async with client.post(STATUS, data=form()) as answer:
        assert answer.status == 403
    assert await redis.keys("*") == []


async def test_closed_without_a_token(messages: Messages, redis: Redis) -> None:
    """Who set PUBLIC_URL and no token gets an empty 404."""
    gate = TwilioGate(PublicAddress.parse(URL), None)
    route = web.post(STATUS, TwilioStatus(gate, messages).message)
    async with serving(route) as client, client.post(STATUS, data=form()) as answer:
        assert (answer.status, await answer.read()) == (404, b"")
    assert await redis.keys("*") == []


async def test_without_redis() -> None:
    """503: it was not taken down, and Twilio may be told to try again."""
    redis = connect("unix:///nonexistent/redis.sock")
    async with serving(web.post(STATUS, TwilioStatus(GATE, Messages(redis)).message)) as client:
        assert await post(client, form()) == 503
    await redis.aclose()


async def test_a_report_keeps_no_number(client: Client, messages: Messages, redis: Redis) -> None:
    """Neither end of the message is stored."""
    await messages.sent(SID, kind="text", conversation="CA1", person="")
    await post(client, form("delivered"))
    stored = await redis.hgetall(message_key(SID))  # type: ignore[misc]
    assert b"5550100" not in b" ".join(stored.values())
