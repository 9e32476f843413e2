"""A real call, watched in a real browser: the whole application, with its store, and a caller on the line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from phone.caller import FAST, Caller
from phone.model import Reply
from relay.store.client import connect
from tests.browser.conftest import Open
from tests.running import Running, running, write_agent

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def house(redis_url: str, folder: Path, **environ: str) -> AsyncIterator[Running]:
    """The application over an empty store."""
    client = connect(redis_url)
    await client.flushall()
    await client.aclose()
    async with running(redis_url, folder / "data", agents=write_agent(folder / "agents"), environ=environ) as relay:
        yield relay


async def shows(page: Page, where: str, what: str) -> None:
    """The page shows it, which asks again at once: its timers need not be waited for. ``what``: a pattern."""
    async with asyncio.timeout(10.0):
        while not re.search(what, " ".join(await page.locator(where).all_inner_texts())):
            await page.clock.fast_forward(5000)
            await asyncio.sleep(0.02)


async def test_a_call_is_watched_and_acted_upon(opened: Open, redis_url: str, tmp_path: Path) -> None:
    """It is in the list while it runs; its page follows what is said, the live page counts it and leads to its
    turn, what an operator orders is heard by the caller, and the end is told."""
    async with (
        house(redis_url, tmp_path, DASHBOARD_SHOW_WORDS="1") as relay,
        opened(f"{relay.url}/dashboard/calls", lasting=True) as page,
    ):
        await expect(page.locator("#list")).to_contain_text("None yet.")
        await page.clock.install()
        relay.model.script(Reply(["The ", "sky ", "is ", "blue."]))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await page.get_by_role("button", name="Search").click()
            await shows(page, "tbody tr", "live")
            await page.locator("tbody a").first.click()
            await expect(page).to_have_url(f"{relay.url}/dashboard/calls/{call.record.call_sid}")
            await shows(page, "#words", re.escape("Hello from the test."))
            await call.say("What colour is the sky?")
            assert await call.reply() == "The sky is blue."
            await shows(page, "#words", r"What colour is the sky\?(.|\n)*The sky is blue\.")
            await shows(page, "article.turn .first-words", r"\d m?s$")
            await page.get_by_role("link", name="Live").click()
            await shows(page, "#calls", "^1$")
            await shows(page, "#first-50", r"\d m?s$")
            await page.locator("#slowest a").first.click()
            await expect(page).to_have_url(f"{relay.url}/dashboard/calls/{call.record.call_sid}#turn-1")
            await page.get_by_label("Speak a line").fill("This is Ada, of the house.")
            await page.keyboard.press("Enter")
            await call.until(lambda: "This is Ada, of the house." in call.record.turns[-1].heard)
            await expect(page.locator("#orders")).to_contain_text("To be spoken: This is Ada, of the house.")
            await shows(page, "#words", re.escape("This is Ada, of the house."))
            await page.get_by_role("button", name="Hang up").click()
            await page.locator("#sure-yes").click()
            await call.ended()
        await shows(page, "#turns", "The session was over after")
        await expect(page.locator("#live")).to_be_hidden()


async def test_words_are_masked_where_they_are_not_to_be_shown(opened: Open, redis_url: str, tmp_path: Path) -> None:
    """By default no word of a call and no number reaches the browser."""
    async with house(redis_url, tmp_path) as relay:
        relay.model.script(Reply(["The ", "sky ", "is ", "blue."]))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("What colour is the sky?")
            await call.reply()
            path = f"/dashboard/calls/{call.record.call_sid}"
            async with opened(relay.url + path) as page:
                await expect(page.locator("#words")).to_contain_text("••• ••• •• •••••")
                await expect(page.locator(".masked")).to_be_visible()
                whole = await page.content()
            await call.hang_up()
    assert "sky" not in whole and "5555550100" not in whole
