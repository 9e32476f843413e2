"""Who may open a live chat: pages of our own and of the sites that are named, and programs that bring the token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from phone.model import Reply
from relay.live.frames import Auth, dump
from tests.chats.house import AGENT
from tests.chats.visitor import close_code, socket, ticket, visiting
from tests.running import Running, running, write_agent

OWN, SHOP, STRANGER = "https://relay.example.com", "https://shop.example.com:8443", "https://evil.example.com"
TOKEN = "t" * 24


@asynccontextmanager
async def public(redis_url: str, tmp_path: Path, **environ: str) -> AsyncIterator[Running]:
    """With PUBLIC_URL, another site that may chat, and a token for programs; or with other settings."""
    agents = write_agent(tmp_path / "agents", AGENT)
    settings = {"PUBLIC_URL": f"{OWN}/prefix", "CHAT_ORIGINS": SHOP, "API_TOKEN": TOKEN, **environ}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=settings) as app:
        yield app


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with public(redis_url, tmp_path) as app:
        yield app


async def answers(relay: Running, headers: Mapping[str, str]) -> tuple[int, int]:
    """How the ticket's route and the socket's answer; 101: it is opened."""
    async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", json={}, headers=headers) as told:
        first = told.status
    try:
        async with socket(relay.url, additional_headers=headers):
            return first, 101
    except InvalidStatus as refused:
        return first, refused.response.status_code


BEARER = {"Authorization": f"Bearer {TOKEN}"}


PUBLIC: list[tuple[dict[str, str], tuple[int, int]]] = [
    ({"Origin": OWN}, (200, 101)),
    ({"Origin": SHOP}, (200, 101)),
    (BEARER, (200, 101)),
    ({"Origin": OWN, **BEARER}, (200, 101)),
    ({}, (403, 403)),
    ({"Origin": STRANGER}, (403, 403)),
    ({"Origin": "null"}, (403, 403)),
    ({"Origin": ""}, (403, 403)),
    ({"Origin": OWN + "/prefix"}, (403, 403)),
    ({"Origin": OWN.replace("https", "http")}, (403, 403)),
    ({"Origin": "https://shop.example.com"}, (403, 403)),
    ({"Origin": OWN + ".evil.example.com"}, (403, 403)),
    ({"Origin": "http://127.0.0.1:8080"}, (403, 403)),
    ({"Origin": STRANGER, **BEARER}, (403, 403)),
    ({"Authorization": "Bearer wrong"}, (401, 401)),
    ({"Origin": OWN, "Authorization": "Bearer wrong"}, (401, 401)),
]


async def test_who_is_let_in(relay: Running) -> None:
    """An origin is compared whole; a program says it is none, and brings the token."""
    assert [(headers, await answers(relay, headers)) for headers, _ in PUBLIC] == PUBLIC


async def test_two_origins_are_none(relay: Running) -> None:
    """Whatever stands in between us and a browser does not choose for us."""
    two = [("Origin", OWN), ("Origin", STRANGER)]
    async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", json={}, headers=two) as told:
        assert told.status == 403


async def test_without_a_token_no_program_is_let_in(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Nothing is open because a setting is missing."""
    async with public(redis_url, tmp_path, API_TOKEN="") as relay:
        for headers in ({}, {"Authorization": "Bearer "}, BEARER, {"Origin": OWN, **BEARER}):
            assert await answers(relay, headers) == (403, 403)
        assert await answers(relay, {"Origin": OWN}) == (200, 101)


DEVELOPMENT: list[tuple[dict[str, str], tuple[int, int]]] = [
    ({}, (200, 101)),
    (BEARER, (200, 101)),
    ({"Origin": STRANGER, **BEARER}, (403, 403)),
    ({"Origin": "http://HOST"}, (200, 101)),
    ({"Origin": "http://localhost:3000"}, (200, 101)),
    ({"Origin": "http://localhost:3001"}, (403, 403)),
    ({"Origin": "null"}, (403, 403)),
    ({"Origin": "https://HOST"}, (403, 403)),
    ({"X-Forwarded-For": "203.0.113.5"}, (403, 403)),
    ({"Origin": "http://localhost:3000", "X-Forwarded-For": "203.0.113.5"}, (403, 403)),
    ({"Host": "rebound.example.com"}, (403, 403)),
    ({"Host": "rebound.example.com", "Origin": "http://rebound.example.com"}, (403, 403)),
    ({"Host": "abc.ngrok.app", "Origin": "http://localhost:3000"}, (403, 403)),
]


async def test_development_mode_is_for_one_machine(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Its programs, its own pages and those named: by a browser that asks for this machine, and through no tunnel."""
    environ = {"CHAT_ORIGINS": "http://localhost:3000"}
    agents = write_agent(tmp_path / "agents", AGENT)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay, ClientSession() as http:
        found = []
        for headers, _ in DEVELOPMENT:
            sent = {name: value.replace("HOST", relay.url.removeprefix("http://")) for name, value in headers.items()}
            async with (
                http.post(f"{relay.url}/chat/ticket", json={}, headers=sent) as told,
                http.get(f"{relay.url}/chat/ws", headers={**upgrade, **sent}) as opened,
            ):
                found.append((headers, (told.status, opened.status)))
    assert found == DEVELOPMENT


async def test_pages_of_other_sites_may_read_the_answers(relay: Running) -> None:
    """Those that are named, and no others; a preflight tells what they may send."""
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with ClientSession() as http:
        for path, method, headers in (
            ("/chat/ticket", "POST", "Content-Type, Authorization"),
            ("/chat/history", "GET", "Authorization"),
        ):
            async with http.options(relay.url + path, headers={"Origin": SHOP, **wanted}) as told:
                assert told.status == 204
                assert told.headers["Access-Control-Allow-Origin"] == SHOP
                assert told.headers["Access-Control-Allow-Methods"] == method
                assert told.headers["Access-Control-Allow-Headers"] == headers
                assert "Origin" in told.headers["Vary"]
            async with http.options(relay.url + path, headers={"Origin": STRANGER, **wanted}) as told:
                assert told.status == 403 and "Access-Control-Allow-Origin" not in told.headers
        for body, status in (({"visitor": None}, 200), ({"visitor": 5}, 400)):
            async with http.post(f"{relay.url}/chat/ticket", json=body, headers={"Origin": SHOP}) as told:
                assert told.status == status and told.headers["Access-Control-Allow-Origin"] == SHOP
                assert "Access-Control-Allow-Credentials" not in told.headers
        async with http.get(f"{relay.url}/chat/history", headers={"Origin": SHOP}) as told:
            assert told.status == 401 and told.headers["Access-Control-Allow-Origin"] == SHOP
        async with http.get(f"{relay.url}/health/live", headers={"Origin": SHOP}) as told:
            assert "Access-Control-Allow-Origin" not in told.headers


async def test_strangers_are_counted(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Tickets and sockets are requests like any other; a page can read that there were too many. Who brings the token
    is never refused."""
    async with public(redis_url, tmp_path, RATE_PER_MINUTE="2") as relay:
        assert await answers(relay, {"Origin": SHOP}) == (200, 101)
        asking = {"json": {}, "headers": {"Origin": SHOP}}
        async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", **asking) as told:
            assert told.status == 429 and told.headers["Access-Control-Allow-Origin"] == SHOP
        assert await answers(relay, {"Origin": SHOP}) == (429, 429)
        assert await answers(relay, BEARER) == (200, 101)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"data": "{"}, 415, "not_json"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, 400, "bad_json"),
        ({"json": []}, 400, "bad_json"),
        ({"json": {"visitor": ["v"]}}, 400, "bad_visitor"),
        ({"json": {"visitor": "v" * 20_000}}, 413, "too_large"),
    ],
)
async def test_what_is_no_wish_for_a_ticket(relay: Running, options: dict[str, Any], status: int, code: str) -> None:
    """Is told so, as JSON."""
    options = {**options, "headers": {**options.get("headers", {}), **BEARER}}
    async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", **options) as told:
        assert (told.status, (await told.json())["code"]) == (status, code)


async def test_a_visitor_is_one_of_ours(relay: Running) -> None:
    """Nobody names another's: whose name is not signed by us is somebody new."""
    first = await ticket(relay.url, **BEARER)
    assert (await ticket(relay.url, first["visitor"], **BEARER))["visitor"] == first["visitor"]
    for made_up in ("", "v_1", first["visitor"][:-1], first["visitor"] + "x"):
        assert (await ticket(relay.url, made_up, **BEARER))["visitor"] not in (made_up, first["visitor"])


async def test_without_a_body_it_is_somebody_new(relay: Running) -> None:
    """Whatever it would have been."""
    for headers in (BEARER, BEARER | {"Content-Type": "application/json"}):
        async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", headers=headers) as told:
            assert told.status == 200 and {*await told.json()} == {"ticket", "visitor"}


async def test_a_ticket_is_good_for_one_socket(relay: Running) -> None:
    """A used one, one of nobody's and anything else but a ticket close with 4401."""
    given = (await ticket(relay.url, **BEARER))["ticket"]
    auth = dump(Auth(given)).decode()
    async with socket(relay.url, additional_headers=BEARER) as ws:
        await ws.send(auth)
        assert '"ready"' in str(await ws.recv())
    for first in (auth, auth.replace(given, given + "x"), '{"type": "ping"}', "hello"):
        async with socket(relay.url, additional_headers=BEARER) as ws:
            await ws.send(first)
            assert await close_code(ws) == 4401


async def test_an_unknown_agent_is_not_found(relay: Running) -> None:
    """Before the upgrade, and only for who is let in."""
    for headers, status in ((BEARER, 404), ({"Origin": STRANGER}, 403)):
        with pytest.raises(InvalidStatus) as refused:
            await socket(relay.url, "nobody", additional_headers=headers)
        assert refused.value.response.status_code == status


async def test_what_is_no_websocket_is_told_so(relay: Running) -> None:
    """Nothing is upgraded that did not ask for it."""
    async with ClientSession() as http, http.get(f"{relay.url}/chat/ws", headers=BEARER) as told:
        assert told.status == 426


async def test_history_is_read_with_a_ticket(relay: Running) -> None:
    """As long as it lives, the one the socket was opened with too."""
    relay.model.script(Reply("Hello."))
    given = await ticket(relay.url, **BEARER)
    async with visiting(relay.url, given["visitor"], headers=BEARER, additional_headers=BEARER) as ada:
        done = await ada.ask("Hi")
    asking = {"Authorization": f"Bearer {given['ticket']}"}
    async with ClientSession() as http, http.get(f"{relay.url}/chat/history", headers=asking) as told:
        assert await told.json() == {
            "conversation": ada.conversation,
            "seq": done["seq"],
            "messages": [
                {"role": "user", "text": "Hi", "turn": done["turn"]},
                {"role": "assistant", "text": "Hello.", "turn": done["turn"]},
            ],
        }
