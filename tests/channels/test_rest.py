"""Twilio's REST API through the library's client, against a server on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from channels.twilio.rest import Account, Dialling, TwilioRest
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TwilioRestServer, twilio_rest


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
async def rest(server: TwilioRestServer) -> AsyncIterator[TwilioRest]:
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=0.5)
    yield client
    await client.close()


async def test_a_message_is_handed_over(server: TwilioRestServer, rest: TwilioRest) -> None:
    """To, From, Body and the address of the status reach Twilio; its sid comes back."""
    sid = await rest.message("+15550100123", "+15550100999", "Grüße", status_callback="https://h/twilio/status")
    assert sid.startswith("SM")
    (form,) = server.messages()
    assert dict(form) == {
        "To": "+15550100123",
        "From": "+15550100999",
        "Body": "Grüße",
        "StatusCallback": "https://h/twilio/status",
    }


async def test_a_call_is_placed(server: TwilioRestServer, rest: TwilioRest) -> None:
    """The call's TwiML, statuses and machine detection are asked for by Twilio's names."""
    sid = await rest.call(
        Dialling(
            to="+1555", from_="+1666", url="https://h/v", status_callback="https://h/s", amd_callback="https://h/a"
        )
    )
    assert sid.startswith("CA")
    (form,) = server.calls()
    assert form.getall("StatusCallbackEvent") == ["initiated", "ringing", "answered", "completed"]
    assert (form["MachineDetection"], form["AsyncAmd"]) == ("DetectMessageEnd", "true")
    assert (form["Url"], form["AsyncAmdStatusCallback"]) == ("https://h/v", "https://h/a")


async def test_a_live_call_is_redirected_and_ended(server: TwilioRestServer, rest: TwilioRest) -> None:
    """TwiML, or the end, for a call that is under way."""
    await rest.redirect("CA1", "<Response/>")
    await rest.hang_up("CA1")
    assert [(each.resource, dict(each.form)) for each in server.asked] == [
        ("Calls/CA1", {"Twiml": "<Response/>"}),
        ("Calls/CA1", {"Status": "completed"}),
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 21211, ChannelRejected),
        (401, 20003, ChannelRejected),
        (429, 20429, ChannelUnavailable),
        (503, 0, ChannelUnavailable),
    ],
)
async def test_errors_are_ours(
    server: TwilioRestServer, rest: TwilioRest, status: int, code: int, kind: type[ChannelError]
) -> None:
    """Twilio's code is kept; the number and the words are in no message."""
    server.fail = [(status, code)]
    with pytest.raises(kind) as caught:
        await rest.message("+15550100123", "+15550100999", "secret words")
    assert (caught.value.status, caught.value.vendor_code) == (status, str(code) if code else "")
    assert "5550100" not in str(caught.value) and "secret" not in str(caught.value)


async def test_silence_is_bounded(server: TwilioRestServer, rest: TwilioRest) -> None:
    """A server that does not answer is given up after the deadline."""
    server.held = asyncio.Event()
    with pytest.raises(ChannelUnavailable):
        await rest.message("+15550100123", "+15550100999", "hello")
    server.held.set()


async def test_nobody_there() -> None:
    """A host that refuses is an error of ours too."""
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, "http://127.0.0.1:1"))
    with pytest.raises(ChannelUnavailable):
        await client.hang_up("CA1")
    await client.close()
