"""Twilio's REST API through the library's client, against a server on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from channels.twilio.rest import Account, Dialling, TwilioRest
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TOKEN, TwilioRestServer, twilio_rest


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
    server.fail, server.for_good = [(status, code)], True
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


async def test_after_silence_nobody_knows(server: TwilioRestServer, rest: TwilioRest) -> None:
    """The request may have been carried out, and is not made again."""
    server.held = asyncio.Event()
    with pytest.raises(ChannelUnavailable) as caught:
        await rest.message("+15550100123", "+15550100999", "hello")
    assert not caught.value.undone
    server.held.set()
    assert len(server.asked) == 1


async def test_a_connection_lost_under_a_request(server: TwilioRestServer, rest: TwilioRest) -> None:
    """The request was read, and may have been carried out: it is not made again."""
    server.drops = 1
    with pytest.raises(ChannelUnavailable) as caught:
        await rest.message("+15550100123", "+15550100999", "hello")
    assert not caught.value.undone
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", ["<html>a proxy</html>", "[]", "{}", "null"])
async def test_an_answer_that_is_not_twilios(server: TwilioRestServer, rest: TwilioRest, answer: str) -> None:
    """Success without a sid, or no JSON at all, is an error of ours: nobody knows what was done."""
    server.odd = answer
    with pytest.raises(ChannelUnavailable) as caught:
        await rest.message("+15550100123", "+15550100999", "hello")
    assert not caught.value.undone


@pytest.mark.parametrize("retry_after", ["0", "0.05", ""])
async def test_a_short_wait_is_waited(server: TwilioRestServer, rest: TwilioRest, retry_after: str) -> None:
    """429 means that nothing was done: the request is made again, once."""
    server.fail, server.retry_after = [(429, 20429)], retry_after
    assert (await rest.message("+15550100123", "+15550100999", "hello")).startswith("SM")
    assert len(server.messages()) == 2


@pytest.mark.parametrize(
    ("retry_after", "asked"), [("0", 2), ("30", 1), ("Fri, 31 Dec 2027 23:59:59 GMT", 1), ("-1", 1)]
)
async def test_a_long_wait_is_not(server: TwilioRestServer, rest: TwilioRest, retry_after: str, asked: int) -> None:
    """Nor is a second one: a caller waits. Nothing was done."""
    server.fail, server.for_good, server.retry_after = [(429, 20429)], True, retry_after
    with pytest.raises(ChannelUnavailable) as caught:
        await rest.message("+15550100123", "+15550100999", "hello")
    assert caught.value.undone
    assert len(server.messages()) == asked


@pytest.mark.parametrize("failure", [(500, 20500), (503, 0), (400, 21211)])
async def test_nothing_else_is_asked_again(
    server: TwilioRestServer, rest: TwilioRest, failure: tuple[int, int]
) -> None:
    """It may have been carried out, or will not be the next time either."""
    server.fail = [failure]
    with pytest.raises(ChannelError) as caught:
        await rest.message("+15550100123", "+15550100999", "hello")
    assert caught.value.undone == (failure[0] == 400)
    assert len(server.messages()) == 1


async def test_nobody_there() -> None:
    """A host that refuses is an error of ours too, and nothing was done."""
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, "http://127.0.0.1:1"))
    with pytest.raises(ChannelUnavailable) as caught:
        await client.hang_up("CA1")
    assert caught.value.undone
    await client.close()


async def test_a_host_that_refuses_once(unused_tcp_port: int) -> None:
    """Not reached at first, it is asked again after a pause: nothing can have been done."""
    async with AsyncExitStack() as stack:
        servers: list[TwilioRestServer] = []

        async def pause(seconds: float) -> None:
            servers.append(await stack.enter_async_context(twilio_rest(unused_tcp_port)))

        client = TwilioRest(Account(ACCOUNT, KEY, SECRET, f"http://127.0.0.1:{unused_tcp_port}"), sleep=pause)
        assert (await client.message("+15550100123", "+15550100999", "hello")).startswith("SM")
        assert [len(server.messages()) for server in servers] == [1]
        await client.close()


async def test_the_accounts_own_token_will_do(server: TwilioRestServer) -> None:
    """An account without an API key signs in with its sid and its token."""
    client = TwilioRest(Account(ACCOUNT, ACCOUNT, TOKEN, server.url))
    assert (await client.message("+15550100123", "+15550100999", "hello")).startswith("SM")
    await client.close()
