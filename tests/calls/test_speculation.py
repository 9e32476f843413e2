"""Asking the model ahead of the final prompt: what is used, what is dropped, and what it counts for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from redis.asyncio import Redis

from handlers.keys import TELEMETRY
from phone.caller import FAST, Caller
from phone.model import Fault, Gate, Reply, ToolUse
from relay.frames import ClientSpeaking, Prompt
from relay.telemetry import SEGMENTS
from tests.calls.checks import (
    TALE,
    Ear,
    eventually,
    has_read,
    heard,
    in_order,
    remembers,
    shown,
    shutting,
    texts_of,
    words_shown,
)
from tests.calls.workshop import NAMES, Workshop, book, look
from tests.running import Running, running, write_agent

AGENT = f"""
title = "Test"
tools = {NAMES}
speculation = "on"
[limits]
after_interrupt = 0.2
"""
ASK = "Do you have a table?"
SPELLED = "do you have a table"
ANSWER = Reply(["Yes, ", "we ", "do."], usage=(90, 0, 10))


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def line(
    workshop: Workshop, redis: Redis, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Running]:
    """The application with an agent that asks ahead, at most twice a turn."""
    agents = write_agent(tmp_path / "agents", AGENT)
    environ = {"SPECULATION_LIMIT": "2"}
    api = getattr(request, "param", "chat")
    async with running(
        redis_url, tmp_path / "data", agents=agents, environ=environ, api=api, extra_tools=workshop.add
    ) as app:
        yield app


async def partial(call: Caller, text: str, lang: str = "en-US") -> None:
    await call.send(Prompt(text, lang, last=False))


async def final(call: Caller, text: str, lang: str = "en-US") -> None:
    await call.send(Prompt(text, lang))


async def asked_ahead(line: Running, call: Caller, text: str = ASK, *, count: int = 1) -> None:
    """The partial prompt has led to a request, the so-manieth of the test. It is told until it has, as a recogniser
    does: right after the beginning of a call the history may not be there yet."""
    async with asyncio.timeout(20):
        while len(line.model.asked) < count:
            await partial(call, text)
            await asyncio.sleep(0.01)
    request = line.model.asked[count - 1]
    assert request.ask is not None and request.ask.entries[-1].text == text


async def answered_ahead(line: Running, call: Caller, text: str = ASK, *, count: int = 1) -> None:
    """The same, and its answer is here: nothing of it is heard."""
    await asked_ahead(line, call, text, count=count)
    before = len(texts_of(call))
    await asyncio.wait_for(line.model.asked[count - 1].ended.wait(), 20)
    await eventually(lambda: value(line, "relay_tokens_total", kind="output") > 0)
    await has_read(call)
    assert len(texts_of(call)) == before


def value(line: Running, name: str, **labels: str) -> float:
    return line.app[TELEMETRY].registry.get_sample_value(name, labels) or 0.0


def counted(line: Running) -> Mapping[str, float]:
    """What became of the requests made ahead; those that did not happen are left out."""
    results = ("used", "discarded", "failed")
    return {each: count for each in results if (count := value(line, "relay_speculation_total", result=each))}


# -- used


@pytest.mark.parametrize("line", ["chat", "responses"], indirect=True)
async def test_an_answer_that_is_there_is_heard_at_once(line: Running) -> None:
    """One request in all. The words kept are those of the final prompt; everything is counted once."""
    line.model.script(ANSWER)
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call)
        await final(call, SPELLED)
        assert await call.reply() == "Yes, we do."
        await in_order(call)
        await remembers(line, call, [("user", SPELLED), ("assistant", "Yes, we do.")])
        assert len(line.model.asked) == 1
    assert counted(line) == {"used": 1}
    assert value(line, "relay_wasted_tokens_total") == 0
    assert (value(line, "relay_tokens_total", kind="input"), value(line, "relay_tokens_total", kind="output")) == (
        90,
        10,
    )
    assert value(line, "relay_first_text_seconds_count", channel="voice") == 1
    parts = [value(line, "relay_turn_segment_seconds_sum", segment=segment) for segment in SEGMENTS]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(value(line, "relay_first_text_seconds_sum", channel="voice"))
    assert value(line, "relay_turn_segment_seconds_sum", segment="model") == 0


async def test_an_answer_on_its_way_goes_on(line: Running) -> None:
    """What has come is heard with the final prompt, and the rest as it comes."""
    gate = Gate()
    line.model.script(Reply(["Yes, ", "we ", "do. ", "For ", "two?"], gate=gate, gate_at=3))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await asyncio.wait_for(gate.reached.wait(), 20)
        await has_read(call)
        assert texts_of(call) == []
        await final(call, ASK)
        await call.until(lambda: call.record.turn.heard == "Yes, we")
        gate.set()
        await call.until(lambda: call.record.turn.heard == "Yes, we do. For two?")
        await in_order(call)
        assert len(line.model.asked) == 1
    assert counted(line) == {"used": 1}


async def test_an_answer_that_has_not_begun_is_waited_for(line: Running) -> None:
    """The final prompt asks nothing anew; the next turn is a usual one."""
    gate = Gate()
    line.model.script(Reply(["Yes."], gate=gate), Reply(["At nine."]))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await final(call, SPELLED)
        await has_read(call)
        assert len(line.model.asked) == 1
        gate.set()
        assert await call.reply() == "Yes."
        await final(call, "When?")
        await call.until(lambda: heard(call) == ["Yes.", "At nine."])
        assert shown(await line.model.received(2)) == [("user", SPELLED), ("assistant", "Yes."), ("user", "When?")]


async def test_a_used_answer_can_be_interrupted(line: Running) -> None:
    """From the final prompt on it is a turn's like any other: an interrupt closes the request, no word follows."""
    gate = Gate()
    line.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply(["As you like."]))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await asyncio.wait_for(gate.reached.wait(), 20)
        stop = call.interrupt_after(4)
        await final(call, ASK)
        assert await stop
        await asyncio.wait_for(line.model.asked[0].ended.wait(), 20)
        assert line.model.asked[0].closed_early
        await final(call, "Stop.")
        await call.until(lambda: heard(call) == ["Once there was a", "As you like."])
        await in_order(call)


async def test_a_second_final_prompt_takes_its_place(line: Running) -> None:
    """The answer taken over has said nothing yet: both prompts are one, and are asked as one."""
    gate = Gate()
    line.model.script(Reply(["Yes."], gate=gate), Reply(["For two, yes."]))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await final(call, ASK)
        await final(call, "For two.")
        assert await call.reply() == "For two, yes."
        assert shown(await line.model.received(2)) == [("user", f"{ASK} For two.")]
        assert line.model.asked[0].closed_early
        await remembers(line, call, [("user", f"{ASK} For two."), ("assistant", "For two, yes.")])


# -- dropped


@pytest.mark.parametrize(
    ("text", "lang"),
    [("Do you have a table for two?", "en-US"), ("Do you have a stable?", "en-US"), (ASK, "es-US")],
    ids=["a word more", "another word", "another language"],
)
async def test_other_words_are_asked_anew(line: Running, text: str, lang: str) -> None:
    """Nothing of the first answer is ever heard; its tokens are wasted ones, and counted with all others once."""
    line.model.script(Reply(["Wrong."], usage=(90, 0, 10)), Reply(["Right."], usage=(91, 0, 11)))
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call)
        await final(call, text, lang)
        assert await call.reply() == "Right."
        await in_order(call)
        assert counted(line) == {"discarded": 1}
        assert shown(await line.model.received(2)) == [("user", text)]
        await remembers(line, call, [("user", text), ("assistant", "Right.")])
    assert value(line, "relay_wasted_tokens_total") == 100
    assert value(line, "relay_tokens_total", kind="output") == 21


async def test_an_answer_on_its_way_is_closed(line: Running) -> None:
    """When the caller goes on; what it cost is estimated, since the provider did not get to tell."""
    gate = Gate()
    line.model.script(Reply(TALE, gate=gate, gate_at=5), ANSWER)
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await asyncio.wait_for(gate.reached.wait(), 20)
        await partial(call, ASK + " And")
        await asyncio.wait_for(line.model.asked[0].ended.wait(), 20)
        assert line.model.asked[0].closed_early
        assert counted(line) == {"discarded": 1}
        assert value(line, "relay_wasted_tokens_total") > 10
        await final(call, ASK + " And a bed?")
        assert await call.reply() == "Yes, we do."


async def test_an_interrupt_changes_the_history(line: Running) -> None:
    """What was asked before it would answer words nobody heard; asked again it is shown what was."""
    ear, gate = Ear(), Gate()
    line.model.script(Reply(TALE), Reply(["Wrong."], gate=gate), ANSWER)
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 4)) as call:
        await final(call, "Tell me a story")
        await call.until(lambda: call.record.turn.heard.split()[:4] == ["Once", "there", "was", "a"])
        await line.model.asked[0].ended.wait()
        await eventually(lambda: texts_of(call) and texts_of(call)[-1].last)
        await asked_ahead(line, call, count=2)
        await call.session.player.barge_in("speech", before=[ClientSpeaking(True)])
        ear.open()
        await asyncio.wait_for(line.model.asked[1].ended.wait(), 20)
        assert line.model.asked[1].closed_early
        await asked_ahead(line, call, count=3)
        await final(call, SPELLED)
        await call.until(lambda: heard(call) == ["Once there was a", "Yes, we do."])
        await in_order(call)
        assert words_shown(line.model.asked[2]) == ["Once there was a"]
        assert len(line.model.asked) == 3
    assert counted(line) == {"used": 1, "discarded": 1}


async def test_no_more_than_the_limit(line: Running) -> None:
    """The third guess of an utterance is not made; the final prompt is answered as ever."""
    line.model.script(Reply(["Wrong."]), Reply(["Wrong."]), Reply(["Right."]))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call, "One.")
        await asked_ahead(line, call, "One. Two.", count=2)
        await partial(call, "One. Two. Three.")
        await has_read(call)
        await final(call, "One. Two. Three.")
        assert await call.reply() == "Right."
        assert shown(await line.model.received(3)) == [("user", "One. Two. Three.")]
    assert counted(line) == {"discarded": 2}


async def test_a_hang_up_ends_it(line: Running) -> None:
    """The request is closed with the call, and nothing is remembered of words that were never final."""
    gate = Gate()
    line.model.script(Reply(["Yes."], gate=gate))
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await call.hang_up()
    await asyncio.wait_for(line.model.asked[0].ended.wait(), 20)
    assert line.model.asked[0].closed_early
    await eventually(lambda: counted(line) == {"discarded": 1})
    assert await line.history(call.record.call_sid, until=lambda items: True) == []


# -- failed


@pytest.mark.parametrize(
    "replies",
    [
        [Reply(TALE, fault=Fault("status", status=400))],
        [Reply(TALE, fault=Fault("cut", 5)), Reply(fault=Fault.quota())],
        [Reply(text=())],
    ],
    ids=["refused", "cut for good", "nothing said"],
)
async def test_a_failure_ahead_is_not_heard(line: Running, replies: list[Reply]) -> None:
    """No apology, no half an answer: the final prompt is asked anew."""
    line.model.script(*replies, ANSWER)
    async with Caller(line.url, pace=FAST) as call:
        await asked_ahead(line, call)
        await eventually(lambda: counted(line) == {"failed": 1})
        await final(call, ASK)
        assert await call.reply() == "Yes, we do."
        await in_order(call)
        assert heard(call) == ["Yes, we do."]
    assert len(line.model.asked) == len(replies) + 1
    assert "relay_turn_failures_total{" not in line.app[TELEMETRY].render().decode()


async def test_an_answer_that_breaks_off_ahead_is_taken_up(line: Running) -> None:
    """As in any turn, and nobody hears of it."""
    line.model.script(Reply(["Yes, ", "we "], fault=Fault("cut", 2)), Reply(["do."], usage=(9, 0, 9)))
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call)
        await final(call, ASK)
        assert await call.reply() == "Yes, we do."
        await in_order(call)
    assert counted(line) == {"used": 1}


# -- tools


async def test_a_tool_waits_for_the_final_prompt(line: Running, workshop: Workshop) -> None:
    """Called ahead, it runs once, when the caller has said what they have said."""
    line.model.script(Reply("Let me see. ", [look("soup"), book("table")], usage=(9, 0, 9)), Reply("It is booked."))
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call)
        assert workshop.begun.total() == 0
        await final(call, SPELLED)
        await call.until(lambda: heard(call) == ["Let me see.", "It is booked."])
        await in_order(call)
        assert workshop.begun == workshop.done == {"soup": 1, "table": 1}
        await remembers(
            line,
            call,
            [
                ("user", SPELLED),
                ("assistant", "Let me see."),
                ("look", "done"),
                ("book", "done"),
                ("assistant", "It is booked."),
            ],
        )
    assert len(line.model.asked) == 2


async def test_a_tool_of_a_dropped_answer_never_runs(line: Running, workshop: Workshop) -> None:
    line.model.script(Reply(tools=[book("table")], usage=(9, 0, 9)), Reply("As you like."))
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call)
        await final(call, "Do you have a table? No, leave it.")
        assert await call.reply() == "As you like."
        await remembers(line, call, [("user", "Do you have a table? No, leave it."), ("assistant", "As you like.")])
    assert workshop.begun.total() == 0


async def test_nothing_is_asked_while_a_tool_runs(line: Running, workshop: Workshop) -> None:
    """The history the answer would need is not there yet."""
    soup = workshop.hold("soup")
    line.model.script(Reply(tools=[look("soup")]), Reply("There is soup."))
    async with Caller(line.url, pace=FAST) as call:
        await final(call, "Is there soup?")
        await asyncio.wait_for(soup.reached.wait(), 20)
        await partial(call, "Or fish?")
        await partial(call, "Or fish?")
        await has_read(call)
        soup.set()
        assert await call.reply() == "There is soup."
    assert len(line.model.asked) == 2
    assert counted(line) == {}


async def test_reasoning_goes_with_the_calls_made_ahead(line: Running) -> None:
    """The second round of a turn that was asked ahead shows the first one's call with its result."""
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
    line.model.script(Reply(tools=[name], reasoning=True, usage=(9, 0, 9)), Reply("Saved, Ada."))
    async with Caller(line.url, pace=FAST) as call:
        await answered_ahead(line, call, "I am Ada Lovelace.")
        await final(call, "I am Ada Lovelace.")
        assert await call.reply() == "Saved, Ada."
        assert [kind for kind, _ in shown(await line.model.received(2))] == ["user", "call", "result"]


# -- switched on and off


@pytest.mark.parametrize(
    ("setting", "agent", "relay", "asked", "attribute"),
    [
        ("on", "", "", True, "true"),
        ("off", "", "", False, None),
        ("off", 'speculation = "on"', "", True, "true"),
        ("on", 'speculation = "off"', "", False, None),
        ("on", "", "partialPrompts = false", False, "false"),
        ("off", "", "partialPrompts = true", False, "true"),
    ],
)
async def test_where_it_is_switched_on(
    setting: str,
    agent: str,
    relay: str,
    asked: bool,
    attribute: str | None,
    redis: Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    """By the setting or by the agent, whose word counts; partial prompts are then asked for, unless it refuses them."""
    agents = write_agent(tmp_path / "agents", f'title = "Test"\n{agent}\n[relay]\n{relay}\n')
    environ = {"SPECULATION": setting}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as line:
        line.model.script(ANSWER, Reply("At nine."))
        async with Caller(line.url, pace=FAST) as call:
            assert call.session.relay.attributes.get("partialPrompts") == attribute
            await final(call, "Hi")
            assert await call.reply() == "Yes, we do."
            await partial(call, ASK)
            await has_read(call)
            await final(call, ASK)
            assert await call.reply() == "At nine."
        assert counted(line) == ({"used": 1} if asked else {})
        assert len(line.model.asked) == 2


async def test_a_caller_who_speaks_in_partial_prompts(line: Running) -> None:
    """As Twilio tells them: word by word, and the whole again. Only the end of it is asked, once."""
    line.model.script(ANSWER, Reply("At nine."))
    async with Caller(line.url, pace=FAST) as call:
        await final(call, "Hi")
        assert await call.reply() == "Yes, we do."
        await call.say("And when is the opening?")
        assert await call.reply() == "At nine."
        await in_order(call)
    assert len(line.model.asked) == 2
    assert counted(line) == {"used": 1}
