"""Real chats in a real browser: the whole application, with its store, and a model that says what it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect
from yarl import URL

from phone.model import ModelServer, Reply
from relay.store.client import connect
from tests.browser.chatting import said, write
from tests.browser.conftest import Open
from tests.fakes.chat_server import site
from tests.running import running, write_agent

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_chat_outlives_its_page_and_its_server(opened: Open, redis_url: str, tmp_path: Path) -> None:
    """What was said is there when the page is loaded again, and when the server is another one; what was written while
    there was none is answered once. The chat goes from window to window. Another site's page chats where CHAT_ORIGINS
    names it, and only there."""
    client = connect(redis_url)
    await client.flushall()
    await client.aclose()
    agents = write_agent(tmp_path / "agents")

    def house(*replies: Reply, **more: Any) -> Any:
        model = ModelServer()
        model.script(*replies)
        return running(redis_url, tmp_path / "data", agents=agents, model=model, **more)

    first = Reply(["The ", "sky ", "is **bl", "ue**."])
    async with (
        opened("about:blank", own=True) as page,
        opened("about:blank", own=True, forgiven="Access to fetch") as elsewhere,
    ):
        async with house(first, Reply(["It ", "is."])) as relay:
            await page.goto(f"{relay.url}/chat")
            await write(page, "What colour is the sky?")
            whole = ["What colour is the sky?", "The sky is blue."]
            await expect(said(page)).to_have_text(whole)
            await expect(said(page).last.locator("strong")).to_have_text("blue")
            await page.reload()
            await expect(said(page)).to_have_text(whole)
            await write(page, "Is it?")
            whole += ["Is it?", "It is."]
            await expect(said(page)).to_have_text(whole)
            other = await page.context.new_page()
            await other.goto(page.url)
            await expect(said(other)).to_have_text(whole)
            await page.get_by_role("button", name="Continue here").click()
            await expect(other.get_by_text("The chat is open elsewhere.")).to_be_visible()
            await other.close()
            embedding = f'<!doctype html><html lang="en"><script src="{relay.url}/chat/widget.js" async></script>'
            port = URL(relay.url).port
        await write(page, "Are you back?")
        await expect(page.locator(".waiting")).to_have_text(["Are you back?"])

        async with site(embedding) as shop, house(Reply(["Yes."]), port=port) as relay:
            await expect(said(page)).to_have_text([*whole, "Are you back?", "Yes."])
            await elsewhere.goto(shop)
            await elsewhere.get_by_role("button", name="Open chat").click()
            await write(elsewhere, "May I?")
            await expect(elsewhere.get_by_text("Connecting…")).to_be_visible()
            await expect(elsewhere.locator(".waiting")).to_have_text(["May I?"])
            asked = [each.body["messages"][-1]["content"] for each in relay.model.requests if each.body]
            assert asked == ["Are you back?"]

        async with (
            site(embedding) as shop,
            house(Reply(["You may."]), port=port, environ={"CHAT_ORIGINS": shop.rstrip("/")}),
        ):
            await elsewhere.goto(shop)
            await elsewhere.get_by_role("button", name="Open chat").click()
            await write(elsewhere, "May I?")
            await expect(said(elsewhere)).to_have_text(["May I?", "You may."])
