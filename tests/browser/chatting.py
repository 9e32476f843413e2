"""What a visitor does with the live chat, and sees of it."""

from __future__ import annotations

from playwright.async_api import Locator, Page


async def write(page: Page, text: str) -> None:
    await page.get_by_placeholder("Write a message").fill(text)
    await page.keyboard.press("Enter")


def said(page: Page) -> Locator:
    """What both sides have said, as far as it is over."""
    return page.get_by_role("log").locator("> *")


def shown(page: Page) -> Locator:
    """The same, and what is still being said."""
    return page.locator(".words > div > .bubble")
