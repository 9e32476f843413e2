"""How the live chat's page and its script are served, and what the script is made of."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from config.agents import load_agents
from config.values import CHECKOUT
from handlers.chat_pages import LANGUAGES, ChatPages, spoken
from handlers.chat_script import FOLDER, PARTS, script
from handlers.hardening import CORP, harden
from tests.handlers.test_dashboard_pages import contrast

MOST = 20_000
"""Bytes of the script, as it is when it is not packed."""

Client = TestClient[web.Request, web.Application]

AGENTS = load_agents(CHECKOUT / "config" / "agents")


async def nothing() -> None:
    """Agents do not change here."""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    ChatPages(AGENTS, "restaurant", fresh=nothing).add_routes(app)
    harden(app, public=False)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_script_may_be_loaded_by_any_page(client: Client) -> None:
    """It is small, other sites may embed it, and browsers that have it are not sent it again."""
    answer = await client.get("/chat/widget.js", headers={"Accept-Encoding": "identity"})
    assert answer.content_type == "text/javascript"
    assert len(await answer.read()) < MOST
    assert answer.headers[CORP] == "cross-origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    again = await client.get("/chat/widget.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    packed = await client.get("/chat/widget.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert await packed.read() == await answer.read()


async def test_the_page_has_the_chat_and_a_policy_of_its_own(client: Client) -> None:
    """With the agent that is asked for; no other site frames it, nothing is inline, no script makes markup of text."""
    answer = await client.get("/chat?agent=default")
    text = await answer.text()
    assert 'data-agent="default"' in text and "<title>Welcome desk</title>" in text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|https?://|\$", text)
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert answer.headers[CORP] == "same-origin"
    assert 'data-agent="restaurant"' in await (await client.get("/chat")).text()
    assert (await client.get("/chat/page.css")).status == 200
    for name in ("nobody", "../default"):
        assert (await client.get("/chat", params={"agent": name})).status == 404


async def test_the_page_is_in_the_language_of_the_browser(client: Client) -> None:
    """As far as the widget speaks it, and from right to left where that is so."""
    answer = await client.get("/chat", headers={"Accept-Language": "ar-EG, en;q=0.5"})
    assert '<html lang="ar" dir="rtl">' in await answer.text()
    assert answer.headers["Vary"] == "Accept-Language, Accept-Encoding"
    assert '<html lang="en" dir="ltr">' in await (await client.get("/chat")).text()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("pt-BR, FR ;q=0.7", "fr"),
        ("*", "en"),
        (",;-", "en"),
        ("est", "en"),
    ],
)
def test_a_language_is_chosen(accepted: str, language: str) -> None:
    """The first one that the widget speaks, else English."""
    assert spoken(accepted) == language


def source(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def test_every_language_has_every_text() -> None:
    """One of each name, and none empty."""
    text = source("texts.js")
    names = re.search(r'"([a-z ]+)"\.split', text)
    languages = dict(re.findall(r"  ([a-z]{2}): `([^`]+)`", text))
    assert names and tuple(languages) == LANGUAGES
    for language, texts in languages.items():
        assert len(texts.split("\n")) == len(names[1].split()), language
        assert all(each == each.strip() != "" for each in texts.split("\n")), language


def test_the_script_never_parses_markup() -> None:
    """Nothing in it could, whatever an answer says; and nothing is renamed on the way to the browser."""
    served = script().decode()
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert name not in served
    words = re.findall(r"\w+", re.sub(r"(?m)(?<!:)//.*$", "", "".join(source(f"{name}.js") for name in PARTS)))
    assert [word for word in words if word not in served] == []
    assert "//" not in re.sub(r"\"[^\"]*\"|`[^`]*`|/(?:\\.|[^/])+/g", "", served)


def colours() -> dict[str, tuple[str, str]]:
    """The light one and the dark one, by the name of both."""
    found = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", source("widget.css"))
    return {name: (light, dark) for name, light, dark in found}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_are_told_from_what_they_are_on(theme: int) -> None:
    """Text has the contrast of WCAG's level AA (4.5)."""
    of = {name: pair[theme] for name, pair in colours().items()}
    for ink in ("ink", "soft", "link", "bad"):
        for ground in ("card", "other"):
            if (ink, ground) != ("bad", "other"):  # a failure is told beside the bubbles
                assert contrast(of[ink], of[ground]) >= 4.5, (ink, ground)
    accent = re.search(r"--accent: (#\w+)", source("widget.css"))
    assert accent and contrast("#ffffff", accent[1]) >= 4.5
