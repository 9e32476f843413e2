"""How a call ends from our side: the goodbye, and the handing over to a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller, Pace
from phone.model import Reply, ToolUse
from relay.frames import End, Interrupt, Text
from tests.calls.checks import INFO, Ear, heard, in_order, remembers, shown, shutting
from tests.calls.workshop import Workshop
from tests.running import Running, running, write_agent

NUMBER = "+15555550111"
END = ToolUse("end_call")
TRANSFER = ToolUse("transfer_to_human", '{"reason": "user-requested", "summary": "Wants\\n a person."}')
BRIDGE = "One moment, please, I'm connecting you."


def agent(events: str = INFO["info"], limit: float = 15.0) -> str:
    return f"""
title = "Test"
tools = ["fail", "end_call", "transfer_to_human"]
[relay]
events = "{events}"
[limits]
after_interrupt = 0.2
goodbye_limit = {limit}
"""


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The application with ``TRANSFER_TO``, or without where the test says so."""
    agents = write_agent(tmp_path / "agents", agent())
    write_agent(agents, agent(""), "deaf")
    write_agent(agents, agent("speaker-events"), "half-deaf")
    write_agent(agents, agent(limit=0.4), "hasty")
    environ = {"TRANSFER_TO": NUMBER} if getattr(request, "param", True) else {}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=Workshop().add) as app:
        yield app


nobody_there = pytest.mark.parametrize("line", [False], indirect=True, ids=["no TRANSFER_TO"])


def ends(call: Caller) -> list[End]:
    return [frame for frame in call.frames if isinstance(frame, End)]


async def test_the_goodbye_is_heard_to_its_end(line: Running) -> None:
    """``end`` is sent when the last word was played, and not before; then the call is over."""
    ear = Ear()
    line.model.script(Reply("It was nice to talk to you. Goodbye.", [END]))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 3)) as call:
        await call.say("That is all")
        await call.until(lambda: heard(call) == ["It was nice"])
        await remembers_open(line, call, "It was nice to talk to you. Goodbye.")
        assert ends(call) == []
        ear.open()
        outcome = await call.ended()
        assert (outcome.how, outcome.handoff_data) == ("agent", None)
        assert heard(call) == ["It was nice to talk to you. Goodbye."]
        assert call.record.unplayed_at_end == ""
        assert [frame.late for frame in call.record.received if frame.late] == []
        assert len(line.model.asked) == 1
        await remembers(
            line,
            call,
            [("user", "That is all"), ("assistant", "It was nice to talk to you. Goodbye."), ("end_call", "done")],
        )


async def remembers_open(line: Running, call: Caller, words: str) -> None:
    """The goodbye is complete and on record, and the tool has run."""
    lines = [("user", "That is all"), ("assistant", words), ("end_call", "done")]
    items = await line.history(call.record.call_sid, lambda items: len(items) == len(lines))
    assert [getattr(item, "text", words) for item in items] == ["That is all", words, words]


@pytest.mark.parametrize("name", ["deaf", "half-deaf"])
async def test_the_goodbye_without_proof(line: Running, name: str) -> None:
    """Where no ``tokensPlayed`` come it is ``agentSpeaking off``, or the time it takes, that says it was heard."""
    line.model.script(Reply("Bye bye.", [END]))
    async with Caller(line.url, pace=Pace(), agent=name) as call:
        await call.say("That is all")
        outcome = await call.ended()
        assert outcome.how == "agent"
        assert heard(call) == ["Bye bye."]
        assert call.record.unplayed_at_end == ""


async def test_the_agents_own_line_after_a_tool(line: Running) -> None:
    """Words of an earlier step are no goodbye."""
    line.model.script(Reply("Let me see.", [ToolUse("fail")]), Reply(tools=[END]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("That is all")
        assert (await call.ended()).how == "agent"
        assert heard(call) == ["Let me see.", "Thank you for calling. Goodbye."]
        assert call.record.unplayed_at_end == ""


async def test_the_agents_own_line_where_the_model_says_nothing(line: Running) -> None:
    """The call does not end in silence."""
    line.model.script(Reply(tools=[END]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("That is all")
        assert (await call.ended()).how == "agent"
        assert heard(call) == ["Thank you for calling. Goodbye."]
        assert call.record.unplayed_at_end == ""


async def test_a_goodbye_that_is_never_heard(line: Running) -> None:
    """The call ends all the same, when the limit is over."""
    ear = Ear()
    line.model.script(Reply("It was nice to talk to you. Goodbye.", [END]))
    async with Caller(line.url, pace=ear.pace, agent="hasty", listen=shutting(ear, 2)) as call:
        await call.say("That is all")
        await call.until(lambda: heard(call) == ["It was"])
        await call.until(lambda: ends(call))
        ear.open()
        assert (await call.ended()).how == "agent"


async def test_words_during_the_goodbye_take_the_call_back(line: Running) -> None:
    """No ``end`` is sent; the words get their turn, and the model sees how far its goodbye was heard."""
    ear = Ear()
    line.model.script(Reply("It was nice to talk to you. Goodbye.", [END]), Reply("Of course."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 2)) as call:
        await call.say("That is all")
        await remembers_open(line, call, "It was nice to talk to you. Goodbye.")
        stopped = call.interrupt_after(1, "Wait, one more thing")
        ear.open()
        assert await stopped
        await call.until(lambda: "Of course." in heard(call))
        await in_order(call)
        second = shown(await line.model.received(2))
        assert second[1] == ("assistant", "It was nice")
        assert second[-1] == ("user", "Wait, one more thing")
        await asyncio.sleep(0.3)  # longer than any goodbye of this call would still be waited for
        line.model.script(Reply("That too."))
        await call.say("And another")
        await call.until(lambda: "That too." in heard(call))
        assert ends(call) == [] and call.outcome is None


async def test_an_interrupt_of_the_goodbye_and_no_words(line: Running) -> None:
    """The caller has nothing to add: the call ends a little later."""
    ear = Ear()
    line.model.script(Reply("It was nice to talk to you. Goodbye.", [END]))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 2)) as call:
        await call.say("That is all")
        await remembers_open(line, call, "It was nice to talk to you. Goodbye.")
        stopped = call.interrupt_after(1)
        ear.open()
        assert await stopped
        assert (await call.ended()).how == "agent"
        assert len(line.model.asked) == 1
        await remembers(line, call, [("user", "That is all"), ("assistant", "It was nice"), ("end_call", "done")])


async def test_nothing_is_sent_after_the_end(line: Running) -> None:
    """What still comes from the caller is not answered."""
    line.model.script(Reply("Bye.", [END]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("That is all")
        await call.expect(End)
        try:
            await call.send(Interrupt("Bye", 100))
            await call.say("Wait")
        except ConnectionError:
            pass
        await call.ended()
        assert isinstance(call.frames[-1], End)
        assert len(line.model.asked) == 1


async def test_a_failed_sibling_keeps_the_call(line: Running) -> None:
    """The call is not ended in the same step in which something went wrong; the model hears of it first."""
    line.model.script(Reply(tools=[ToolUse("fail"), END]), Reply("It did not work."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Do it and end")
        assert await call.reply() == "It did not work."
        results = [orjson.loads(text) for kind, text in shown(await line.model.received(2)) if kind == "result"]
        assert [result["error"] for result in results] == ["failed", "not_done"]
        assert ends(call) == []


@pytest.mark.parametrize("words", ["I'll connect you.", ""], ids=["own words", "bridge"])
async def test_handed_over_to_a_person(line: Running, words: str) -> None:
    """The bridging words are heard, ``end`` carries the hand-off, and the action's TwiML dials the number."""
    line.model.script(Reply(words, [TRANSFER]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("A person, please")
        outcome = await call.ended()
        assert (outcome.how, outcome.number) == ("transfer", NUMBER)
        (end,) = ends(call)
        assert end.handoff_data == outcome.handoff_data == call.record.actions[0]["HandoffData"]
        assert orjson.loads(end.handoff_data or "") == {
            "reasonCode": "live-agent-handoff",
            "reason": "user-requested",
            "summary": "Wants a person.",
            "language": "en-US",
        }
        assert heard(call) == [words or BRIDGE]
        assert call.record.unplayed_at_end == ""
        assert call.record.actions[0]["SessionStatus"] == "ended"


@nobody_there
async def test_nobody_can_be_reached(line: Running) -> None:
    """The model is told so and tells the caller; the call goes on."""
    line.model.script(Reply(tools=[TRANSFER]), Reply("Nobody is there."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("A person, please")
        assert await call.reply() == "Nobody is there."
        (result,) = [text for kind, text in shown(await line.model.received(2)) if kind == "result"]
        assert orjson.loads(result)["transferred"] is False
        assert ends(call) == []
        assert not any(isinstance(frame, Text) and "connecting" in frame.token for frame in call.frames)
