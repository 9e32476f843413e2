"""One browser and one tab for all tests of pages, as good as new for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.browser.chromium import FLAGS, MISSING, executable

NO_ANSWER = "Failed to load resource"
PATIENCE = 10_000  # ms for what a page is to show: the machine is busy

expect.set_options(timeout=PATIENCE)

Open = Callable[..., AbstractAsyncContextManager[Page]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = executable()
    if path is None:
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


class Tab:
    """A page that each test gets without cookies, without anything of the one before. What the browser has to complain
    of (a script's error, a breach of the policy) is kept; answers of 4xx and 5xx are no complaint."""

    def __init__(self, browser: Browser, **more: Any) -> None:
        self._browser = browser
        self._more = more
        self._page: Page | None = None
        self.complaints: list[str] = []

    async def page(self, width: int, height: int, *, dark: bool) -> Page:
        if self._page is None:
            context = await self._browser.new_context(reduced_motion="reduce", **self._more)
            context.set_default_timeout(PATIENCE)
            self._page = await context.new_page()
            self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
            self._page.on("console", self._said)
        self.complaints.clear()
        await self._page.set_viewport_size({"width": width, "height": height})
        await self._page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        return self._page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NO_ANSWER):
            self.complaints.append(message.text)

    async def left(self) -> None:
        """The page is over: its streams end."""
        assert self._page is not None
        await self._page.evaluate("localStorage.clear()")
        await self._page.goto("about:blank")
        await self._page.context.clear_cookies()

    async def close(self) -> None:
        """There may be anything in it; the next test gets another one."""
        if self._page is not None:
            page, self._page = self._page, None
            await page.context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    tab = Tab(browser)
    yield tab
    await tab.close()


@pytest.fixture
def opened(browser: Browser, tab: Tab) -> Open:
    """Opens a page: ``async with opened(url, width=390) as page``. Complaints fail the test at the end, but for those
    that begin with ``forgiven``. ``lasting``: what the test does to the page cannot be undone. ``own``: a profile of
    its own, with ``more`` of Playwright's options for one."""

    @asynccontextmanager
    async def opened(
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        lasting: bool = False,
        forgiven: str = NO_ANSWER,
        own: bool = False,
        **more: Any,
    ) -> AsyncIterator[Page]:
        alone = own or bool(more)
        used = Tab(browser, **more) if alone else tab
        page = await used.page(width, height, dark=dark)
        try:
            await page.goto(url)
            yield page
            assert [said for said in used.complaints if not said.startswith(forgiven)] == []
            await (used.close() if lasting or alone else used.left())
        except BaseException:
            await used.close()
            raise

    return opened
