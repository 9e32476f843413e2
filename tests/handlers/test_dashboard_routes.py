"""What is below /dashboard, and what is not: of the whole application, open and closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis
from yarl import URL

from relay.store.history import state_key
from relay.store.trace import hash_key
from tests.running import Running, running, write_agent

TOKEN = "nobody-would-think-of-this-0x7f"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {"PUBLIC_URL": "https://relay.example", "HOST": "127.0.0.1", "RATE_PER_MINUTE": "0"}


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    environ = {"DASHBOARD_TOKEN": TOKEN}
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay:
        yield relay


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5.0)) as http:
        yield http


async def test_what_is_closed_looks_absent(
    redis: Redis, redis_url: str, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Public and without secrets: every route of the dashboard, and what is none, by every method, is the same 404; so
    are the metrics to others than this machine."""
    agents, told = write_agent(tmp_path / "agents"), {"X-Forwarded-For": "203.0.113.7"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=PUBLIC) as relay:
        paths = {resource.canonical for resource in relay.app.router.resources()}
        closed = {path for path in paths if path.startswith("/dashboard")} | {"/metrics", "/voice/outbound"}
        assert len(closed) > 12
        for path in closed | {"/dashboard/", "/dashboard/none", "/dashboard/api", "/dashboard/api/none"}:
            for method in METHODS:
                async with http.request(method, f"{relay.url}{path}", headers={**told, **BEARER}) as answer:
                    assert (answer.status, await answer.text()) == (404, ""), (method, path)
                    assert "Allow" not in answer.headers


@pytest.mark.parametrize(("method", "path", "status", "allow"), [
    ("GET", "/dashboard/api", 404, None),
    ("GET", "/dashboard/api/none", 404, None),
    ("POST", "/dashboard/api/conversations/CA1/sing", 404, None),
    ("POST", "/dashboard/api/summary", 405, "GET, HEAD"),
    ("GET", "/dashboard/api/conversations/CA1/say", 405, "POST"),
    ("POST", "/dashboard/events", 405, "GET, HEAD"),
    ("OPTIONS", "/dashboard/login", 405, "GET, HEAD, POST"),
    ("DELETE", "/dashboard/calls/CA1", 405, "GET, HEAD"),
    ("POST", "/dashboard", 405, "GET, HEAD"),
    ("GET", "/dashboard/none", 404, None),
])  # fmt: skip
async def test_what_is_none_of_ours(
    relay: Running, http: aiohttp.ClientSession, method: str, path: str, status: int, allow: str | None
) -> None:
    """A path that there is not, or not by this method, is told as all errors are; to who is admitted."""
    async with http.request(method, relay.url + path, headers=BEARER) as answer:
        code = {404: "not_found", 405: "method_not_allowed"}[status]
        assert (answer.status, answer.headers.get("Allow")) == (status, allow)
        told = await answer.json()
        assert (told.keys(), told["code"]) == ({"code", "message"}, code)
    async with http.request(method, relay.url + path) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")


async def test_a_last_slash_is_no_other_page(relay: Running, http: aiohttp.ClientSession) -> None:
    """Who types one is led to the page."""
    for path, to in {
        "/dashboard/": "/dashboard",
        "/dashboard/calls/?agent=a%20b": "/dashboard/calls?agent=a%20b",
        "/dashboard/calls/a%2Fb/": "/dashboard/calls/a%2Fb",
    }.items():
        async with http.get(URL(relay.url + path, encoded=True), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, to)


async def test_the_page_of_what_there_is_not(relay: Running, http: aiohttp.ClientSession, redis: Redis) -> None:
    """It is the page, which tells so, with 404 as its status; of what there is the same with 200."""
    await redis.hset(state_key("CA1"), mapping={"epoch": 1, "person": "voice:+15550100200"})
    await redis.set(hash_key("a" * 24), "CA1")
    for path, status in {
        "/dashboard/calls/CA1": 200,
        "/dashboard/calls/CA2": 404,
        "/dashboard/agents/default": 200,
        "/dashboard/agents/nobody": 404,
        f"/dashboard/people/{'a' * 24}": 200,
        f"/dashboard/people/{'b' * 24}": 404,
        "/dashboard/people/me": 404,
    }.items():
        async with http.get(relay.url + path, headers=BEARER) as answer:
            assert (answer.status, "<main" in await answer.text()) == (status, True), path
            etag = answer.headers["ETag"]
        async with http.get(relay.url + path, headers={**BEARER, "If-None-Match": etag}) as answer:
            assert answer.status == (304 if status == 200 else 404)


async def test_the_head_of_the_events_is_no_stream(relay: Running, http: aiohttp.ClientSession) -> None:
    """It is answered at once, with what a stream begins with."""
    async with http.head(f"{relay.url}/dashboard/events", headers=BEARER) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "text/event-stream", b"")


@pytest.mark.parametrize("outcome", ["lively", "LIVE", "completed,ended"])
async def test_an_outcome_that_there_is_not(relay: Running, http: aiohttp.ClientSession, outcome: str) -> None:
    """The answer names those there are: a search for none of them would find nothing for ever."""
    url = f"{relay.url}/dashboard/api/conversations"
    async with http.get(url, params={"outcome": outcome}, headers=BEARER) as answer:
        told = await answer.json()
        assert (answer.status, told["code"]) == (400, "bad_outcome")
    for known in ("live", "completed", "ended", "transferred", "voicemail", "failed", "lost"):
        assert known in told["message"]
        async with http.get(url, params={"outcome": known}, headers=BEARER) as answer:
            assert answer.status == 200
    for name in ("channel", "agent"):  # there may have been such a one
        async with http.get(url, params={name: "none"}, headers=BEARER) as answer:
            assert (answer.status, (await answer.json())["conversations"]) == (200, [])
