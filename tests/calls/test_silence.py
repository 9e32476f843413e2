"""A caller who says nothing, and a call that takes too long, over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.frames import ClientSpeaking, Prompt
from relay.items import AssistantItem
from tests.calls.checks import INFO, heard, in_order, remembered, shown, words_of
from tests.running import Running, running, write_agent

LINES = """
[says]
still_there = "Hm?"
silence_goodbye = "Bye."
time_warning = "Soon."
time_up = "Time is up."
"""


def agent(events: str, **limits: float) -> str:
    written = "\n".join(f"{name} = {value}" for name, value in limits.items())
    return f"""
title = "Test"
tools = ["end_call"]
[relay]
events = "{events}"
[limits]
after_interrupt = 0.1
{written}
{LINES}
"""


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """``default`` asks after 0.15 s of silence, ``deaf`` does too and gets no ``info`` frames, ``terse`` does not ask;
    ``brief`` may take half a second."""
    events = INFO["info"]
    agents = write_agent(tmp_path / "agents", agent(events, silence_after=0.15))
    write_agent(agents, agent("", silence_after=0.15, silence_prompts=1), "deaf")
    write_agent(agents, agent(events, silence_after=0.15, silence_prompts=0), "terse")
    write_agent(agents, agent(events, max_call_seconds=0.5), "brief")
    write_agent(agents, 'greeting = "Hello, Ada."\n' + agent(events, silence_after=0.15), "greeter")
    async with running(redis_url, tmp_path / "data", agents=agents) as app:
        yield app


async def test_a_caller_who_says_nothing(line: Running) -> None:
    """Asked twice, wished well, and hung up on when that was heard; the model has no part in it."""
    async with Caller(line.url, pace=FAST) as call:
        outcome = await call.ended()
        assert (outcome.how, outcome.handoff_data) == ("agent", None)
        assert heard(call) == ["Hm?", "Hm?", "Bye."]
        assert call.record.unplayed_at_end == "" and call.record.faults == []
        assert line.model.asked == []
        items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
        origins = [item.origin for item in items if isinstance(item, AssistantItem)]
        assert origins == ["still_there", "still_there", "silence_goodbye"]


async def test_without_info_frames(line: Running) -> None:
    """The time it takes to say things is estimated, and all of it is heard."""
    async with Caller(line.url, pace=FAST, agent="deaf") as call:
        assert (await call.ended()).how == "agent"
        assert heard(call) == ["Hm?", "Bye."]
        assert call.record.unplayed_at_end == ""


async def test_nobody_is_asked_who_is_greeted_and_answers(line: Running) -> None:
    """Each answer starts the count anew, and the model is told what was asked."""
    async with Caller(line.url, pace=FAST, agent="greeter") as call:
        await call.until(lambda: heard(call)[-2:] == ["Hm?", "Hm?"])
        line.model.script(Reply("Good."))
        await call.say("Yes")
        await call.until(lambda: heard(call)[-2:] == ["Good.", "Hm?"])
        assert shown(line.model.asked[0])[-3:] == [("assistant", "Hm?"), ("assistant", "Hm?"), ("user", "Yes")]
        await call.press("1")
        await call.until(lambda: heard(call)[-2:] == ["Hm?", "Hm?"])
        assert call.outcome is None
        await in_order(call)


async def test_a_question_may_be_interrupted(line: Running) -> None:
    """By the answer to it."""
    line.model.script(Reply("Good."))
    async with Caller(line.url, pace=FAST) as call:
        stopped = call.interrupt_after(0, "Yes")
        assert await stopped
        await call.until(lambda: "Good." in heard(call))
        assert shown(await line.model.received(1))[-1] == ("user", "Yes")


async def test_a_model_that_takes_its_time_is_no_silence(line: Running) -> None:
    """Nobody is asked while an answer is on its way."""
    gate = Gate()
    line.model.script(Reply("Here.", gate=gate))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Hello")
        await gate.reached.wait()
        await asyncio.sleep(0.4)
        assert heard(call) == []
        gate.set()
        await call.until(lambda: heard(call)[:1] == ["Here."])


async def test_the_call_is_taken_back_by_words_in_the_goodbye(line: Running) -> None:
    """The caller is there after all."""
    line.model.script(Reply("Good."))
    async with Caller(line.url, pace=FAST, agent="terse") as call:
        stopped = call.interrupt_after(0, "I am here")
        assert await stopped
        await call.until(lambda: "Good." in heard(call))
        assert call.outcome is None


async def test_noise_does_not_keep_the_call(line: Running) -> None:
    """Something is heard again and again, and no words: the call ends all the same, in silence or over it."""
    async with Caller(line.url, pace=FAST, agent="terse") as call:
        await call.send(ClientSpeaking(True))
        await call.send(ClientSpeaking(False))
        await call.send(Prompt(" "))
        assert (await call.ended()).how == "agent"


async def test_a_call_that_takes_too_long(line: Running) -> None:
    """The caller is told, and then it ends, though the agent is asked something in its last words."""
    async with Caller(line.url, pace=FAST, agent="brief") as call:
        await call.until(lambda: "Time is up." in "".join(heard(call)))
        try:
            await call.send(Prompt("Wait, one more thing"))
        except ConnectionError:
            pass
        outcome = await call.ended()
        assert (outcome.how, heard(call)) == ("agent", ["Soon.", "Time is up."])
        assert line.model.asked == []


async def test_the_time_of_the_call_is_that_of_all_its_sessions(line: Running, redis: Redis) -> None:
    """A session that goes on with an old call has what is left."""
    call_sid = "CA" + "7" * 32
    async with Caller(line.url, pace=FAST, agent="brief", call_sid=call_sid) as call:
        await call.ended()
        await remembered(line, call_sid, lambda items: words_of(items) == heard(call))
        begun = await redis.hget(f"conversation:{{{call_sid}}}:state", "begun")
        assert begun is not None and abs(int(begun) / 1000 - time.time()) < 60
    other = "CA" + "8" * 32
    await redis.hset(f"conversation:{{{other}}}:state", "begun", str(int((time.time() - 1000) * 1000)))
    line.model.script(Reply("Never asked for.", gate=Gate()))
    async with Caller(line.url, pace=FAST, agent="brief", call_sid=other) as call:
        await call.ended()
        assert heard(call) == ["Time is up."]
