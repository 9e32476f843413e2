"""What a model writes, as a caller hears it: for the ear, spacing kept, in talk cycles that are closed once."""

from __future__ import annotations

import pytest

from phone.caller import FAST, Caller
from phone.model import Fault, Gate, Reply, ToolUse, pieces
from tests.calls.checks import heard, in_order, remembered, texts_of, told, words_of
from tests.running import Running

GREETING = "Hello from the test."
WRITTEN = {
    "markdown": (
        "## Today\n\nWe have **two** _fresh_ dishes:\n\n- soup, `hot`\n- ~~old~~ new bread\n\n1. First\n2. Second\n",
        "Today We have two fresh dishes: soup, hot old new bread First Second",
    ),
    "link": (
        "See [our menu](https://www.example.com/menu?day=1) or https://shop.example.com/a/b?c=d, please.",
        "See our menu or shop dot example dot com, please.",
    ),
    "e-mail": (
        "Write to anna.b@example.com. I wait.",
        "Write to anna dot b at example dot com. I wait.",
    ),
    "emoji": ("Sure 😀! Well done 👍🏽 and 👨‍👩‍👧 bye.", "Sure! Well done and bye."),
    "numbers": ("That is 2 * 3 = 6, #1, and 12.50 in all.", "That is 2 * 3 = 6, #1, and 12.50 in all."),
}


@pytest.mark.parametrize("tokens", ["as tokens", "letter by letter", "at once"])
@pytest.mark.parametrize(("written", "spoken"), WRITTEN.values(), ids=WRITTEN.keys())
async def test_what_is_written_comes_out_spoken(relay: Running, written: str, spoken: str, tokens: str) -> None:
    """However a reply is cut into tokens its marks are gone, its addresses are words, and history has what was said."""
    cut = {"as tokens": pieces(written), "letter by letter": tuple(written), "at once": (written,)}
    relay.model.script(Reply(cut[tokens]))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Tell me")
        assert " ".join((await call.reply()).split()) == spoken
        await in_order(call)
        items = await remembered(relay, call.record.call_sid, lambda items: words_of(items) == heard(call))
        assert words_of(items) == heard(call)


async def test_scripts_without_spaces_are_not_held_back(relay: Running) -> None:
    """Chinese words are heard while the sentence they stand in is still being written."""
    gate = Gate()
    relay.model.script(Reply(["你好", "，我", "是", "助手", "。"], gate=gate, gate_at=4))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("你好")
        await call.until(lambda: call.record.turn.heard == "你好，我是助手", timeout=3)
        gate.set()
        assert await call.reply() == "你好，我是助手。"
        await in_order(call)


async def test_nothing_longer_than_a_word_is_held_back(relay: Running) -> None:
    """A word is sent as soon as it is known to be whole."""
    gate = Gate()
    relay.model.script(Reply(["Once ", "upon ", "a ti", "me."], gate=gate, gate_at=3))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Tell me")
        await gate.reached.wait()
        await call.until(lambda: "".join(each.token for each in texts_of(call)).strip() == "Once upon a", timeout=3)
        gate.set()
        assert await call.reply() == "Once upon a time."


async def test_spacing_is_preserved(relay: Running) -> None:
    """The frames of a reply, put together, have the spaces the model wrote between its words."""
    written = ["Well, ", "that", " is 'so'", " ...", "  fine", "\n", "by me", " – and", " you?"]
    relay.model.script(Reply(written))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Is it?")
        await call.reply()
        said = "".join(each.token for each in texts_of(call))
        assert " ".join(said.split()) == "Well, that is 'so' ... fine by me – and you?"
        assert said.split() == "".join(written).split()


async def test_one_closing_frame_a_talk_cycle(relay: Running) -> None:
    """Words before a tool, words after it, an apology and a plain reply: each is closed once, by an empty frame."""
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
    relay.model.script(
        Reply("One moment. ", [name]),
        Reply("Saved, Ada."),
        Reply(tools=[name]),
        Reply("Saved again."),
        Reply("And then ", fault=Fault("cut", 2)),
        Reply(fault=Fault.quota()),
        Reply("Fine."),
    )
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        for last in ("Saved, Ada.", "Saved again.", "I'm sorry, something went wrong on my side.", "Fine."):
            await call.say("Go on")
            await call.until(lambda last=last: heard(call)[-1].startswith(last))  # type: ignore[misc]
            await in_order(call)
        await in_order(call)
        cycles: list[str] = [""]
        for frame in texts_of(call):
            assert not (frame.last and frame.token), "words are never in the closing frame"
            assert not frame.last or cycles[-1], "nothing is closed that was not opened"
            cycles[-1] += frame.token
            cycles += [""] * frame.last
        assert [each.strip() for each in cycles[:-1]] == heard(call)[1:]
        assert cycles[-1] == ""
        kinds = [
            kind for kind, _ in told(await remembered(relay, call.record.call_sid, lambda items: len(items) == 13))
        ]
        assert len(kinds) == 13
