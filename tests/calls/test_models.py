"""What a caller hears when the model's side goes wrong, on both APIs; and that the call goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Fault, Reply, ToolUse
from relay.items import AssistantItem
from tests.calls.checks import heard, in_order, remembered, shown, told, whole, words_of
from tests.running import Running, running, write_agent

APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again, please?"
TROUBLE = "I'm sorry, we are having technical trouble. Please call again later."
DEADLINE = 0.8
SLOW = 2.0  # seconds that a busy machine may take besides
AGENT = """
title = "Test"
tools = ["save_name", "end_call"]
"""
WORDS = ["One ", "two ", "three ", "four."]


@pytest.fixture(params=["chat", "responses"])
async def line(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application, asking its model by one API or the other. What is heard is heard long before its deadlines, but
    for that of a reply that stalls."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"STALL_DEADLINE": "0.4"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, api=request.param) as app:
        yield app


@pytest.fixture(params=["chat", "responses"])
async def brief(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """One whose turns must have begun to speak soon."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"TURN_DEADLINE": str(DEADLINE)}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, api=request.param) as app:
        yield app


async def goes_on(line: Running, call: Caller, requests: int) -> None:
    """The next turn is a normal one, its request is one the API accepts, and history is what was heard."""
    line.model.script(Reply("All is well again."))
    await call.say("And now?")
    await call.until(lambda: "All is well again." in heard(call))
    await in_order(call)
    assert len(line.model.asked) == requests + 1
    spoken = [text for kind, text in shown(line.model.asked[-1]) if kind == "assistant"]
    assert spoken == heard(call)[:-1]
    items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
    assert words_of(items) == heard(call)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(refusal="I can't help with that."), "I can't help with that."),
        (Reply(WORDS, finish="length"), "One two three four."),
        (Reply(WORDS, finish="filter"), "One two three four."),
        (Reply(WORDS, noise=True, crlf=True, shred=7), "One two three four."),
        (Reply(WORDS, reasoning=True), "One two three four."),
    ],
    ids=["refusal", "length", "content filter", "unknown events", "reasoning"],
)
async def test_words_that_come_are_spoken(line: Running, reply: Reply, words: str) -> None:
    """A refusal, an answer cut by its length or by a filter, and events nobody knows: what was said is heard."""
    line.model.script(reply)
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Count")
        assert await call.reply() == words
        await goes_on(line, call, 1)


BREAKS = [
    Fault("cut", 3),
    Fault("end", 3),
    Fault("failed", 3),
    Fault("error", 3),
    Fault("garbage", 3),
    Fault("stall", 3),
]


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.kind)
async def test_a_stream_that_breaks(line: Running, fault: Fault) -> None:
    """The reply is taken up by another request: the caller hears it whole, in one go, and it is one item of history."""
    line.model.script(Reply(WORDS, fault=fault), Reply(WORDS))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Count")
        assert await call.reply() == "One two three four."
        await in_order(call)
        items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
        assert told(items) == [("user", "Count"), ("assistant", "One two three four.")]
        assert shown(line.model.asked[1])[:2] == [("user", "Count"), ("assistant", "One two three")]
        await goes_on(line, call, 2)


async def test_the_last_word_of_a_reply_that_cannot_be_taken_up(line: Running) -> None:
    """It ends a sentence, so it was whole, and is heard."""
    line.model.script(Reply([" We", " open."], fault=Fault("cut", 2)), Reply(fault=Fault.quota()))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("When?")
        await call.until(lambda: APOLOGY in heard(call))
        assert heard(call) == ["We open.", APOLOGY]


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.kind)
async def test_a_stream_that_breaks_and_cannot_be_taken_up(line: Running, fault: Fault) -> None:
    """The words so far are heard and stay; then comes the apology."""
    line.model.script(Reply(WORDS, fault=fault), Reply(fault=Fault.quota()))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Count")
        await call.until(lambda: APOLOGY in heard(call))
        assert heard(call) == ["One two three", APOLOGY]
        assert len(line.model.asked) == 2
        await goes_on(line, call, 2)


@pytest.mark.parametrize(
    "fault",
    [Fault.limited(), Fault.limited(30), Fault("status", status=500), Fault("status", status=503), Fault("close")],
    ids=["429", "429 with a long wait", "500", "503", "closed"],
)
async def test_once_more_at_once(line: Running, fault: Fault) -> None:
    """What failed before anything was received is asked once more, at once whatever the answer says of waiting."""
    line.model.script(Reply(fault=fault), Reply("Here it is."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Hello")
        assert await call.reply() == "Here it is."
        await goes_on(line, call, 2)


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (Fault.quota(), 1),
        (Fault("status", status=401, type="invalid_request_error", code="invalid_api_key"), 1),
        (Fault("status", status=400, type="invalid_request_error"), 1),
        (Fault.limited(), 2),
        (Fault("status", status=500), 2),
        (Fault("close"), 2),
        (Fault("html"), 2),
    ],
    ids=["quota", "401", "400", "429 twice", "500 twice", "closed twice", "a page twice"],
)
async def test_no_answer_at_all(line: Running, fault: Fault, requests: int) -> None:
    """The caller hears the apology; where trying again cannot help there is no second request."""
    line.model.script(*[Reply(fault=fault)] * requests)
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Hello")
        assert await call.reply() == APOLOGY
        assert len(line.model.asked) == requests
        await goes_on(line, call, requests)


@pytest.mark.parametrize(
    "reply",
    [Reply("Soon.", first=3600.0, late_headers=True), Reply("Soon.", first=3600.0)],
    ids=["no headers", "no token"],
)
async def test_a_silent_model(brief: Running, reply: Reply) -> None:
    """Within the turn's deadline the caller hears the apology, and the request is given up."""
    brief.model.script(reply)
    async with Caller(brief.url, pace=FAST) as call:
        began = time.monotonic()
        await call.say("Hello")
        assert await call.reply() == APOLOGY
        took = time.monotonic() - began
        assert DEADLINE - 0.05 < took < DEADLINE + SLOW
        first = await brief.model.received(1)
        await first.ended.wait()
        assert first.closed_early
        await goes_on(brief, call, len(brief.model.asked))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        Reply(finish="filter"),
        Reply(finish="length"),
        Reply(["  ", "\n"]),
        Reply("🙂"),
        Reply("Never a word", finish="filter", tools=[ToolUse("save_name", '{"first_name": "A"')]),
    ],
    ids=["nothing", "filtered", "too long a thought", "white space", "emoji", "cut call"],
)
async def test_an_empty_reply(line: Running, reply: Reply) -> None:
    """An answer without a word to speak is a failure like any other: never silence."""
    line.model.script(reply)
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Hello")
        words = "Never a word" if reply.tools else APOLOGY
        assert await call.reply() == words
        items = await remembered(line, call.record.call_sid, whole(2))
        assert told(items) == [("user", "Hello"), ("assistant", words)]
        assert isinstance(items[1], AssistantItem) and items[1].origin == ("" if reply.tools else "apology")
        await goes_on(line, call, 1)


async def test_a_failure_after_a_tool(line: Running) -> None:
    """The tool's result stays and is shown with the next request, which the API accepts."""
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
    line.model.script(Reply("One moment.", [name], reasoning=True), *[Reply(fault=Fault("status"))] * 2)
    async with Caller(line.url, pace=FAST) as call:
        await call.say("I am Ada Lovelace")
        await call.until(lambda: heard(call) == ["One moment.", APOLOGY])
        await goes_on(line, call, 3)
        kinds = [kind for kind, _ in shown(line.model.asked[-1])]
        assert kinds == ["user", "assistant", "call", "result", "assistant", "user"]


async def failing(line: Running, call: Caller, turns: int) -> None:
    """So many turns fail, each with its apology."""
    line.model.script(*[Reply(fault=Fault.quota())] * turns)
    before = len(heard(call))
    for number in range(1, turns + 1):
        await call.say(f"Hello {number}")
        await call.until(lambda number=number: heard(call)[before:] == [APOLOGY] * number)  # type: ignore[misc]


async def test_failures_with_an_answer_between_them(line: Running) -> None:
    """Each one is told to the caller, and the call outlives them."""
    async with Caller(line.url, pace=FAST) as call:
        await failing(line, call, 2)
        await goes_on(line, call, 2)
        await failing(line, call, 2)
        line.model.script(Reply("And again."))
        await call.say("Hello?")
        await call.until(lambda: heard(call)[-1] == "And again.")
        assert call.outcome is None


async def test_three_failures_in_a_row(line: Running) -> None:
    """The call ends politely: the line is heard to its end, and it is in the history."""
    async with Caller(line.url, pace=FAST) as call:
        await failing(line, call, 2)
        line.model.script(Reply(fault=Fault.quota()))
        await call.say("Hello?")
        outcome = await call.ended()
        assert (outcome.how, outcome.handoff_data) == ("agent", None)
        assert heard(call) == [APOLOGY, APOLOGY, TROUBLE]
        assert call.record.unplayed_at_end == ""
        items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
        assert [item.origin for item in items if isinstance(item, AssistantItem)] == ["apology", "apology", "trouble"]


async def test_three_failures_where_a_person_can_be_reached(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The person is called, after words that say so."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"TRANSFER_TO": "+15555550111"}
    async with (
        running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line,
        Caller(line.url, pace=FAST) as call,
    ):
        await failing(line, call, 2)
        line.model.script(Reply(fault=Fault.quota()))
        await call.say("Hello?")
        outcome = await call.ended()
        assert (outcome.how, outcome.number) == ("transfer", "+15555550111")
        assert heard(call)[2].endswith("I'm connecting you with a person.")
        assert call.record.unplayed_at_end == ""
