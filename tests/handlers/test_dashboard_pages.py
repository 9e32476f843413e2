"""How the dashboard's pages and what they load are served."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from handlers.dashboard_access import Access
from handlers.dashboard_pages import FOLDER, PAGES, Pages
from handlers.hardening import harden

MOST = 100_000
"""Bytes of a whole page, with all it loads, before anything is packed."""

Client = TestClient[web.Request, web.Application]


def size_of_assets() -> int:
    return sum(file.stat().st_size for file in FOLDER.iterdir() if file.suffix != ".html")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    Pages(Access("", None)).add_routes(app)
    harden(app, public=False)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_what_a_page_loads_may_be_kept_for_good(client: Client) -> None:
    """Its path names its content, so browsers need not ask again; an older path gets what there is, for once."""
    page = await (await client.get("/dashboard")).text()
    paths = re.findall(r'(?:src|href)="(/dashboard/assets/[^"]+)"', page)
    assert len(paths) >= 4
    for path in paths:
        answer = await client.get(path)
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        older = await client.get(re.sub("assets/[^/]+", "assets/0123", path))
        assert older.headers["Cache-Control"] == "no-store"
        assert await older.read() == await answer.read()
    assert (await client.get("/dashboard/assets/0123/live.html")).status == 404


async def test_a_page_that_did_not_change_is_not_sent_again(client: Client) -> None:
    """A browser that shows the tag it has gets no body."""
    answer = await client.get("/dashboard/calls")
    assert answer.headers["Cache-Control"] == "private, no-cache"
    again = await client.get("/dashboard/calls", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get("/dashboard", headers={"If-None-Match": answer.headers["ETag"]})
    assert other.status == 200


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_pages_are_packed_for_who_unpacks_them(client: Client, coding: str) -> None:
    """And only then; what arrives is the same."""
    answer = await client.get("/dashboard", headers={"Accept-Encoding": coding})
    assert answer.headers.get("Content-Encoding", "identity") == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "<main" in await answer.text()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_small_and_keeps_to_the_policy(client: Client, path: str) -> None:
    """Nothing is inline, nothing is loaded from elsewhere, and all of it is under 100 kB unpacked."""
    text = await (await client.get(path.replace("{", "").replace("}", ""))).text()
    assert "{{" not in text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|https?://", text)
    assert len(text.encode()) + size_of_assets() < MOST


def luminance(colour: str) -> float:
    """Of #rgb or #rrggbb, as WCAG 2.2 defines it."""
    digits = colour.removeprefix("#")
    pairs = [digit * 2 for digit in digits] if len(digits) == 3 else [digits[at : at + 2] for at in (0, 2, 4)]
    parts = [int(pair, 16) / 255 for pair in pairs]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def themes() -> list[dict[str, str]]:
    """The colours by their names, of each block that sets them."""
    blocks = re.findall(r"\{[^{}]*--page:[^{}]*\}", (FOLDER / "style.css").read_text())
    return [dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+);", block)) for block in blocks]


def test_both_ways_to_the_dark_have_the_same_colours() -> None:
    """Light, dark by the system, and dark by choice."""
    light, system, chosen = themes()
    assert system == chosen
    assert light.keys() == system.keys()


@pytest.mark.parametrize("theme", themes()[:2], ids=["light", "dark"])
def test_colours_are_told_from_what_they_are_on(theme: dict[str, str]) -> None:
    """Text has the contrast of WCAG's level AA (4.5), lines and bars that of what is no text (3)."""
    grounds = [theme[name] for name in ("page", "card", "field", "track", "hover")]
    for name in ("ink", "soft", "accent", "good", "bad", "warn"):
        assert min(contrast(theme[name], ground) for ground in grounds) >= 4.5, name
    assert contrast(theme["card"], theme["accent"]) >= 4.5  # the chosen range, the main button
    for name in ("queue", "history", "request", "model", "holdback", "send", "p50", "p95", "p99", "tool", "speech"):
        assert min(contrast(theme[name], theme[ground]) for ground in ("card", "track")) >= 3, name
