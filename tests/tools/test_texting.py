"""Messages to the caller: what the model is told of each that fails, and of one that is lost later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable, StoreError, ToolDoubt, ToolError, ToolRetry
from relay.jobs import Jobs
from relay.messages import Letter, Status
from relay.toolbox import ToolContext
from tools.registry import ToolRegistry
from tools.texting import Texting, add_texting

CALLER, CALLED = "+15555550100", "+15555550199"
LETTER = Letter("ann@example.com", "s", "t", "<p>t</p>")


class Texts:
    """Takes every message, or fails as it is told."""

    def __init__(self, failure: ChannelError | None = None, *, silent: bool = False) -> None:
        self.failure = failure
        self.silent = silent
        self.sent: list[tuple[str, str, str, str, str]] = []

    async def send(self, to: str, body: str, *, from_: str = "", conversation: str = "", person: str = "") -> str:
        self.sent.append((to, body, from_, conversation, person))
        if self.silent:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return "SM1"


class Mails:
    def __init__(self, failure: ChannelError | None = None, *, silent: bool = False) -> None:
        self.failure = failure
        self.silent = silent
        self.sent: list[tuple[Letter, str, str]] = []

    async def send(self, letter: Letter, *, conversation: str = "", person: str = "") -> str:
        self.sent.append((letter, conversation, person))
        if self.silent:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return "1@example.com"


class Reports:
    """What is known of a message at each look at it, the last for good."""

    def __init__(self, known: Sequence[Status | StoreError | None]) -> None:
        self.known = list(known)
        self.looks = 0

    async def status(self, message: str, /) -> Status | None:
        assert message == "SM1"
        self.looks += 1
        found = self.known.pop(0) if len(self.known) > 1 else self.known[0]
        if isinstance(found, StoreError):
            raise found
        return found


def context(address: str = CALLER, own: str = CALLED, told: list[str] | None = None) -> ToolContext:
    notes = [] if told is None else told
    return ToolContext(
        "CA1", "voice", "default", "phone:" + CALLER, address=address, own_address=own, note=notes.append
    )


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


def texting(texts: Texts | None = None, mails: Mails | None = None, deadline: float = 5.0) -> Texting:
    return Texting(texts, mails, None, Jobs(), deadline=deadline)


async def test_a_text_goes_to_the_caller_from_the_number_called() -> None:
    """With the conversation and the person it belongs to."""
    texts = Texts()
    await texting(texts).text(context(), "hello")
    assert texts.sent == [(CALLER, "hello", CALLED, "CA1", "phone:" + CALLER)]


@pytest.mark.parametrize("own", ["", "client:relay", "sip:relay@example.com"])
async def test_who_did_not_call_a_number_gets_it_from_ours(own: str) -> None:
    """Which one that is the sender knows."""
    texts = Texts()
    await texting(texts).text(context(own=own), "hello")
    assert [from_ for _, _, from_, _, _ in texts.sent] == [""]


@pytest.mark.parametrize("address", ["", "client:alice", "sip:ann@example.com", "911", "anonymous"])
async def test_a_caller_without_a_number(address: str) -> None:
    """Nothing is sent; the model is told to say it instead."""
    texts = Texts()
    with pytest.raises(ToolError, match="withheld"):
        await texting(texts).text(context(address), "hello")
    assert texts.sent == []


async def test_nobody_to_send_with() -> None:
    """Without a sender the model is told that there is none."""
    nobody = texting()
    assert (nobody.can_text, nobody.can_mail) == (False, False)
    with pytest.raises(ToolError, match="cannot be sent from here"):
        await nobody.text(context(), "hello")
    with pytest.raises(ToolError, match="cannot be sent from here"):
        await nobody.mail(context(), LETTER)


REFUSED = [
    ("21610", ToolError, "opted out"),
    ("21211", ToolError, "not a telephone number"),
    ("21614", ToolError, "mobile"),
    ("21408", ToolError, "country"),
    ("21612", ToolError, "cannot be carried"),
    ("30007", ToolError, "filtered"),
    ("20003", ToolError, "on our side"),
    ("sender", ToolError, "cannot be sent from here"),
    ("address", ToolError, "withheld"),
    ("too_long", ToolRetry, "1600"),
    ("empty", ToolRetry, "no words"),
]


@pytest.mark.parametrize(("code", "kind", "says"), REFUSED)
async def test_a_refused_text(code: str, kind: type[ToolError], says: str) -> None:
    """Each reason is told in a sentence, without a number, and other words are asked for only where they help."""
    with pytest.raises(ToolError, match=says) as caught:
        await texting(Texts(ChannelRejected("no", status=400, vendor_code=code))).text(context(), "hello")
    assert type(caught.value) is kind
    assert "555" not in str(caught.value)


@pytest.mark.parametrize("failure", [ChannelUnavailable("?"), ChannelUnavailable("?", status=503, vendor_code="20503")])
async def test_a_text_in_doubt(failure: ChannelError) -> None:
    """Nobody knows whether it was sent: the model is told so, and not to send it again."""
    with pytest.raises(ToolDoubt, match=r"Nobody knows.*do not send it again"):
        await texting(Texts(failure)).text(context(), "hello")


async def test_a_text_that_takes_too_long() -> None:
    """The same: the sender was busy with it."""
    with pytest.raises(ToolDoubt, match="Nobody knows"):
        await texting(Texts(silent=True), deadline=0.02).text(context(), "hello")


@pytest.mark.parametrize(
    "failure", [ChannelUnavailable("?", undone=True), ChannelUnavailable("?", status=429, undone=True)]
)
async def test_a_text_that_was_surely_not_sent(failure: ChannelError) -> None:
    """The service was not reached, or too busy: that is told as it is."""
    with pytest.raises(ToolError, match="was not sent") as caught:
        await texting(Texts(failure)).text(context(), "hello")
    assert type(caught.value) is ToolError


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (ChannelRejected("?", status=550, vendor_code="address"), ToolRetry, "spell"),
        (ChannelRejected("?", vendor_code="header"), ToolRetry, "subject"),
        (ChannelRejected("?", status=535), ToolError, "was not sent"),
        (ChannelUnavailable("?", status=451, undone=True), ToolError, "was not sent"),
        (ChannelUnavailable("?"), ToolDoubt, "Nobody knows whether the e-mail"),
    ],
)
async def test_a_mail_that_fails(failure: ChannelError, kind: type[ToolError], says: str) -> None:
    """A wrong address is to be spelled, a server that does not take it is told, doubt is told as doubt."""
    with pytest.raises(ToolError, match=says) as caught:
        await texting(None, Mails(failure)).mail(context(), LETTER)
    assert type(caught.value) is kind
    assert "ann@" not in str(caught.value)


async def test_a_mail_is_sent() -> None:
    """With the conversation and the person it belongs to; one that takes too long is in doubt."""
    mails = Mails()
    await texting(None, mails).mail(context(""), LETTER)
    assert mails.sent == [(LETTER, "CA1", "phone:" + CALLER)]
    with pytest.raises(ToolDoubt):
        await texting(None, Mails(silent=True), deadline=0.02).mail(context(), LETTER)


# -- what becomes of a text


async def followed(*known: Status | StoreError | None, looks: int = 60) -> tuple[list[str], int]:
    """What the model was told of a text of which this became known, and how often it was asked for."""
    told: list[str] = []
    reports, jobs = Reports(known), Jobs()
    await Texting(Texts(), None, reports, jobs, watched=looks, interval=1.0, sleep=at_once).text(
        context(told=told), "hello"
    )
    await jobs.drain(5)
    return told, reports.looks


@pytest.mark.parametrize(
    ("status", "code", "says", "again"),
    [
        ("undelivered", "30003", "switched off", "only if they ask"),
        ("failed", "30005", "no longer in use", "Do not send it again"),
        ("failed", "", "on our side", "Do not send it again"),
        ("canceled", "", "did not arrive", "Do not send it again"),
    ],
)
async def test_a_lost_text_is_told(status: str, code: str, says: str, again: str) -> None:
    """Once, with the reason, as soon as it is known."""
    told, looks = await followed(Status("queued"), None, StoreError("away"), Status("sent"), Status(status, code))
    assert looks == 5
    (told_once,) = told
    assert "did not arrive" in told_once and says in told_once and again in told_once


@pytest.mark.parametrize("status", ["delivered", "read"])
async def test_a_text_that_arrived_is_not_talked_about(status: str) -> None:
    """It was said to be on its way; nobody looks any more."""
    assert await followed(Status("sent"), Status(status)) == ([], 2)


async def test_nobody_is_followed_for_ever() -> None:
    """A text of which nothing becomes known is let go after a minute."""
    assert await followed(Status("sent")) == ([], 60)
    assert await followed(None) == ([], 60)
    assert await followed(StoreError("away")) == ([], 60)


async def test_too_many_to_follow() -> None:
    """The text is sent all the same."""
    texts, reports = Texts(), Reports([None])
    await Texting(texts, None, reports, Jobs(limit=0)).text(context(), "hello")
    assert len(texts.sent) == 1 and reports.looks == 0


async def test_followers_end_with_the_process() -> None:
    """They are cancelled without being waited for."""
    jobs, waits = Jobs(), asyncio.Event()

    async def for_ever(seconds: float) -> None:
        waits.set()
        await asyncio.Event().wait()

    await Texting(Texts(), None, Reports([None]), jobs, sleep=for_ever).text(context(), "hello")
    await asyncio.wait_for(waits.wait(), 20)
    await jobs.drain(0)
    assert len(jobs) == 0


# -- the tool


def test_send_sms_asks_first() -> None:
    """It is a side effect the caller has to agree to, and takes the words alone."""
    registry = ToolRegistry()
    add_texting(registry, texting())
    policy = registry.policy("send_sms")
    assert (policy.confirm, policy.side_effect) == (True, True)
    (spec,) = registry.specs(["send_sms"])
    assert list(spec.parameters["properties"]) == ["body"]


async def test_send_sms_promises_nothing() -> None:
    """Accepted is not delivered, and the model is told so."""
    registry = ToolRegistry()
    add_texting(registry, texting(Texts()))
    outcome = await registry.run("send_sms", '{"body": "hello"}', context())
    assert outcome.ok and outcome.certain
    assert "not that it has arrived" in outcome.output


async def test_send_sms_in_doubt_is_not_certain() -> None:
    """So that the same call is not carried out again by a model that tries once more."""
    registry = ToolRegistry()
    add_texting(registry, texting(Texts(ChannelUnavailable("?"))))
    outcome = await registry.run("send_sms", '{"body": "hello"}', context())
    assert (outcome.ok, outcome.certain) == (False, False)
    refused = ToolRegistry()
    add_texting(refused, texting(Texts(ChannelRejected("?", vendor_code="21610"))))
    outcome = await refused.run("send_sms", '{"body": "hello"}', context())
    assert (outcome.ok, outcome.certain) == (False, True)
