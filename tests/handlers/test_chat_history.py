"""What a page is told of its visitor's chat: all that was said, to nobody else, and where the frames go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from handlers.chat_history import HISTORY, MOST, ChatHistory
from relay.chats import Chats, Done
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem
from relay.store.archive import Archive
from relay.store.chat_log import ChatLog
from relay.store.chat_tickets import ChatTickets
from relay.store.client import connect
from relay.store.history import History
from relay.store.leases import Leases
from relay.visitors import Visitors

ANN, BOB = (Visitors([b"k" * 32]).admit(None) for _ in range(2))
PAGE, STRANGER = "https://shop.example.com", "https://elsewhere.example.com"


class Desk:
    """Chats that Ann has with two agents, and who asks for them."""

    def __init__(self, redis: Redis, client: TestClient[web.Request, web.Application]) -> None:
        self.tickets = ChatTickets(redis)
        self.log = ChatLog(redis, ttl=60, window=0.001)
        self.chats = Chats("chat", History(redis, 60, window=0.0), Leases(redis), Archive(redis, ttl=60), ttl=60)
        self.current = {(ANN, "desk"): "chat-1", (ANN, "spa"): "chat-2"}
        self._client = client

    async def conversation_of(self, visitor: str, agent: str) -> str:
        return self.current.get((visitor, agent), "")

    async def turn(self, number: int, *, conversation: str = "chat-1") -> None:
        """A turn of two frames, written and put."""
        async with self.chats.turn(conversation, create=True, wait=1) as turn:
            seq = await self.log.begin(conversation)
            self.log.add(conversation, seq + 1, b'{"type":"delta"}')
            items = [
                UserItem(f"Question {number}"),
                ToolItem("call", "look", '{"secret":1}', "{}"),
                NoteItem("a note"),
                AssistantItem(f"Answer {number}"),
            ]
            await turn.put(Done(items, agent="desk", person=f"chat:{ANN}", key=f"key-{number}", turn=f"t{number}"))
            self.log.add(conversation, seq + 2, b'{"type":"done"}', ends=True)
            await self.log.flush(conversation)

    async def asks(self, visitor: str = ANN, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        ticket = await self.tickets.issue(visitor)
        return await self.gets(query, **{"Authorization": f"Bearer {ticket}", **headers})

    async def gets(self, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        response = await self._client.get(HISTORY + query, headers=headers)
        return response.status, await response.json()


@pytest.fixture
async def house(redis: Redis) -> AsyncIterator[Desk]:
    app = web.Application()
    client = TestClient(TestServer(app))
    made = Desk(redis, client)
    history = ChatHistory(
        made.tickets,
        made.conversation_of,
        made.chats,
        made.log,
        agent="desk",
        admits_page=lambda request: request.headers["Origin"] == PAGE,
    )
    app.router.add_get(HISTORY, history.show)
    made.log.start()
    async with client:
        yield made
    await made.log.close(2)


async def test_all_that_was_said(house: Desk) -> None:
    """By the visitor and to them, turn by turn; nothing of tools."""
    await house.turn(1)
    await house.turn(2)
    assert await house.asks() == (
        200,
        {
            "conversation": "chat-1",
            "seq": 4,
            "messages": [
                {"role": "user", "text": "Question 1", "turn": "t1"},
                {"role": "assistant", "text": "Answer 1", "turn": "t1"},
                {"role": "user", "text": "Question 2", "turn": "t2"},
                {"role": "assistant", "text": "Answer 2", "turn": "t2"},
            ],
        },
    )


async def test_the_frames_go_on_where_the_history_ends(house: Desk) -> None:
    """A turn that is under way is not in it: all of its frames are behind its number."""
    await house.turn(1)
    seq = await house.log.begin("chat-1")
    for number in (1, 2, 3):
        house.log.add("chat-1", seq + number, b'{"type":"delta"}')
    status, told = await house.asks()
    assert (status, told["seq"], len(told["messages"])) == (200, 2, 2)
    assert await house.log.since("chat-1", told["seq"]) == [(number, b'{"type":"delta"}') for number in (3, 4, 5)]


async def test_each_agent_has_its_own(house: Desk) -> None:
    """As the page names it; with one that nobody has, nothing was said."""
    await house.turn(1)
    await house.turn(9, conversation="chat-2")
    assert [message["turn"] for message in (await house.asks(query="?agent=spa"))[1]["messages"]] == ["t9", "t9"]
    assert [message["turn"] for message in (await house.asks(query="?agent="))[1]["messages"]] == ["t1", "t1"]
    assert await house.asks(query="?agent=nobody") == (200, {"conversation": "", "seq": 0, "messages": []})


async def test_a_chat_in_which_nothing_was_said(house: Desk) -> None:
    """It is there, and empty; so is somebody's who has none."""
    assert await house.asks() == (200, {"conversation": "chat-1", "seq": 0, "messages": []})
    assert await house.asks(BOB) == (200, {"conversation": "", "seq": 0, "messages": []})


async def test_a_conversation_of_another_channel_is_not_shown(house: Desk, redis: Redis) -> None:
    """Whatever a visitor's name leads to."""
    await house.turn(1)
    await redis.hset("conversation:{chat-1}:state", "channel", "voice")
    assert (await house.asks())[1]["messages"] == []


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer x", f"Bearer {ANN}." + "A" * 43, f"Basic {ANN}", "Bearer \udcff"],
    ids=["nothing", "no ticket", "no ticket of ours", "made up", "not a bearer", "not ASCII"],
)
async def test_without_a_ticket_nothing_is_told(house: Desk, given: str) -> None:
    """Nor is it with one that was made up."""
    await house.turn(1)
    status, told = await house.gets(**({"Authorization": given} if given else {}))
    assert (status, told["code"]) == (401, "unauthorized")


async def test_a_ticket_that_has_opened_the_socket_reads(house: Desk) -> None:
    """A socket is told to load the history while it is open."""
    await house.turn(1)
    ticket = await house.tickets.issue(ANN)
    await house.tickets.redeem(ticket)
    for scheme in ("Bearer", "bearer"):
        assert (await house.gets(Authorization=f"{scheme} {ticket}"))[0] == 200


async def test_pages_of_other_sites_are_refused(house: Desk) -> None:
    """With a ticket too; who sends no Origin is no page of another site."""
    assert (await house.asks(Origin=PAGE))[0] == 200
    status, told = await house.asks(Origin=STRANGER)
    assert (status, told["code"]) == (403, "origin")


async def test_a_long_chat_is_told_from_its_latest_messages_on(house: Desk) -> None:
    """A page gets no more than it can show."""
    async with house.chats.turn("chat-1", create=True, wait=1) as turn:
        items = [each for number in range(MOST) for each in (UserItem(f"q{number}"), AssistantItem(f"a{number}"))]
        await turn.put(Done(items, agent="desk", person=f"chat:{ANN}"))
    _, told = await house.asks()
    assert len(told["messages"]) == MOST
    assert told["messages"][-1] == {"role": "assistant", "text": f"a{MOST - 1}"}


async def test_without_redis(house: Desk) -> None:
    """The page is told to come again."""
    away = connect("unix:///nonexistent/redis.sock")
    history = ChatHistory(
        ChatTickets(away), house.conversation_of, house.chats, house.log, agent="desk", admits_page=lambda request: True
    )
    app = web.Application()
    app.router.add_get(HISTORY, history.show)
    async with TestClient(TestServer(app)) as client:
        response = await client.get(HISTORY, headers={"Authorization": f"Bearer {ANN}." + "A" * 43})
        assert (response.status, (await response.json())["code"]) == (503, "store_away")
        assert response.headers["Retry-After"] == "1"
    await away.aclose()
