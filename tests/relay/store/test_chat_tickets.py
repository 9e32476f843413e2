"""Tickets to the live chat: used once, for a minute, and of no use to who reads the store."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.chat_tickets import LIVES, MOST, ChatTickets, tickets_key
from relay.store.client import connect
from relay.visitors import Visitors

ANN, BOB = (Visitors([b"k" * 32]).admit(None) for _ in range(2))


class Clock:
    """Seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_ticket_opens_once(redis: Redis) -> None:
    """In whichever process; another ticket of the same visitor is another one."""
    tickets = ChatTickets(redis)
    ticket, other = await tickets.issue(ANN), await tickets.issue(ANN)
    assert await ChatTickets(redis).redeem(ticket) == ANN
    assert await tickets.redeem(ticket) is None
    assert await tickets.redeem(other) == ANN


async def test_of_many_who_come_at_once_one_is_first(redis: Redis) -> None:
    """Nobody gets in twice by being quick."""
    ticket = await ChatTickets(redis).issue(ANN)
    found = await asyncio.gather(*(ChatTickets(redis).redeem(ticket) for _ in range(20)))
    assert sorted(found, key=str) == [None] * 19 + [ANN]


async def test_a_ticket_reads_the_history_as_long_as_it_lives(redis: Redis) -> None:
    """Again and again, before it has opened a socket and after."""
    clock = Clock()
    tickets = ChatTickets(redis, now=clock)
    ticket = await tickets.issue(ANN)
    assert await tickets.reader(ticket) == ANN
    await tickets.redeem(ticket)
    assert [await tickets.reader(ticket), await tickets.reader(ticket)] == [ANN, ANN]
    clock.now += LIVES
    assert await tickets.reader(ticket) is None


async def test_a_ticket_expires(redis: Redis) -> None:
    """After a minute nobody comes in with it, and nothing is left of it."""
    clock = Clock()
    tickets = ChatTickets(redis, now=clock)
    ticket = await tickets.issue(ANN)
    assert 0 < await redis.pttl(tickets_key(ANN)) <= LIVES * 1000
    clock.now += LIVES - 1
    late = await tickets.issue(ANN)
    clock.now += 1
    assert (await tickets.redeem(ticket), await tickets.redeem(late)) == (None, ANN)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "x", "ANN", "ANN.", "ANN." + "A" * 43, "}{." + "A" * 43, "ANN\n." + "A" * 43),
        "\ud800." + "A" * 43,
        "a" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
async def test_what_is_no_ticket(redis: Redis, text: str) -> None:
    """It opens nothing and reads nothing, whatever it looks like; also with the name of a visitor who has one."""
    await ChatTickets(redis).issue(ANN)
    text = text.replace("ANN", ANN)
    assert await ChatTickets(redis).redeem(text) is None
    assert await ChatTickets(redis).reader(text) is None


async def test_a_ticket_is_its_visitors(redis: Redis) -> None:
    """Under another's name it is none."""
    tickets = ChatTickets(redis)
    ticket = await tickets.issue(ANN)
    await tickets.issue(BOB)
    forged = ticket.replace(ANN, BOB)
    assert (await tickets.redeem(forged), await tickets.reader(forged)) == (None, None)
    assert await tickets.redeem(ticket) == ANN


async def test_what_is_stored_is_no_ticket(redis: Redis) -> None:
    """Whoever reads the store cannot come in with what stands there."""
    ticket = await ChatTickets(redis).issue(ANN)
    for member in await redis.zrange(tickets_key(ANN), 0, -1):
        assert ticket.partition(".")[2].encode() not in member


async def test_a_visitor_has_only_so_many(redis: Redis) -> None:
    """The oldest is given up first; other visitors keep theirs."""
    clock = Clock()
    tickets = ChatTickets(redis, now=clock)
    others = await tickets.issue(BOB)
    first = await tickets.issue(ANN)
    for _ in range(MOST):
        clock.now += 0.1
        last = await tickets.issue(ANN)
    assert await redis.zcard(tickets_key(ANN)) == 2 * MOST
    assert [await tickets.redeem(ticket) for ticket in (first, last, others)] == [None, ANN, BOB]


async def test_forgetting_a_visitor(redis: Redis) -> None:
    """By the id they have as a person; their tickets are none from then on."""
    tickets = ChatTickets(redis)
    ticket = await tickets.issue(ANN)
    await tickets.issue(BOB)
    assert [await tickets.forget(person) for person in (f"phone:{ANN}", f"chat:{ANN}", f"chat:{ANN}")] == [0, 1, 0]
    assert await tickets.redeem(ticket) is None
    assert [key.decode() for key in await redis.keys()] == [tickets_key(BOB)]


async def test_without_redis_nobody_comes_in() -> None:
    """It fails as everything of the store does, and lets nobody in."""
    away = connect("unix:///nonexistent/redis.sock")
    tickets = ChatTickets(away)
    ticket = f"{ANN}." + "A" * 43
    for ask in (tickets.issue(ANN), tickets.redeem(ticket), tickets.reader(ticket)):
        with pytest.raises(StoreError):
            await ask
    await away.aclose()
