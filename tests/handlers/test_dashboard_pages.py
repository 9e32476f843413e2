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
