"""Text messages through Twilio: from which number, with what text, and what is put on record."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from channels.twilio.message_codes import may_pass, reason
from channels.twilio.rest import Account, TwilioRest
from channels.twilio.texting import MAX_UNITS, TwilioTexts, plain_text
from relay.errors import ChannelRejected, ChannelUnavailable
from relay.store.client import connect
from relay.store.messages import Messages
from tests.fakes.twilio_rest import ACCOUNT, KEY, NUMBER, SECRET, TwilioRestServer, twilio_rest

CALLER, CALLED = "+15555550100", "+15555550199"
STATUS = "https://relay.example.com/twilio/status"


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
async def rest(server: TwilioRestServer) -> AsyncIterator[TwilioRest]:
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url))
    yield client
    await client.close()


@pytest.fixture
def texts(rest: TwilioRest, redis: Redis) -> TwilioTexts:
    return TwilioTexts(rest, Messages(redis), number=NUMBER, status_callback=STATUS)


async def test_a_text_is_sent_and_put_on_record(server: TwilioRestServer, texts: TwilioTexts, redis: Redis) -> None:
    """From the number that was called, with the address of the statuses; under Twilio's sid Redis has whose it is."""
    sid = await texts.send(CALLER, "See you **Monday**", from_=CALLED, conversation="CA1", person="phone:" + CALLER)
    (form,) = server.messages()
    assert dict(form) == {"To": CALLER, "From": CALLED, "Body": "See you Monday", "StatusCallback": STATUS}
    found = await Messages(redis).get(sid)
    assert found is not None
    assert (found.kind, found.status, found.conversation) == ("text", "queued", "CA1")
    assert await Messages(redis).of("phone:" + CALLER) == [sid]


@pytest.mark.parametrize("called", ["", "client:relay", "sip:relay@example.com", "12345"])
async def test_a_call_to_no_number(server: TwilioRestServer, texts: TwilioTexts, called: str) -> None:
    """What cannot be the sender of a text is replaced by the number of the settings."""
    await texts.send(CALLER, "hello", from_=called)
    assert [form["From"] for form in server.messages()] == [NUMBER]


async def test_a_number_that_cannot_send_texts(server: TwilioRestServer, texts: TwilioTexts) -> None:
    """A landline of ours was called: the number of the settings sends instead."""
    server.refuse[CALLED] = 21606
    await texts.send(CALLER, "hello", from_=CALLED)
    assert [form["From"] for form in server.messages()] == [CALLED, NUMBER]


async def test_no_number_can_send_texts(server: TwilioRestServer, texts: TwilioTexts) -> None:
    """Each is tried once."""
    server.refuse = {CALLED: 21606, NUMBER: 21606}
    with pytest.raises(ChannelRejected) as caught:
        await texts.send(CALLER, "hello", from_=CALLED)
    assert caught.value.vendor_code == "21606"
    assert len(server.messages()) == 2


async def test_a_refused_recipient_is_not_tried_from_elsewhere(server: TwilioRestServer, texts: TwilioTexts) -> None:
    """Who opted out of one of our numbers does not hear from another."""
    server.refuse[CALLED] = 21610
    with pytest.raises(ChannelRejected) as caught:
        await texts.send(CALLER, "hello", from_=CALLED)
    assert caught.value.vendor_code == "21610"
    assert len(server.messages()) == 1


async def test_an_unknown_outcome_is_not_tried_from_elsewhere(server: TwilioRestServer, texts: TwilioTexts) -> None:
    """It might have been sent."""
    server.fail = [(503, 0)]
    with pytest.raises(ChannelUnavailable):
        await texts.send(CALLER, "hello", from_=CALLED)
    assert len(server.messages()) == 1


@pytest.mark.parametrize(
    ("to", "body", "code"),
    [
        ("", "hello", "address"),
        ("client:alice", "hello", "address"),
        ("555 0100", "hello", "address"),
        (CALLER + "\nBcc: x", "hello", "address"),
        (CALLER, " \n\x00\u202e ", "empty"),
        (CALLER, "***", "empty"),
        (CALLER, "x" * (MAX_UNITS + 1), "too_long"),
        (CALLER, "`" * 1_000_000, "too_long"),
        (CALLER, "\U0001f600" * (MAX_UNITS // 2 + 1), "too_long"),
    ],
)
async def test_what_cannot_be_sent(server: TwilioRestServer, texts: TwilioTexts, to: str, body: str, code: str) -> None:
    """Is refused here, by name, and Twilio is not asked."""
    with pytest.raises(ChannelRejected) as caught:
        await texts.send(to, body, from_=CALLED)
    assert caught.value.vendor_code == code
    assert server.asked == []


async def test_the_longest_text(server: TwilioRestServer, texts: TwilioTexts) -> None:
    """1600 of UTF-16's units, of which an emoji is two."""
    for body in ("é" * MAX_UNITS, "\U0001f600" * (MAX_UNITS // 2)):
        await texts.send(CALLER, body)
    assert [form["Body"] for form in server.messages()] == ["é" * MAX_UNITS, "\U0001f600" * (MAX_UNITS // 2)]


async def test_no_number_of_ours(rest: TwilioRest, redis: Redis) -> None:
    """Neither called nor in the settings: nothing can be sent."""
    with pytest.raises(ChannelRejected) as caught:
        await TwilioTexts(rest, Messages(redis)).send(CALLER, "hello", from_="client:relay")
    assert caught.value.vendor_code == "sender"


async def test_without_redis_it_is_sent_all_the_same(server: TwilioRestServer, rest: TwilioRest) -> None:
    """What Twilio has accepted is sent, on record or not; the log says so without the number."""
    redis = connect("unix:///nonexistent/redis.sock")
    with capture_logs() as logs:
        assert await TwilioTexts(rest, Messages(redis), number=NUMBER).send(CALLER, "hello", person="phone:" + CALLER)
    await redis.aclose()
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "5555" not in str(logs)
    (form,) = server.messages()
    assert "StatusCallback" not in form


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("plain, as it is", "plain, as it is"),
        ("**bold**, *soft*, __strong__, _so_, ~~gone~~, ***all***", "bold, soft, strong, so, gone, all"),
        ("**very *much* so**", "very much so"),
        ("# Your order\n\n* soup\n+ fish\n- bread", "Your order\n\n- soup\n- fish\n- bread"),
        ("> said", "said"),
        ("one\n---\ntwo", "one\n\ntwo"),
        ("`code` and\n```python\nprint()\n```\nmore", "code and\nprint()\nmore"),
        ("see [our page](https://example.com/a_b_c?x=1*2)", "see our page: https://example.com/a_b_c?x=1*2"),
        ("[https://e.com](https://e.com)", "https://e.com"),
        ("write [us](mailto:a_b@example.com)", "write us: a_b@example.com"),
        ("![map](https://e.com/m.png)", "map: https://e.com/m.png"),
        ("2 * 3 * 4 = 24", "2 * 3 * 4 = 24"),
        ("a snake_case_name stays", "a snake_case_name stays"),
        ("https://e.com/_a_/b", "https://e.com/_a_/b"),
        ("tab\there\r\nline\rline", "tab here\nline\nline"),
        ("a\x00b\x1bc\x7f\u202ed\u2066e\ud800f\u200b", "abcdef"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        (
            "family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
            "family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
        ),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("¿Qué tal? 5 € – sí", "¿Qué tal? 5 € – sí"),
    ],
)
def test_what_a_phone_shows(written: str, sent: str) -> None:
    """Marks and invisible characters are gone; words, lines, links and emoji are as they were."""
    assert plain_text(written) == sent


@given(st.text(alphabet=st.characters(), max_size=200))
def test_any_text_can_be_sent(body: str) -> None:
    """Whatever a model writes becomes valid UTF-8 without control characters."""
    sent = plain_text(body)
    sent.encode()
    assert not any((each < " " and each != "\n") or "\x7f" <= each < "\xa0" for each in sent)


@pytest.mark.parametrize(
    ("code", "says", "again"),
    [
        ("21211", "not a telephone number", False),
        ("21408", "country", False),
        ("21610", "opted out", False),
        ("21614", "mobile", False),
        ("30003", "switched off", True),
        ("30007", "filtered", False),
        ("20003", "on our side", False),
        ("99999", "on our side", False),
    ],
)
def test_reasons(code: str, says: str, again: bool) -> None:
    """Each code of Twilio's is one clause the caller can be told; what is not theirs to mend is ours."""
    assert says in reason(code)
    assert may_pass(code) is again
