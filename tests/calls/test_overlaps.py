"""The protocol's edge cases of keys, words and speech that overlap; with and without ``info`` frames."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from phone.record import Event, Word
from relay.call import KEY_ECHO
from relay.frames import Dtmf, Prompt, Text
from tests.calls.checks import (
    CUT,
    GREETING,
    TALE,
    Ear,
    closings,
    has_read,
    heard,
    in_order,
    interrupted,
    remembers,
    shown,
    texts_of,
    words_shown,
)
from tests.running import Running


@pytest.mark.parametrize("key_first", [False, True], ids=["interrupt first", "key first"])
async def test_a_key_press_interrupts(talk: Running, key_first: bool) -> None:
    """Speech is cut, the key is answered once, in either order of the two frames."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("You pressed five."))
    async with Caller(talk.url, pace=FAST, key_first=key_first) as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await call.until(lambda: call.speaking and len(call.record.turn.heard.split()) >= 10)
        assert await call.press("5") == 1
        await call.until(lambda: "You pressed five." in heard(call))
        await in_order(call)
        assert (await talk.model.received(1)).closed_early
        assert shown(await talk.model.received(2)) == [
            ("assistant", GREETING),
            ("user", "Tell me a story"),
            ("assistant", "".join(TALE[:10]).strip()),
            ("note", "The caller pressed 5 on the keypad."),
        ]
        await remembers(talk, call, [*shown(talk.model.asked[1]), ("assistant", "You pressed five.")])
        await asyncio.sleep(0.3)
        assert len(talk.model.asked) == 2


async def test_a_late_pound_barges_in_on_the_reply(talk: Running) -> None:
    """The # of a code that was taken without it is no input: the reply it cut is taken up again."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("Where was I?"))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.press("12")
        await call.until(lambda: call.speaking and len(call.record.turn.heard.split()) >= 10)
        was = call.record.turn.heard
        await asyncio.sleep(KEY_ECHO)  # an interrupt any sooner would be taken for the work of the key before
        await call.press("#")
        await call.until(lambda: "Where was I?" in heard(call))
        await in_order(call)
        second = shown(await talk.model.received(2))
        assert second[:3] == [
            ("assistant", GREETING),
            ("note", "The caller pressed 1 2 on the keypad."),
            ("assistant", was),
        ]
        assert second[3][0] == "note" and second[3][1].startswith(CUT) and len(second) == 4


async def test_a_backchannel_that_interrupts(talk: Running) -> None:
    """Taken for words and followed by none: the reply goes on by itself from where it was cut."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("a fox, as I said."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "Tell me a story", 4)
        await call.until(lambda: "a fox, as I said." in heard(call))
        await in_order(call)
        second = shown(await talk.model.received(2))
        assert second[:3] == [("assistant", GREETING), ("user", "Tell me a story"), ("assistant", "Once there was a")]
        assert second[3][0] == "note" and second[3][1].startswith(CUT) and len(second) == 4
        assert (await talk.model.received(1)).closed_early


async def test_a_spurious_interrupt(talk: Running) -> None:
    """No ``clientSpeaking on``, no prompt: the caller is not left in silence."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("a fox, as I said."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await call.until(lambda: call.speaking and len(call.record.turn.heard.split()) >= 10)
        await call.session.player.barge_in("speech")
        await call.until(lambda: "a fox, as I said." in heard(call))
        await in_order(call)
        assert words_shown(await talk.model.received(2)) == [GREETING, "".join(TALE[:10]).strip()]
        assert shown(talk.model.asked[1])[-1][1].startswith(CUT)


async def test_words_over_speech_that_may_not_be_interrupted(talk: Running) -> None:
    """They wait for the last token of the reply; it is heard to its end, and then they are answered."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, agent="steadfast") as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await call.until(lambda: call.speaking)
        assert await call.say("And make it")
        assert await call.say("a short one")
        await call.send(Dtmf("*"))
        await has_read(call)
        assert len(talk.model.asked) == 1
        gate.set()
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        tale = "".join(TALE).strip()
        assert not (await talk.model.received(1)).closed_early
        assert heard(call) == [GREETING, tale, "As you like."]
        assert shown(await talk.model.received(2)) == [
            ("assistant", GREETING),
            ("user", "Tell me a story"),
            ("assistant", tale),
            ("user", "And make it a short one"),
        ]


async def test_a_prompt_before_anything_was_said(talk: Running) -> None:
    """The turn that has said nothing is given up, and its words and the new ones are one."""
    gate = Gate()
    talk.model.script(Reply("Never heard.", gate=gate), Reply("Both, then."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        first = await talk.model.received(1)
        await gate.reached.wait()
        await call.say("about a fox")
        await asyncio.wait_for(first.ended.wait(), 20)
        assert first.closed_early
        assert await call.reply() == "Both, then."
        await in_order(call)
        assert shown(await talk.model.received(2)) == [
            ("assistant", GREETING),
            ("user", "Tell me a story about a fox"),
        ]
        await remembers(talk, call, [*shown(talk.model.asked[1]), ("assistant", "Both, then.")])


async def test_a_prompt_while_words_stream_and_no_interrupt(talk: Running) -> None:
    """What was sent stays and is heard, the talk cycle is closed, and both questions are shown to the model."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("About a hen."))
    async with Caller(talk.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await call.until(lambda: call.speaking and len(call.record.turn.heard.split()) >= 10)
        sent = "".join(frame.token for frame in texts_of(call)).strip()
        since = time.monotonic()
        await call.send(Prompt("about a hen"))
        await call.until(lambda: "About a hen." in heard(call))
        await in_order(call)
        assert closings(call, since) == [Text("", last=True)]
        first = await talk.model.received(1)
        assert first.closed_early
        assert heard(call) == [GREETING, sent, "About a hen."]
        assert shown(await talk.model.received(2)) == [
            ("assistant", GREETING),
            ("user", "Tell me a story"),
            ("assistant", sent),
            ("user", "about a hen"),
        ]
        await remembers(talk, call, [*shown(talk.model.asked[1]), ("assistant", "About a hen.")])


async def test_preempted_by_the_next_reply(events: str, talk: Running) -> None:
    """No interrupt comes; what was heard is told by ``tokensPlayed`` alone, and that is what history holds."""
    ear, words = Ear(), Counter[str]()

    def listen(event: Event) -> None:
        if isinstance(event, Word):
            words[event.turn.said] += 1
            if words["Count"] == 3:
                ear.shut()

    talk.model.script(Reply("One, two, three, four, five, six, seven."), Reply("As you like."))
    async with Caller(talk.url, pace=ear.pace, agent="yielding", listen=listen) as call:
        await call.greeting_played()
        await call.say("Count")
        await call.until(lambda: texts_of(call) and texts_of(call)[-1].last and words["Count"] == 3)
        await call.send(Prompt("Enough"))
        await call.until(lambda: any(each.cut == "preempt" for each in call.record.turns[1].utterances))
        words.clear()
        ear.open()
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert call.record.interrupts == []
        assert heard(call) == [GREETING, "One, two, three,", "As you like."]
        if events:
            await remembers(
                talk,
                call,
                [
                    ("assistant", GREETING),
                    ("user", "Count"),
                    ("assistant", "One, two, three,"),
                    ("user", "Enough"),
                    ("assistant", "As you like."),
                ],
            )


def questions(*numbers: int) -> list[Prompt]:
    return [Prompt(f"part {number}") for number in numbers]


def parts(*numbers: int) -> str:
    return " ".join(f"part {number}" for number in numbers)


async def test_ten_prompts_in_one_read(talk: Running) -> None:
    """What was said in pauses is one question, in order, with no word lost, and is answered once."""
    talk.model.behaviour = lambda ask: Reply("All of it, then.")
    async with Caller(talk.url, pace=FAST, agent="terse") as call:
        await call.session.write(questions(*range(10)))
        await call.until(lambda: call.record.turn.heard == "All of it, then.")
        await in_order(call)
        assert heard(call) == ["All of it, then."]
        assert shown(talk.model.asked[-1]) == [("user", parts(*range(10)))]
        await remembers(talk, call, [("user", parts(*range(10))), ("assistant", "All of it, then.")])


async def test_a_pause_in_a_sentence_waits_for_nothing(talk: Running) -> None:
    """The first half is asked for at once; with the second it is one question, and the first request is given up."""
    gate = Gate()
    talk.model.script(Reply("Never heard.", gate=gate), Reply("Both, then."))
    async with Caller(talk.url, pace=FAST, agent="terse") as call:
        await call.send(Prompt("I would like"))
        await gate.reached.wait()  # nothing but the prompt had come
        await call.send(Prompt("a room"))
        await call.until(lambda: heard(call) == ["Both, then."])
        assert (await talk.model.received(1)).closed_early
        assert shown(await talk.model.received(2)) == [("user", "I would like a room")]
        assert len(talk.model.asked) == 2


async def test_ten_prompts_over_speech_that_may_not_be_interrupted(talk: Running) -> None:
    """They wait for its last token and are one question."""
    gate = Gate()
    talk.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, agent="steadfast") as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await call.until(lambda: call.speaking)
        await call.session.write(questions(*range(10)))
        await has_read(call)
        assert len(talk.model.asked) == 1
        gate.set()
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        assert shown(await talk.model.received(2))[-1] == ("user", parts(*range(10)))
        assert len(talk.model.asked) == 2


async def test_ten_prompts_over_a_turn_that_may_not_be_interrupted_and_fails(talk: Running) -> None:
    """After its apology they are answered, together."""
    gate = Gate()
    talk.model.script(Reply(gate=gate), Reply("As you like."))
    async with Caller(talk.url, pace=FAST, agent="steadfast") as call:
        await call.greeting_played()
        await call.say("Tell me a story")
        await gate.reached.wait()
        await call.session.write(questions(*range(10)))
        await has_read(call)
        gate.set()
        await call.until(lambda: "As you like." in heard(call))
        assert shown(await talk.model.received(2))[-1] == ("user", parts(*range(10)))
