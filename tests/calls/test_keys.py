"""Keys of the phone: those with a meaning of their own, and those that are input. Never silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from tests.calls.checks import heard, in_order, remembers, shown, told
from tests.calls.workshop import Workshop
from tests.running import Running, running, write_agent

NUMBER = "+15555550111"


def agent(interdigit: float) -> str:
    return f"""
title = "Test"
tools = ["look", "end_call"]
[says]
fillers = []
[limits]
interdigit = {interdigit}
after_interrupt = 0.2
[keys."1"]
say = "We open at nine."
[keys."2"]
tool = "look"
args = {{ what = "soup" }}
[keys."3"]
say = "I look for soup."
tool = "look"
args = {{ what = "soup" }}
[keys."0"]
tool = "transfer_to_human"
args = {{ reason = "user-requested", summary = "Pressed 0." }}
[keys."9"]
tool = "end_call"
"""


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def line(workshop: Workshop, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application; agent ``patient`` waits for ever for another digit."""
    agents = write_agent(tmp_path / "agents", agent(0.05))
    write_agent(agents, agent(60.0), "patient")
    environ = {"TRANSFER_TO": NUMBER}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=workshop.add) as app:
        yield app


async def test_a_key_that_says_something(line: Running) -> None:
    """Its line is heard at once, without the model; the model knows of both afterwards."""
    async with Caller(line.url, pace=FAST) as call:
        await call.press("1")
        assert await call.reply() == "We open at nine."
        await in_order(call)
        assert line.model.asked == []
        line.model.script(Reply("Yes."))
        await call.say("In the morning?")
        await call.until(lambda: "Yes." in heard(call))
        lines = [("note", "The caller pressed 1."), ("assistant", "We open at nine."), ("user", "In the morning?")]
        assert shown(await line.model.received(1)) == lines
        await remembers(line, call, [*lines, ("assistant", "Yes.")])


async def test_a_key_that_runs_a_tool(line: Running, workshop: Workshop) -> None:
    """With the arguments of the map; the model speaks of the result."""
    line.model.script(Reply("There is soup."))
    async with Caller(line.url, pace=FAST) as call:
        await call.press("2")
        assert await call.reply() == "There is soup."
        await in_order(call)
        assert workshop.done == {"soup": 1}
        first = shown(await line.model.received(1))
        assert [kind for kind, _ in first] == ["note", "call", "result"]
        await remembers(
            line, call, [("note", "The caller pressed 2."), ("look", "done"), ("assistant", "There is soup.")]
        )


async def test_a_key_that_does_both(line: Running, workshop: Workshop) -> None:
    """The line is heard while the tool runs."""
    gate = workshop.hold("soup")
    line.model.script(Reply("There is soup."))
    async with Caller(line.url, pace=FAST) as call:
        await call.press("3")
        assert await call.reply() == "I look for soup."
        await gate.reached.wait()
        assert line.model.asked == []
        gate.set()
        await call.until(lambda: "There is soup." in heard(call))
        await in_order(call)
        assert [kind for kind, _ in shown(await line.model.received(1))] == ["note", "assistant", "call", "result"]


async def test_a_key_that_hands_the_call_over(line: Running) -> None:
    """Without the model: the bridging words, and the number is dialled."""
    async with Caller(line.url, pace=FAST) as call:
        await call.press("0")
        outcome = await call.ended()
        assert (outcome.how, outcome.number) == ("transfer", NUMBER)
        assert heard(call) == ["One moment, please, I'm connecting you."]
        assert line.model.asked == []


async def test_a_key_that_ends_the_call(line: Running) -> None:
    """With a goodbye that is heard."""
    async with Caller(line.url, pace=FAST) as call:
        await call.press("9")
        assert (await call.ended()).how == "agent"
        assert heard(call) == ["Thank you for calling. Goodbye."]
        assert call.record.unplayed_at_end == ""


async def test_a_mapped_key_over_a_reply(line: Running) -> None:
    """The reply is cut where it was heard, and the key's line comes at once."""
    gate = Gate()
    tale = ["Once ", "there ", "was ", "a ", "fox. "]
    line.model.script(Reply(tale, gate=gate, gate_at=5))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Tell me a story")
        await call.until(lambda: call.record.turn.heard == "Once there was a")
        await call.press("1")
        await call.until(lambda: "We open at nine." in heard(call))
        await in_order(call)
        first = await line.model.received(1)
        await first.ended.wait()
        assert first.closed_early
        await remembers(
            line,
            call,
            [
                ("user", "Tell me a story"),
                ("assistant", "Once there was a"),
                ("note", "The caller pressed 1."),
                ("assistant", "We open at nine."),
            ],
        )


async def test_digits_without_a_meaning(line: Running) -> None:
    """They are collected and reach the model as one note."""
    line.model.script(Reply("Four, seven, six."))
    async with Caller(line.url, pace=FAST) as call:
        await call.press("476")
        assert await call.reply() == "Four, seven, six."
        await in_order(call)
        assert shown(await line.model.received(1)) == [("note", "The caller pressed 4 7 6 on the keypad.")]
        assert len(line.model.asked) == 1


@pytest.mark.parametrize(("pressed", "told_as"), [("476#", "4 7 6"), ("4766#", "4 7 6 6"), ("#", "#"), ("*#", "*")])
async def test_the_pound_key_ends_an_input(line: Running, pressed: str, told_as: str) -> None:
    """At once, however long another digit would be waited for; it is no digit of it."""
    line.model.script(Reply("Thank you."))
    async with Caller(line.url, pace=FAST, agent="patient") as call:
        await call.press(pressed)
        assert await call.reply() == "Thank you."
        assert shown(await line.model.received(1)) == [("note", f"The caller pressed {told_as} on the keypad.")]


async def test_two_inputs_after_each_other(line: Running) -> None:
    """Each gets its turn."""
    line.model.script(Reply("First."), Reply("Second."))
    async with Caller(line.url, pace=FAST, agent="patient") as call:
        await call.press("45#")
        assert await call.reply() == "First."
        await call.press("67#")
        assert await call.reply() == "Second."
        await in_order(call)
        await remembers(
            line,
            call,
            [
                ("note", "The caller pressed 4 5 on the keypad."),
                ("assistant", "First."),
                ("note", "The caller pressed 6 7 on the keypad."),
                ("assistant", "Second."),
            ],
        )


async def test_keys_over_a_turn_that_has_said_nothing(line: Running) -> None:
    """The turn is given up, and the model sees the words and the keys."""
    gate = Gate()
    line.model.script(Reply("Never heard.", gate=gate), Reply("Both, then."))
    async with Caller(line.url, pace=FAST, agent="patient") as call:
        await call.say("My code is")
        await gate.reached.wait()
        await call.press("45#")
        assert await call.reply() == "Both, then."
        assert shown(await line.model.received(2)) == [
            ("user", "My code is"),
            ("note", "The caller pressed 4 5 on the keypad."),
        ]


async def test_digits_without_their_end_when_the_caller_hangs_up(line: Running) -> None:
    """They are on record all the same."""
    async with Caller(line.url, pace=FAST, agent="patient") as call:
        await call.press("45")
        await call.hang_up()
        items = await line.history(call.record.call_sid)
        assert told(items) == [("note", "The caller pressed 4 5 on the keypad.")]
