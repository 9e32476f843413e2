"""One browser for all tests of pages, each with a profile of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.chromium import FLAGS, MISSING, executable

PATIENCE = 10_000  # ms for what a page is to show: the machine is busy

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


@pytest.fixture
def opened(browser: Browser) -> Open:
    """Opens a page with a profile of its own: ``async with opened(url, width=390) as page``. What the browser has to
    complain of (a script's error, a breach of the policy) fails the test at the end; answers of 4xx and 5xx do not."""

    @asynccontextmanager
    async def opened(
        url: str, *, width: int = 1280, height: int = 800, dark: bool = False, **more: Any
    ) -> AsyncIterator[Page]:
        complaints: list[str] = []
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **more,
        )
        try:
            context.set_default_timeout(PATIENCE)
            page = await context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda said: (
                    complaints.append(said.text)
                    if said.type in ("error", "warning") and not said.text.startswith("Failed to load resource")
                    else None
                ),
            )
            await page.goto(url)
            yield page
            assert complaints == []
        finally:
            await context.close()

    return opened
