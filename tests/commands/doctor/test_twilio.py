"""The Twilio account and the number, against a server in Twilio's place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from commands.doctor import number, twilio
from commands.doctor.clock import Dates
from commands.doctor.finding import masked
from config.settings import Settings, load_settings
from tests.fakes.twilio_rest import NUMBER, TOKEN, TwilioRestServer, twilio_rest

BASE = "https://relay.example.com"
OURS = {
    "voice_url": f"{BASE}/voice/incoming",
    "voice_fallback_url": f"{BASE}/voice/fallback",
    "status_callback": f"{BASE}/voice/status",
}


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


def settings_of(server: TwilioRestServer, **more: str) -> Settings:
    """``more``: "" takes a setting away."""
    return load_settings(None, {**server.environ, "PUBLIC_URL": BASE, "TWILIO_AUTH_TOKEN": TOKEN, **more})


# -- the account


async def test_a_good_account(server: TwilioRestServer) -> None:
    """The token and the key are both tried; a Standard key may not see the account and need not."""
    finding = await twilio.look(settings_of(server), Dates())
    assert (finding.status, finding.detail) == ("ok", "The account takes the credentials.")
    assert [each.resource for each in server.asked] == ["", "IncomingPhoneNumbers"]


async def test_with_a_key_alone(server: TwilioRestServer) -> None:
    """Without the token only the key is tried."""
    assert (await twilio.look(settings_of(server, TWILIO_AUTH_TOKEN=""), Dates())).status == "ok"


async def test_while_a_token_is_replaced(server: TwilioRestServer) -> None:
    """One of the tokens is the account's."""
    assert (await twilio.look(settings_of(server, TWILIO_AUTH_TOKEN=f"new,{TOKEN}"), Dates())).status == "ok"


async def test_a_trial(server: TwilioRestServer) -> None:
    """What that means is said."""
    server.type = "Trial"
    finding = await twilio.look(settings_of(server), Dates())
    assert finding.status == "ok" and "verified numbers" in finding.detail


@pytest.mark.parametrize(
    ("more", "words", "fix"),
    [
        ({"TWILIO_AUTH_TOKEN": "not-it"}, "TWILIO_AUTH_TOKEN is not that of TWILIO_ACCOUNT_SID", "Console"),
        ({"TWILIO_API_SECRET": "not-it"}, "does not accept the credentials (401, its error 20003)", "TWILIO_API_KEY"),
        ({"TWILIO_API_BASE": "http://127.0.0.1:1"}, "was not reached", "TWILIO_API_BASE"),
    ],
)
async def test_credentials_that_are_not_taken(
    server: TwilioRestServer, more: dict[str, str], words: str, fix: str
) -> None:
    """Which of them is named."""
    finding = await twilio.look(settings_of(server, **more), Dates())
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix


async def test_a_suspended_account(server: TwilioRestServer) -> None:
    """Whatever its credentials are."""
    server.status = "suspended"
    finding = await twilio.look(settings_of(server), Dates())
    assert (finding.status, finding.detail) == ("failed", "The account is suspended.")


@pytest.mark.parametrize(("status", "words"), [(403, "suspended or closed"), (503, "answers with an error (503)")])
async def test_a_refusal(server: TwilioRestServer, status: int, words: str) -> None:
    """As everywhere."""
    server.fail, server.for_good = [(status, 20403 if status == 403 else 0)], True
    finding = await twilio.look(settings_of(server), Dates())
    assert finding.status == "failed" and words in finding.detail and finding.fix


# -- the number


async def test_the_number_points_here(server: TwilioRestServer) -> None:
    """Whichever agent answers it; the number itself is shown to nobody."""
    server.numbers.add(NUMBER, **OURS | {"voice_url": f"{BASE}/voice/incoming?agent=sales#rc=2"})
    finding = masked(await number.look(settings_of(server)))
    assert (finding.status, finding.detail) == ("ok", "…0999 points here.")


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        (
            {"voice_url": "https://user:pw@old.example/x?key=secret"},
            "failed",
            "URL is https://old.example/x, not",
        ),
        ({"voice_url": ""}, "failed", "voice URL is none"),
        ({"voice_method": "GET"}, "failed", "asked for by GET, not by POST"),
        ({"trunk_sid": "TK" + "1" * 32}, "failed", "go to a SIP trunk"),
        ({"voice_application_sid": "AP" + "1" * 32}, "failed", "its TwiML app's voice URL is https://app.example/x"),
        ({"voice_application_sid": "AP" + "2" * 32}, "failed", "its TwiML app's voice URL is asked for by GET"),
        ({"voice_application_sid": "AP" + "3" * 32}, "ok", "points here"),
        ({"voice_fallback_url": ""}, "warning", "fallback URL is none"),
        ({"status_callback": "https://old.example/s"}, "warning", "status callback is https://old.example/s"),
        ({"status_callback_method": "GET"}, "warning", "status callback"),
    ],
)
async def test_a_number_that_does_not(
    server: TwilioRestServer, fields: dict[str, Any], status: str, words: str
) -> None:
    """What of it, and the command that mends it; secrets of another program's URL are not shown."""
    book = server.numbers
    book.add(NUMBER, **OURS | fields)
    book.applications["AP" + "1" * 32] = app("https://app.example/x")
    book.applications["AP" + "2" * 32] = app(OURS["voice_url"], voice_method="GET")
    book.applications["AP" + "3" * 32] = app(**OURS)
    finding = await number.look(settings_of(server))
    assert finding.status == status and words in finding.detail and "secret" not in finding.detail
    assert finding.fix == ("" if status == "ok" else "relay number connect")


def app(voice_url: str, **fields: str) -> dict[str, str]:
    """A TwiML app as the API shows one."""
    return {"sid": "AP", "voice_url": voice_url, "voice_method": "POST", "status_callback_method": "POST", **fields}


async def test_a_fallback_of_ones_own(server: TwilioRestServer) -> None:
    """It is the one that is looked for."""
    other = "https://elsewhere.example.com/sorry.xml"
    server.numbers.add(NUMBER, **OURS | {"voice_fallback_url": other})
    assert (await number.look(settings_of(server, VOICE_FALLBACK_URL=other))).status == "ok"
    assert (await number.look(settings_of(server))).status == "warning"


async def test_no_number_is_named(server: TwilioRestServer) -> None:
    """One of several that points here is enough; the only one is the one that is meant."""
    settings = settings_of(server, TWILIO_PHONE_NUMBER="")
    finding = await number.look(settings)
    assert finding.status == "failed" and "Buy one" in finding.fix
    server.numbers.add("+15550100001")
    finding = await number.look(settings)
    assert finding.status == "failed" and finding.fix == "relay number connect"
    server.numbers.add("+15550100002")
    finding = await number.look(settings)
    assert finding.detail == "None of the account's 2 numbers points here." and "NUMBER" in finding.fix
    server.numbers.add("+15550100003", **OURS)
    assert (await number.look(settings)).status == "ok"


async def test_a_number_of_another_account(server: TwilioRestServer) -> None:
    """TWILIO_PHONE_NUMBER is wrong; what there is is shown by its end only."""
    server.numbers.add("+15550100001", **OURS)
    finding = masked(await number.look(settings_of(server)))
    assert finding.status == "failed" and "TWILIO_PHONE_NUMBER" in finding.fix
    assert "…0999 is no number of this account, which has …0001" in finding.detail


async def test_twilio_refuses(server: TwilioRestServer) -> None:
    """A key without the permission; for calls and texts it may be enough."""
    server.fail, server.for_good = [(401, 70051)], True
    finding = await number.look(settings_of(server))
    assert finding.status == "warning" and "permissions" in finding.fix
    finding = await twilio.look(settings_of(server), Dates())
    assert finding.status == "warning" and "permissions" in finding.fix
