"""The widget on other sites' pages: what they look like, what they forbid, and who visits them how."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.browser.chatting import said, write
from tests.browser.conftest import Open
from tests.fakes.chat_server import Answer, chat_server, site
from tests.handlers.test_dashboard_pages import contrast

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOUD = """<!doctype html>
<html lang="{lang}" dir="{dir}"><head><meta name="viewport" content="width=device-width, initial-scale=1">
<script src="{url}/chat/widget.js" {attributes} async></script>
<link rel="stylesheet" href="/loud.css"></head>
<body><h1>Carpets</h1><p>Everything must go.</p><button>Buy</button></body></html>
"""
STYLE = """
* { color: #ff00aa !important; font: 30px/3 "Comic Sans MS" !important; text-transform: uppercase; }
* { border: 4px dotted lime; }
div, p, dialog, textarea, relay-chat { display: none; position: relative; float: left; width: 60px; opacity: .2; }
p { display: block; }
button { transform: rotate(12deg); background: red !important; }
"""
STRICT = (
    "default-src 'none'; script-src {url}/chat/widget.js; connect-src {url} {ws}; style-src 'self'; "
    "img-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def policy(url: str) -> str:
    """The strictest with which the chat works."""
    return STRICT.format(url=url, ws=url.replace("http", "ws"))


async def hexed(page: Page, selector: str, what: str) -> str:
    """A colour of the first such element, as it is painted."""
    element = page.locator(selector).first
    return str(
        await element.evaluate(
            """(element, what) => {
              const context = new OffscreenCanvas(1, 1).getContext("2d");
              context.fillStyle = getComputedStyle(element)[what];
              context.fillRect(0, 0, 1, 1);
              const bytes = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
              return "#" + bytes.map((each) => each.toString(16).padStart(2, "0")).join("");
            }""",
            what,
        )
    )


async def test_a_page_and_the_chat_leave_each_other_alone(opened: Open) -> None:
    """Neither's style reaches the other, the page's policy is kept to, and nothing is asked or remembered before the
    chat is opened. The keyboard opens, uses and closes it; what comes while it is closed is counted."""
    gate = asyncio.Semaphore(0)
    async with chat_server() as chat:
        page_text = LOUD.format(
            url=chat.url, lang="de-AT", dir="ltr", attributes='data-title="Teppiche" data-color="gold"'
        )
        async with site(page_text, STYLE, policy(chat.url)) as url, opened(url, own=True) as page:
            heading = page.locator("h1")
            before = await heading.evaluate(
                "(h1) => JSON.stringify([getComputedStyle(h1).cssText, h1.getBoundingClientRect()])"
            )
            button = page.locator(".chat")
            await expect(button).to_have_accessible_name("Chat öffnen")
            await expect(button).to_have_attribute("aria-expanded", "false")
            assert chat.tickets == [] and await page.evaluate("localStorage.length") == 0
            await page.get_by_role("button", name="Buy").focus()
            await page.keyboard.press("Tab")
            await expect(button).to_be_focused()
            assert await button.evaluate("(it) => getComputedStyle(it).outlineStyle") == "solid"
            await page.keyboard.press("Enter")
            await expect(button).to_have_attribute("aria-expanded", "true")
            dialog = page.get_by_role("dialog", name="Teppiche")
            box = dialog.get_by_role("textbox", name="Nachricht schreiben")
            await expect(box).to_be_focused()
            chat.script(Answer(["Guten ", "Tag"], gate))
            await page.keyboard.type("Hallo")
            await page.keyboard.press("Enter")
            bubbles = dialog.get_by_role("log").locator(".bubble")
            await expect(bubbles).to_have_text(["Hallo"])
            look = (
                "(it) => ['fontSize', 'textTransform', 'borderStyle', 'opacity'].map((at) => getComputedStyle(it)[at])"
            )
            assert await bubbles.first.evaluate(look) == ["16px", "none", "none", "1"]
            assert await hexed(page, ".user", "backgroundColor") == "#ffd700"
            assert await hexed(page, ".user p", "color") == "#000000"
            for target in await dialog.get_by_role("button").all():
                size = await target.bounding_box()
                assert size and min(size["width"], size["height"]) >= 44
            await page.keyboard.press("Escape")
            await expect(dialog).to_be_hidden()
            await expect(button).to_be_focused()
            gate.release()
            gate.release()
            await expect(button).to_have_accessible_name("Chat öffnen (1)")
            await expect(page.locator(".chat b")).to_have_text("1")
            await page.keyboard.press("Enter")
            await expect(bubbles).to_have_text(["Hallo", "Guten Tag"])
            await expect(page.locator(".chat b")).to_be_hidden()
            after = await heading.evaluate(
                "(h1) => JSON.stringify([getComputedStyle(h1).cssText, h1.getBoundingClientRect()])"
            )
            assert after == before
            await page.reload()  # it is open again, and has not taken the focus
            await expect(bubbles).to_have_text(["Hallo", "Guten Tag"])
            assert await page.evaluate("document.activeElement === document.body")


async def test_it_reads_from_right_to_left_and_covers_a_telephone(opened: Open) -> None:
    """In the page's language and direction, mirrored; each message in its own. On a telephone the page beneath is out
    of reach and nothing is wider than the screen; dark where the page wants it."""
    async with chat_server() as chat:
        page_text = LOUD.format(url=chat.url, lang="ar", dir="rtl", attributes='data-theme="dark" data-greeting="أهلا"')
        async with site(page_text) as url, opened(url, width=360, height=640, has_touch=True, is_mobile=True) as page:
            button = page.get_by_role("button", name="فتح المحادثة")
            place = await button.bounding_box()
            assert place and place["x"] < 180
            await button.tap()
            dialog = page.get_by_role("dialog", name="محادثة")
            assert await dialog.bounding_box() == {"x": 0, "y": 0, "width": 360, "height": 640}
            await expect(dialog.get_by_text("أهلا")).to_be_visible()
            await expect(dialog).to_be_focused()  # the keyboard is not up yet
            for _ in range(12):
                await page.keyboard.press("Tab")
                assert not await page.evaluate("document.activeElement?.textContent === 'Buy'")
            chat.script(Answer(["مرحبا:\n\n- **واحد**\n\nAnd in English.\n\n```\n" + "long " * 50 + "\n```"]))
            box = dialog.get_by_placeholder("اكتب رسالة")
            await box.fill("Hello there")
            await dialog.get_by_role("button", name="إرسال").tap()
            bubbles = dialog.get_by_role("log").locator(".bubble")
            await expect(bubbles).to_have_count(2)
            sides = await bubbles.evaluate_all("all => all.map((each) => Math.round(each.getBoundingClientRect().x))")
            assert sides[0] == 16 and sides[1] > 16  # one's own at the left
            directions = await bubbles.evaluate_all(
                "all => all.map((each) => [...each.children].map((part) => getComputedStyle(part).direction))"
            )
            assert directions == [["ltr"], ["rtl", "rtl", "ltr", "ltr"]]
            assert not await page.locator(".words").evaluate("(it) => it.scrollWidth > it.clientWidth")
            assert contrast(await hexed(page, ".words p", "color"), await hexed(page, "dialog", "backgroundColor")) > 7
            await dialog.get_by_role("button", name="إغلاق المحادثة").tap()
            await expect(dialog).to_be_hidden()


async def test_what_is_read_is_not_scrolled_away(opened: Open) -> None:
    """Who is at the end sees what comes; who has gone back stays where they are, and returns with what they write."""
    gate = asyncio.Semaphore(0)
    lines = "\n\n".join(f"Line {n}" for n in range(40))
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True, height=500) as page:
        chat.script(Answer([lines, "\n\nMore", "\n\nLast"], gate))
        await write(page, "Go")
        words = page.locator(".words")
        left = "(it) => it.scrollHeight - it.scrollTop - it.clientHeight"
        gate.release()
        await expect(words.get_by_text("Line 39")).to_be_in_viewport()
        await words.evaluate("(it) => { it.scrollTop = 100; }")
        gate.release()
        gate.release()
        await expect(said(page)).to_have_count(2)
        assert await words.evaluate("(it) => it.scrollTop") == 100
        await write(page, "Next")
        await expect(words.get_by_text("You wrote: Next")).to_be_in_viewport()
        assert await words.evaluate(left) < 2


async def test_a_browser_that_keeps_nothing_chats_all_the_same(opened: Open) -> None:
    """Storage that is forbidden, or holds what is not ours, costs the memory of the visitor only."""
    broken = (
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    strange = "localStorage.setItem('relay-chat:default', '{\"outbox\": ');"
    async with chat_server() as chat, opened("about:blank", own=True) as page:
        for script in (strange, broken):
            await page.add_init_script(f"if (location.protocol === 'http:') {{ {script} }}")
            await page.goto(f"{chat.url}/chat")
            await write(page, "Hello")
            await expect(said(page)).to_have_text(["Hello", "You wrote: Hello"])
