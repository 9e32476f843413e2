"""What an operator may order, and what the answer tells; how calls follow is in ``tests/calls/test_operator.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from handlers.dashboard_access import Access
from handlers.operating import LONGEST_LINE, MEANINGS, REASON, SUMMARY, OperatorRoutes, carry_out
from relay.errors import StoreError
from relay.events import Order, SayLine
from relay.operator import Refusal
from relay.toolbox import EndCall, SwitchAgent, Transfer

Asked = tuple[str, str, str, Mapping[str, Any]]


class House:
    """Calls of this process, CA1, and of another one, CA2; each answers ``refusal``."""

    def __init__(self) -> None:
        self.refusal: Refusal = ""
        self.orders: list[Order] = []
        self.asked: list[Asked] = []
        self.holders = {"CA2": "there", "CA3": "here"}
        self.away = False

    def operate(self, conversation: str, order: Order) -> Refusal | None:
        if conversation != "CA1":
            return None
        self.orders.append(order)
        return self.refusal

    async def holder(self, conversation: str) -> str:
        if self.away:
            raise StoreError("away")
        return self.holders.get(conversation, "")

    async def ask(self, worker: str, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None:
        self.asked.append((worker, conversation, action, fields))
        return self.refusal


@asynccontextmanager
async def operator(house: House, token: str = "") -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    OperatorRoutes(Access(token, None), "here", house.operate, house).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(
    client: TestClient[web.Request, web.Application], path: str, json: Any = None, **options: Any
) -> tuple[int, Any]:
    sent = {"json": {} if json is None else json} | options
    async with client.post(f"/dashboard/api/conversations/{path}", **sent) as answer:
        raw = await answer.read()
        return answer.status, await answer.json() if raw and answer.content_type == "application/json" else raw


@pytest.mark.parametrize(
    ("path", "fields", "order"),
    [
        ("CA1/say", {"text": " The pool\n is  closed. "}, SayLine("The pool is closed.")),
        ("CA1/say", {"text": "x" * LONGEST_LINE}, SayLine("x" * LONGEST_LINE)),
        ("CA1/say", {"text": "Größe: 你好"}, SayLine("Größe: 你好")),
        ("CA1/agent", {"agent": "bar"}, SwitchAgent("bar")),
        ("CA1/transfer", {}, Transfer(REASON, SUMMARY)),
        ("CA1/transfer", {"reason": "complaint"}, Transfer("complaint", SUMMARY)),
        ("CA1/hangup", {}, EndCall()),
    ],
)
async def test_what_is_ordered(path: str, fields: dict[str, str], order: Order) -> None:
    """The call gets it, and that is what the answer says."""
    house = House()
    async with operator(house) as client:
        assert await post(client, path, fields) == (202, {"delivered": True})
    assert house.orders == [order] and house.asked == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("CA1/say", {}, 422, "bad_text"),
        ("CA1/say", {"text": ""}, 422, "bad_text"),
        ("CA1/say", {"text": " \n"}, 422, "bad_text"),
        ("CA1/say", {"text": "x" * (LONGEST_LINE + 1)}, 422, "bad_text"),
        ("CA1/say", {"text": "Hello\x1b[2J"}, 422, "bad_text"),
        ("CA1/say", {"text": "\ud800"}, 400, "bad_json"),
        ("CA1/say", {"text": 7}, 400, "bad_field"),
        ("CA1/say", {"text": None}, 400, "bad_field"),
        ("CA1/say", {"text": "Hello", "voice": "x"}, 400, "unknown_field"),
        ("CA1/say", [], 400, "bad_json"),
        ("CA1/agent", {}, 422, "bad_text"),
        ("CA1/agent", {"agent": ["bar"]}, 400, "bad_field"),
        ("CA1/transfer", {"reason": "x" * 101}, 422, "bad_text"),
        ("CA1/transfer", {"to": "+15550100200"}, 400, "unknown_field"),
        ("CA1/hangup", {"now": True}, 400, "unknown_field"),
    ],
)
async def test_what_cannot_be_ordered(path: str, body: object, status: int, code: str) -> None:
    """Nothing reaches the call."""
    house = House()
    async with operator(house) as client:
        found, told = await post(client, path, body)
    assert (found, told["code"]) == (status, code) and house.orders == []


@pytest.mark.parametrize("refusal", MEANINGS)
@pytest.mark.parametrize("conversation", ["CA1", "CA2"])
async def test_why_a_call_refuses(conversation: str, refusal: Refusal) -> None:
    """Whichever process has it."""
    house = House()
    house.refusal = refusal
    async with operator(house) as client:
        assert await post(client, f"{conversation}/hangup") == (409, {"code": refusal, "message": MEANINGS[refusal]})


@pytest.mark.parametrize(("path", "status"), [("CA1/hangup", 202), ("CA1/transfer", 202), ("CA1/say", 422)])
async def test_an_order_without_a_body(path: str, status: int) -> None:
    """Is one without fields."""
    house = House()
    async with operator(house) as client, client.post(f"/dashboard/api/conversations/{path}") as answer:
        assert answer.status == status
    assert len(house.orders) == (status == 202)


async def test_a_call_of_another_process() -> None:
    """Is asked for by the name of its process, with the fields as they came."""
    house = House()
    async with operator(house) as client:
        assert (await post(client, "CA2/say", {"text": "Hello"}))[0] == 202
    assert house.asked == [("there", "CA2", "say", {"text": "Hello"})]


@pytest.mark.parametrize("conversation", ["CA3", "CA4", "x" * 129, "a%20b"])
async def test_a_call_that_is_not_live(conversation: str) -> None:
    """It has ended, or there never was one of that name."""
    house = House()
    async with operator(house) as client:
        status, told = await post(client, f"{conversation}/hangup")
    assert (status, told["code"]) == (404, "not_live") and house.asked == []


async def test_while_redis_is_away() -> None:
    """Calls of this process are reached all the same; of others it is said that nobody answers."""
    house = House()
    house.away = True
    async with operator(house) as client:
        assert (await post(client, "CA1/hangup"))[0] == 202
        status, told = await post(client, "CA2/hangup")
    assert (status, told["code"]) == (503, "no_answer")


async def test_only_who_is_admitted_orders() -> None:
    """The token is looked at before the body, and there is no other way in."""
    house = House()
    async with operator(house, "t0ken") as client:
        assert (await post(client, "CA1/hangup"))[0] == 401
        assert (await post(client, "CA1/say", [], headers={"Authorization": "Bearer no"}))[0] == 401
        assert (await post(client, "CA1/hangup", headers={"Authorization": "Bearer t0ken"}))[0] == 202
        async with client.get("/dashboard/api/conversations/CA1/hangup") as answer:
            assert answer.status == 405
        assert (await post(client, "CA1/reboot"))[0] == 404
    assert house.orders == [EndCall()]


@pytest.mark.parametrize(
    ("action", "fields", "result"),
    [
        ("say", {"text": "Hello"}, ""),
        ("say", {"text": "x" * (LONGEST_LINE + 1)}, "bad_text"),
        ("say", {"text": "Hello", "voice": "x"}, "unknown_field"),
        ("reboot", {}, "unknown_action"),
    ],
)
def test_what_another_process_asks_for_is_checked_too(action: str, fields: dict[str, str], result: str) -> None:
    """It may be of another release."""
    house = House()
    assert carry_out(house.operate, "CA1", action, fields) == result
    assert len(house.orders) == (not result)
    assert carry_out(house.operate, "CA2", "hangup", {}) is None
