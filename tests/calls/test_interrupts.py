"""The protocol's edge cases of interrupts: what is cut, what is kept; with and without ``info`` frames."""

from __future__ import annotations

import asyncio

import pytest

from phone.caller import FAST, Caller, Pace
from phone.model import Gate, Reply, ToolUse
from relay.frames import Interrupt, Prompt, Text, TokensPlayed
from relay.items import AssistantItem
from tests.calls.checks import (
    GREETING,
    TALE,
    Ear,
    closings,
    heard,
    in_order,
    interrupted,
    remembers,
    shown,
    texts_of,
    words_shown,
)
from tests.running import Running


async def test_while_tokens_still_stream(talk: Running) -> None:
    """The request upstream is closed, at most one closing frame follows, history holds what was heard."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "Tell me a story", 4)
        first = await talk.model.received(1)
        await asyncio.wait_for(first.ended.wait(), 20)
        assert first.closed_early
        gate.set()
        await call.say("Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert closings(call) == [Text("", last=True)]
        assert words_shown(await talk.model.received(2)) == [GREETING, "Once there was a"]
        items = await remembers(
            talk,
            call,
            [
                ("assistant", GREETING),
                ("user", "Tell me a story"),
                ("assistant", "Once there was a"),
                ("user", "Stop it"),
                ("assistant", "As you like."),
            ],
        )
        assert isinstance(items[2], AssistantItem) and items[2].status == "interrupted"


@pytest.mark.parametrize("cumulative", [False, True], ids=["of the clause", "of the whole reply"])
async def test_either_scope_of_the_report(talk: Running, cumulative: bool) -> None:
    """Twilio may report what was heard of the clause or of all the reply, and its last word cut short."""
    gate = Gate()
    tale = ["One fox came, ", "two hens sat, ", "three cows stood ", "and nobody saw. "]
    talk.model.script(Reply(tale, gate=gate, gate_at=4), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, cumulative=cumulative) as call:
        await call.greeting_played()
        stop = call.interrupt_after(7, "Stop it", letters=2)
        await call.say("Tell me a story")
        assert await stop
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        (report,) = [frame for _, frame in call.record.sent if isinstance(frame, Interrupt)]
        whole = "One fox came, two hens sat, three co"
        assert report.utterance_until_interrupt == (whole if cumulative else "three co")
        assert words_shown(await talk.model.received(2)) == [GREETING, "One fox came, two hens sat, three"]
        await remembers(talk, call, [*shown(talk.model.asked[1]), ("assistant", "As you like.")])


async def test_after_last_true_while_audio_still_plays(talk: Running) -> None:
    """The finished message in the history is rewritten to what was heard, and no frame follows."""
    ear, gate = Ear(), Gate()
    talk.model.script(Reply(TALE, gate=gate), Reply("As you like."))
    async with Caller(talk.url, pace=ear.pace) as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await gate.reached.wait()
        ear.shut()
        gate.set()
        await call.until(lambda: texts_of(call) and texts_of(call)[-1].last)
        stop = call.interrupt_after(6)
        ear.open()
        assert await stop
        await call.say("Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert closings(call) == []
        assert not (await talk.model.received(1)).closed_early
        assert words_shown(await talk.model.received(2)) == [GREETING, "Once there was a fox in"]
        items = await remembers(
            talk,
            call,
            [
                ("assistant", GREETING),
                ("user", "Tell me a story"),
                ("assistant", "Once there was a fox in"),
                ("user", "Stop it"),
                ("assistant", "As you like."),
            ],
        )
        assert isinstance(items[2], AssistantItem) and items[2].status == "interrupted"


async def test_empty_utterance(talk: Running) -> None:
    """Nothing was heard, so nothing of the reply is on record or shown to the model."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, agent="terse") as call:
        await interrupted(call, "Tell me a story", 0, "Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        sent = [frame for _, frame in call.record.sent if isinstance(frame, Interrupt)]
        assert [frame.utterance_until_interrupt for frame in sent] == [""]
        assert shown(await talk.model.received(2)) == [("user", "Tell me a story"), ("user", "Stop it")]
        await remembers(talk, call, [*shown(talk.model.asked[1]), ("assistant", "As you like.")])


async def test_utterance_equals_the_whole_reply(talk: Running) -> None:
    """Nothing is cut off, and the reply is marked as interrupted."""
    ear, gate = Ear(), Gate()
    talk.model.script(Reply("Yes, of course.", gate=gate), Reply("As you like."))
    async with Caller(talk.url, pace=ear.pace) as call:
        await call.greeting_played()
        await call.say("Can you?")
        await gate.reached.wait()
        ear.shut()
        gate.set()
        await call.until(lambda: texts_of(call) and texts_of(call)[-1].last)
        stop = call.interrupt_after(3, "Good")
        ear.open()
        assert await stop
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert words_shown(await talk.model.received(2)) == [GREETING, "Yes, of course."]
        items = await remembers(
            talk,
            call,
            [
                ("assistant", GREETING),
                ("user", "Can you?"),
                ("assistant", "Yes, of course."),
                ("user", "Good"),
                ("assistant", "As you like."),
            ],
        )
        assert isinstance(items[2], AssistantItem) and items[2].status == "interrupted"


async def test_no_token_follows_an_interrupt_however_fast_they_come(talk: Running) -> None:
    """Words that come while an interrupt is read are dropped, time and again, and what stays was sent and heard."""
    words = [f"word{number} " for number in range(600)]
    # The last step is never written: a reply is under way at its interrupt, however late a busy machine is with it.
    talk.model.behaviour = lambda ask: Reply(words, pace=0.0003, gate=asyncio.Event(), gate_at=len(words))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        for number in range(1, 13):
            await interrupted(call, f"Question {number}", number * 3)
            # Words that crossed the interrupt on the wire are spoken; the frame that closes the reply ends them.
            await call.until(lambda: call.session.player.silent and not call.session.player.stale)
        talk.model.script(Reply("Good bye."))
        await call.say("That is all")
        await call.until(lambda: "Good bye." in heard(call))
        await in_order(call)
        cut = words_shown(await talk.model.received(13))[1:]
        assert len(cut) == 12
        for number, text in enumerate(cut, 1):
            assert "".join(words).startswith(f"{text} ")
            assert len(text.split()) >= number * 3
        for request in talk.model.asked[:12]:
            await asyncio.wait_for(request.ended.wait(), 20)
            assert request.closed_early


async def test_the_same_phrase_twice(events: str, talk: Running) -> None:
    """The occurrence that was being played is the one that was heard."""
    # Without info frames only the clock tells them apart, so this one call is played at the speed of speech.
    pace = FAST if events else Pace(greeting_s=0.0)
    gate = Gate()
    talk.model.script(Reply("Yes. No. Yes. No. Maybe so, or not.", gate=gate, gate_at=15), Reply("As you like."))
    async with Caller(talk.url, pace=pace, agent="terse") as call:
        await interrupted(call, "Will you?", 3, "Stop it")
        await talk.model.received(2)
        assert words_shown(talk.model.asked[1]) == ["Yes. No. Yes."]
        assert heard(call)[0] == "Yes. No. Yes."


@pytest.mark.parametrize(
    ("sent", "reported", "kept"),
    [
        ("It costs “ten” dollars – really, it’s cheap. ", 'it costs "ten" dollars - really its', 7),
        ("We open at   nine o'clock.\nOn Sunday too. ", "We open at nine oclock on", 6),
        ("That makes 12 dollars in all. ", "That makes twelve dollars", 0),
        ("I will go now and look. ", "I will gone", 0),
    ],
    ids=["quotes and dashes", "white space", "numbers", "never sent"],
)
async def test_the_spoken_form_differs(events: str, talk: Running, sent: str, reported: str, kept: int) -> None:
    """It is found by its letters and digits; what cannot be found was not heard. Only what was sent can be heard."""
    gate = Gate()
    talk.model.script(Reply([sent], gate=gate, gate_at=1), Reply("As you like."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        call.session.player.drop("interrupt")
        await call.say("How much?")
        await call.expect(Text)
        if events:
            await call.send(TokensPlayed(reported))
        await call.send(Interrupt(reported, 1500))
        await call.send(Prompt("Fine"))
        words = sent.split()
        expected = [" ".join(words[:kept]).replace("at nine", "at   nine").replace("o'clock. On", "o'clock.\nOn")]
        found = words_shown(await talk.model.received(2))
        assert [" ".join(text.split()) for text in found[1:]] == [" ".join(text.split()) for text in expected if text]


async def test_a_tool_already_executed_stays(talk: Running) -> None:
    """Its call and its result are kept; only the speech is truncated."""
    gate = Gate()
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
    talk.model.script(Reply(tools=[name]), Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "I am Ada Lovelace", 2, "Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        third = shown(await talk.model.received(3))
        assert [kind for kind, _ in third] == ["assistant", "user", "call", "result", "assistant", "user"]
        assert third[4] == ("assistant", "Once there")
        assert "saved" in third[3][1]
        await remembers(
            talk,
            call,
            [
                ("assistant", GREETING),
                ("user", "I am Ada Lovelace"),
                ("save_name", "done"),
                ("assistant", "Once there"),
                ("user", "Stop it"),
                ("assistant", "As you like."),
            ],
        )


async def test_two_interrupts_for_one_turn(talk: Running) -> None:
    """The second one changes nothing: no frame, no request, no word."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "Tell me a story", 4)
        await call.send(Interrupt("Once there was a", 460))
        await call.send(Interrupt("", 0))
        await call.say("Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert closings(call) == [Text("", last=True)]
        assert words_shown(await talk.model.received(2)) == [GREETING, "Once there was a"]
        assert len(talk.model.asked) == 2


async def test_an_interrupt_without_an_active_turn(talk: Running) -> None:
    """Nothing was being said: nothing is sent, nothing asked, and the call goes on."""
    talk.model.script(Reply("Hello to you."), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, agent="terse") as call:
        await call.send(Interrupt("Something nobody said", 460))
        await call.say("Hello")
        assert await call.reply() == "Hello to you."
        await in_order(call)
        assert shown(await talk.model.received(1)) == [("user", "Hello")]
        await remembers(talk, call, [("user", "Hello"), ("assistant", "Hello to you.")])


async def test_the_greeting_interrupted(talk: Running) -> None:
    """The greeting is the first message of the history, cut to what was heard of it."""
    talk.model.script(Reply("As you like."))
    async with Caller(talk.url, pace=FAST) as call:
        assert await call.interrupt_after(2, "Yes, hi")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert shown(await talk.model.received(1)) == [("assistant", "Hello from"), ("user", "Yes, hi")]
        lines = [("assistant", "Hello from"), ("user", "Yes, hi"), ("assistant", "As you like.")]
        items = await remembers(talk, call, lines)
        assert isinstance(items[0], AssistantItem)
        assert (items[0].origin, items[0].status) == ("greeting", "interrupted")
