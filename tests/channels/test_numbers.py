"""The account's numbers through the library's client, against a server on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.twilio.numbers import NoNumber, Numbers, Overridden, Routing
from channels.twilio.rest import Account, TwilioRest
from relay.errors import ChannelRejected, ChannelUnavailable
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TwilioRestServer, twilio_rest

ONE, OTHER = "+15550100999", "+15550100998"
OURS = {"voice_url": "https://relay.example.com/voice/incoming", "status_callback": "https://relay.example.com/s"}


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
async def numbers(server: TwilioRestServer) -> AsyncIterator[Numbers]:
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=2.0)
    yield Numbers(client)
    await client.close()


async def test_all_pages_are_read(server: TwilioRestServer, numbers: Numbers) -> None:
    """However few numbers Twilio puts on a page; what it knows of each is there."""
    server.numbers.largest_page = 2
    for last in range(5):
        server.numbers.add(f"+1555010010{last}", voice=last != 3, voice_url=f"https://h/{last}", voice_method="GET")
    found = await numbers.all()
    assert [each.number for each in found] == [f"+1555010010{last}" for last in range(5)]
    assert [each.voice for each in found] == [True, True, True, False, True]
    assert found[4].routing == Routing(voice_url="https://h/4", voice_method="GET")
    assert len(server.asked) == 3


async def test_a_number_by_its_name(server: TwilioRestServer, numbers: Numbers) -> None:
    """Twilio is asked for it alone, and what its filter finds besides is left out."""
    server.numbers.add(ONE + "1")
    server.numbers.add(ONE)
    assert (await numbers.choose(ONE)).number == ONE
    assert [each.form.get("PhoneNumber") for each in server.asked] == [ONE]


async def test_the_only_number(server: TwilioRestServer, numbers: Numbers) -> None:
    """Without a name it is the one that takes calls, whatever else there is for messages."""
    server.numbers.add(OTHER, voice=False)
    server.numbers.add(ONE)
    assert (await numbers.choose()).number == ONE


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        ([ONE, OTHER], "", f"Which number? The account has {ONE}, {OTHER}."),
        ([], "", "no number that takes calls"),
        ([OTHER], ONE, f"{ONE} is no number of this account, which has {OTHER}."),
        ([ONE], "5550100999", "E.164"),
        ([f"+155501{last:04}" for last in range(25)], "", "+1555010019 and 5 more."),
    ],
)
async def test_no_number_or_too_many(
    server: TwilioRestServer, numbers: Numbers, there: list[str], wanted: str, words: str
) -> None:
    """It is said which there are; nothing is guessed."""
    for each in there:
        server.numbers.add(each)
    with pytest.raises(NoNumber) as caught:
        await numbers.choose(wanted)
    assert words in str(caught.value)


async def test_a_number_that_takes_no_calls(server: TwilioRestServer, numbers: Numbers) -> None:
    """Not for a voice URL."""
    server.numbers.add(ONE, voice=False)
    with pytest.raises(NoNumber, match="Voice"):
        await numbers.choose(ONE)


async def test_a_change_and_its_undoing(server: TwilioRestServer, numbers: Numbers) -> None:
    """Only what differs is sent; afterwards everything is as before."""
    record = server.numbers.add(ONE, voice_url="https://old/voice", status_callback=OURS["status_callback"])
    before = dict(record)
    change = await numbers.route(await numbers.choose(ONE), OURS)
    assert dict(server.asked[-1].form) == {"VoiceUrl": OURS["voice_url"]}
    assert (change.old, change.new) == ({"voice_url": "https://old/voice"}, {"voice_url": OURS["voice_url"]})
    assert record["voice_url"] == OURS["voice_url"]
    await numbers.undo(change)
    assert record == before


async def test_nothing_to_change(server: TwilioRestServer, numbers: Numbers) -> None:
    """Nothing is sent."""
    server.numbers.add(ONE, **OURS)
    change = await numbers.route(await numbers.choose(ONE), OURS)
    assert (change.old, change.new) == ({}, {})
    assert [each.method for each in server.asked] == ["GET"]


@pytest.mark.parametrize(("name", "sid"), [("trunk_sid", "TK" + "1" * 32), ("voice_application_sid", "AP" + "1" * 32)])
async def test_what_had_the_calls_is_taken_off(server: TwilioRestServer, numbers: Numbers, name: str, sid: str) -> None:
    """A TwiML app or a trunk would have them whatever the voice URL is; undoing sets it again."""
    record = server.numbers.add(ONE, **{name: sid})
    before = dict(record)
    change = await numbers.route(await numbers.choose(ONE), {**OURS, "trunk_sid": "", "voice_application_sid": ""})
    assert record[name] is None and change.old[name] == sid
    await numbers.undo(change)
    assert record == before


async def test_what_cannot_be_taken_off(server: TwilioRestServer, numbers: Numbers) -> None:
    """It is not taken for done: the calls would go elsewhere."""
    server.numbers.add(ONE, trunk_sid="TK" + "1" * 32)
    server.numbers.stuck = {"trunk_sid"}
    with pytest.raises(Overridden, match="Console"):
        await numbers.route(await numbers.choose(ONE), {**OURS, "trunk_sid": ""})


async def test_undoing_leaves_what_others_set_since(server: TwilioRestServer, numbers: Numbers) -> None:
    """Somebody has taken the number over: it is theirs; the rest is put back."""
    record = server.numbers.add(ONE, voice_url="https://old/voice", status_callback="https://old/status")
    change = await numbers.route(await numbers.choose(ONE), OURS)
    record["voice_url"] = "https://somebody/else"
    undone = await numbers.undo(change)
    assert (record["voice_url"], record["status_callback"]) == ("https://somebody/else", "https://old/status")
    assert undone.new == {"status_callback": "https://old/status"}


@pytest.mark.parametrize(("status", "code"), [(401, 20003), (403, 20403), (404, 20404), (429, 20429), (503, 0)])
async def test_a_refused_list_tells_why(server: TwilioRestServer, numbers: Numbers, status: int, code: int) -> None:
    """The library keeps the status of a list to itself; it and the code are found all the same."""
    server.fail, server.for_good = [(status, code)], True
    with pytest.raises(ChannelRejected if status in (401, 403, 404) else ChannelUnavailable) as caught:
        await numbers.all()
    assert (caught.value.status, caught.value.vendor_code) == (status, str(code) if code else "")


async def test_no_number_is_in_a_repr(server: TwilioRestServer, numbers: Numbers) -> None:
    """Nor in that of a change."""
    server.numbers.add(ONE)
    change = await numbers.route(await numbers.choose(ONE), OURS)
    assert ONE not in repr(change)


async def test_a_list_that_is_none(server: TwilioRestServer, numbers: Numbers) -> None:
    """A page of something else in between is an error of ours."""
    server.odd = "<html>a proxy</html>"
    with pytest.raises(ChannelUnavailable):
        await numbers.all()
