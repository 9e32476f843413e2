"""The live chat's widget in a real browser, on its own page, against a server that does as the test wants."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.chatting import said, shown, write
from tests.browser.conftest import Open
from tests.fakes.chat_server import Answer, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_is_streamed_and_kept(opened: Open) -> None:
    """It appears as it comes, without half a mark of Markdown, and is part of the log, which is read aloud, when it is
    whole. A page that is loaded again has all of it; a new conversation has nothing."""
    gate = asyncio.Semaphore(0)
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        chat.script(Answer(["The **sky", "** is [bl", "ue](https://sky.example/b"], gate))
        box = page.get_by_placeholder("Write a message")
        await expect(page.get_by_role("button", name="Send")).to_be_disabled()
        await box.fill("What colour")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("is the sky?")
        chosen = {"key": "Enter", "keyCode": 229, "isComposing": True, "bubbles": True}
        await box.dispatch_event("keydown", chosen)
        assert chat.asked == []
        await page.keyboard.press("Enter")
        await expect(box).to_have_value("")
        await expect(page.locator(".dots")).to_be_visible()
        gate.release()
        answer = shown(page).nth(1)
        await expect(answer).to_have_text("The sky")
        await expect(answer.locator("strong")).to_have_text("sky")
        await expect(page.get_by_role("status").first).to_have_text("Writing an answer")
        gate.release()
        await expect(answer).to_have_text("The sky is bl")
        await expect(said(page)).to_have_text(["What colour\nis the sky?"])
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        gate.release()
        await expect(said(page)).to_have_text(["What colour\nis the sky?", "The sky is [blue](https://sky.example/b"])
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        await expect(box).to_be_focused()
        assert chat.asked == ["What colour\nis the sky?"]
        await page.reload()
        await expect(said(page)).to_have_count(2)
        await page.get_by_role("button", name="New conversation").click()
        await expect(said(page)).to_have_count(0)
        await write(page, "And now?")
        await expect(said(page)).to_have_text(["And now?", "You wrote: And now?"])


async def test_an_answer_is_stopped_and_a_failure_tried_again(opened: Open) -> None:
    """What was said until then stays. A message that failed goes out again with the name it had; what comes behind it
    waits; one that cannot be answered is told and left."""
    gate = asyncio.Semaphore(1)
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True, dark=True) as page:
        chat.script(
            Answer(["One, ", "two"], gate),
            Answer(["Well, "], error=("model_unavailable", True)),
            Answer(["Better."]),
            Answer(["Third."]),
            Answer([], error=("too_long", False)),
            Answer([], error=("rate", True)),
        )
        await write(page, "Count")
        await expect(page.locator(".words")).to_contain_text("One,")
        await page.get_by_role("button", name="Stop").click()
        await expect(said(page)).to_have_text(["Count", "One,"])
        await write(page, "Again")
        failure = page.get_by_role("alert")
        await expect(failure).to_contain_text("It did not work.")  # in the agent's words
        await write(page, "Then")  # tries the one before it
        await expect(said(page)).to_have_text(["Count", "One,", "Again", "Better.", "Then", "Third."])
        await expect(failure).to_have_count(0)
        names = [frame["client_id"] for frame in chat.frames if frame["type"] == "message"]
        assert names[1] == names[2]
        await write(page, "Too long")
        await expect(failure).to_have_text("Something went wrong.")
        await write(page, "Fast")
        await expect(failure.last).to_contain_text("Please wait a moment.")
        await page.get_by_role("button", name="Try again").click()
        await expect(said(page).last).to_have_text("You wrote: Fast")
        assert chat.asked[-2:] == ["Fast", "Fast"]


async def test_nothing_is_lost_or_doubled(opened: Open) -> None:
    """A connection that breaks within an answer, what is written meanwhile, and a server that dies within a turn."""
    gate = asyncio.Semaphore(1)
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        chat.script(Answer(["One, ", "two, ", "three."], gate))
        await write(page, "Count")
        await expect(page.locator(".words")).to_contain_text("One,")
        await page.context.set_offline(True)
        await expect(page.get_by_text("Offline.")).to_be_visible()
        chat.cut()
        gate.release()
        gate.release()
        await write(page, "First")
        await write(page, "Second")
        await expect(page.locator(".waiting")).to_have_text(["First", "Second"])
        await page.context.set_offline(False)  # at once, whatever the next attempt was to wait for
        whole = ["Count", "One, two, three.", "First", "You wrote: First", "Second", "You wrote: Second"]
        await expect(said(page)).to_have_text(whole)
        await expect(page.get_by_text("Offline.")).to_be_hidden()
        assert chat.asked == ["Count", "First", "Second"]

        gate = asyncio.Semaphore(1)
        chat.script(Answer(["Lost ", "words"], gate), Answer(["Found."]))
        await write(page, "Are you well?")
        await expect(page.locator(".words")).to_contain_text("Lost")
        await chat.die()
        await expect(said(page)).to_have_text([*whole, "Are you well?", "Found."])
        assert chat.asked[3:] == ["Are you well?", "Are you well?"]
        assert len({frame["client_id"] for frame in chat.frames if frame["type"] == "message"}) == 4


async def test_what_was_not_answered_survives_the_page(opened: Open) -> None:
    """A page that is loaded again within a turn goes on with it; one whose turn ended meanwhile has it once. What the
    server does not keep any more is read from the history."""
    gate = asyncio.Semaphore(1)
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        chat.script(Answer(["One, ", "two."], gate))
        await write(page, "Count")
        await expect(page.locator(".words")).to_contain_text("One,")
        await page.reload()
        await expect(shown(page)).to_have_text(["Count", "One,"])
        gate.release()
        await expect(said(page)).to_have_text(["Count", "One, two."])
        gate = asyncio.Semaphore(0)
        chat.script(Answer(["Yes."], gate))
        await write(page, "Sure?")
        await chat.saw("message")
        await chat.saw("message")
        await page.goto("about:blank")
        gate.release()
        await page.go_back()
        await expect(said(page)).to_have_text(["Count", "One, two.", "Sure?", "Yes."])
        assert chat.asked == ["Count", "Sure?"]
        (talk,) = chat.visitors.values()
        talk.log.clear()  # the client is ahead of what there is
        talk.messages.pop(0)
        chat.cut()
        await expect(said(page)).to_have_text(["One, two.", "Sure?", "Yes."])
        await write(page, "Still here?")
        await expect(said(page).last).to_have_text("You wrote: Still here?")


async def test_the_server_says_whether_to_come_again(opened: Open) -> None:
    """Another window takes the chat over, and gives it back when it is asked to; a ticket that is not known is replaced
    once; who is not let in does not try again."""
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        await write(page, "Hello")
        await expect(said(page)).to_have_count(2)
        other = await page.context.new_page()
        await other.goto(f"{chat.url}/chat")
        await write(other, "From over there")
        await expect(said(other)).to_have_count(4)
        await expect(page.get_by_text("The chat is open elsewhere.")).to_be_visible()
        await expect(page.get_by_placeholder("Write a message")).to_be_disabled()
        tickets = len(chat.tickets)
        await page.get_by_role("button", name="Continue here").click()
        await expect(said(page)).to_have_count(4)
        await expect(page.get_by_placeholder("Write a message")).to_be_enabled()
        assert len(chat.tickets) == tickets + 2  # one for the socket, one for the history
        await other.close()

        await chat.close(4401)
        await write(page, "Once more")
        await expect(said(page).last).to_have_text("You wrote: Once more")
        tickets = len(chat.tickets)
        await chat.close(4403)
        await expect(page.get_by_text("Chat is not available.")).to_be_visible()
        await page.evaluate("dispatchEvent(new Event('online'))")
        await page.reload()  # only a new page tries again
        await expect(said(page)).to_have_count(6)
        assert len(chat.tickets) == tickets + 2
        assert len(set(chat.tickets)) == 1


HURRIED = """
window.waits = [];
window.patience = 10000;
const [wait, repeat] = [setTimeout, setInterval];
window.setInterval = (task) => repeat(task, 100);
window.setTimeout = (task, ms) => {
  if (ms === 10000) return wait(task, window.patience);
  if (ms !== 20000) window.waits.push(ms);
  return wait(task, ms === 20000 ? ms : ms / 500);
};
"""
"""A browser in which pings are frequent and attempts are soon: what they were to wait is in ``waits``."""


async def test_attempts_become_rarer_and_silence_is_noticed(opened: Open) -> None:
    """Half a second to half a minute between two attempts, each shortened by chance by up to a half; a connection over
    which no answer to a ping comes is given up."""
    async with chat_server() as chat, opened("about:blank", own=True) as page:
        await page.add_init_script(HURRIED)
        await page.goto(f"{chat.url}/chat")
        await write(page, "Hello")
        await expect(said(page)).to_have_count(2)
        await chat.saw("ping")
        await chat.saw("ping")
        assert await page.evaluate("waits") == []
        chat.away, chat.deaf = 503, True
        await page.evaluate("patience = 20")
        await expect(page.get_by_text("Chat is not available.")).to_be_visible()
        await page.evaluate("async () => { while (waits.length < 9) await new Promise(requestAnimationFrame); }")
        waits = await page.evaluate("waits")
        for wait, most in zip(waits, (500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000), strict=False):
            assert most / 2 <= wait <= most
        chat.away, chat.deaf = 0, False
        await page.evaluate("patience = 10000")
        await write(page, "Back again")
        await expect(said(page).last).to_have_text("You wrote: Back again")
        await expect(page.get_by_text("Chat is not available.")).to_be_hidden()
