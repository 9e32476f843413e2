"""The figures over HTTP: who may have them, for which times, and how often they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from handlers.dashboard_access import Access
from handlers.signatures import PublicAddress
from handlers.summary import Summary
from relay.errors import StoreError

SUMMARY = "/dashboard/api/summary"
TOKEN = {"Authorization": "Bearer secret"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Counts how often it was read, and for how many minutes; fails while it is ``away``."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.away = False

    async def __call__(self, minutes: int) -> dict[str, Any]:
        self.read.append(minutes)
        await asyncio.sleep(0)
        if self.away:
            raise StoreError("Redis: TimeoutError")
        return {"minutes": minutes, "read": len(self.read)}


@asynccontextmanager
async def looking(
    store: Store, clock: Clock | None = None, token: str = "secret"
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    access = Access(token, PublicAddress.parse("https://relay.example.com"), client=lambda request: "192.0.2.1")
    app = web.Application()
    Summary(access, store, clock=clock or Clock()).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_who_may_look() -> None:
    """Who brings the dashboard's token; without one it is closed, and nothing is read for others."""
    store = Store()
    async with looking(store) as client:
        assert (await client.get(SUMMARY)).status == 401
        assert (await client.get(SUMMARY, headers={"Authorization": "Bearer secre"})).status == 401
        assert store.read == []
        assert (await client.get(SUMMARY, headers=TOKEN)).status == 200
    async with looking(store, token="") as client:
        response = await client.get(SUMMARY, headers=TOKEN)
        assert (response.status, await response.read()) == (404, b"")


@pytest.mark.parametrize(("query", "minutes"), [("", 15), ("?minutes=1", 1), ("?minutes=1440", 1440)])
async def test_times(query: str, minutes: int) -> None:
    """Fifteen minutes, or as many as were asked for, up to a day."""
    async with looking(Store()) as client:
        response = await client.get(SUMMARY + query, headers=TOKEN)
        assert (await response.json())["minutes"] == minutes
        assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("given", ["0", "1441", "-5", "1.5", "ten", "", "٣", "00015", "9" * 500, "15 "])
async def test_times_that_are_none(given: str) -> None:
    """400 that says what would be one, and nothing is read."""
    store = Store()
    async with looking(store) as client:
        response = await client.get(SUMMARY, params={"minutes": given}, headers=TOKEN)
        assert response.status == 400
        assert await response.json() == {"code": "bad_minutes", "message": "minutes is a whole number from 1 to 1440."}
    assert store.read == []


async def test_many_browsers_cost_as_much_as_one() -> None:
    """Within a second the same minutes are read once, whoever asks; other minutes, and a second later, once more."""
    store, clock = Store(), Clock()
    async with looking(store, clock) as client:
        answers = await asyncio.gather(*(client.get(SUMMARY, headers=TOKEN) for _ in range(10)))
        assert [await each.json() for each in answers] == [{"minutes": 15, "read": 1}] * 10
        clock.now += 0.9
        await client.get(f"{SUMMARY}?minutes=15", headers=TOKEN)
        assert store.read == [15]
        await client.get(f"{SUMMARY}?minutes=60", headers=TOKEN)
        clock.now += 0.2
        await client.get(SUMMARY, headers=TOKEN)
        assert store.read == [15, 60, 15]


async def test_an_outage_is_asked_about_once_a_second() -> None:
    """503 for all who ask meanwhile; when Redis is back they are answered."""
    store, clock = Store(), Clock()
    store.away = True
    async with looking(store, clock) as client:
        answers = await asyncio.gather(*(client.get(SUMMARY, headers=TOKEN) for _ in range(5)))
        assert [each.status for each in answers] == [503] * 5
        assert (await answers[0].json())["code"] == "store_away"
        assert store.read == [15]
        store.away = False
        clock.now += 1.1
        assert (await client.get(SUMMARY, headers=TOKEN)).status == 200
