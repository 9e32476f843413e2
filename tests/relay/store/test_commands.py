"""Orders reach the process that holds a conversation, and its answer comes back or is known to be missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.commands import Commands, channel_of
from relay.store.history import History
from relay.store.subscription import Subscription

Order = tuple[str, str, Mapping[str, Any]]


class Process:
    """One that takes orders: ``result`` is what it answers, ``orders`` what it was asked for."""

    def __init__(self, redis: Redis, worker: str, *, within: float = 1.0) -> None:
        self.result: str | None = ""
        self.orders: list[Order] = []
        self.subscription = Subscription(redis)
        self.commands = Commands(redis, worker, self.subscription, self._carry_out, within=within)

    def _carry_out(self, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None:
        self.orders.append((conversation, action, fields))
        return self.result


@asynccontextmanager
async def two(redis: Redis, *, within: float = 1.0) -> AsyncIterator[tuple[Process, Process]]:
    """Processes ``a`` and ``b`` that listen."""
    processes = Process(redis, "a", within=within), Process(redis, "b")
    for each in processes:
        listens = asyncio.Event()
        each.subscription.watch(lambda listening, listens=listens: listens.set())
        each.subscription.start()
        await asyncio.wait_for(listens.wait(), 20)
    yield processes
    for each in processes:
        await each.subscription.close()
        await each.commands.close()


@pytest.mark.parametrize("result", ["", "ending", None])
async def test_another_process_carries_it_out_and_answers(redis: Redis, result: str | None) -> None:
    """Its answer is told as it is; nobody else is asked."""
    async with two(redis) as (a, b):
        b.result = result
        assert await a.commands.ask("b", "CA1", "say", {"text": "Hello"}) == result
        assert b.orders == [("CA1", "say", {"text": "Hello"})] and a.orders == []


async def test_many_at_once_each_get_their_own_answer(redis: Redis) -> None:
    """Answers are told apart whatever their order."""
    async with two(redis) as (a, b):

        async def ask(number: int) -> None:
            await a.commands.ask("b", f"CA{number}", "hangup", {})

        await asyncio.gather(*map(ask, range(20)))
        assert sorted(order[0] for order in b.orders) == sorted(f"CA{number}" for number in range(20))


async def test_a_process_that_is_gone_does_not_answer(redis: Redis) -> None:
    """That is known after the deadline."""
    async with two(redis, within=0.05) as (a, _):
        with pytest.raises(StoreError):
            await a.commands.ask("c", "CA1", "hangup", {})


async def test_an_answer_that_comes_too_late_is_nobodys(redis: Redis) -> None:
    """It changes nothing of the next."""
    async with two(redis) as (a, _):
        await redis.publish(channel_of("a"), b'{"v": 1, "answer": "old", "result": "ending"}')
        assert await a.commands.ask("b", "CA1", "hangup", {}) == ""


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b'{"v": 1}',
        b'{"v": 1, "request": 7, "from": "a", "conversation": "CA1", "action": "say", "fields": {}}',
        b'{"v": 1, "request": "x", "from": "a", "conversation": "CA1", "action": "say", "fields": []}',
        b'{"v": 2, "request": "x", "from": "a", "conversation": "CA1", "action": "say", "fields": {}}',
        b'{"v": 1, "answer": "x", "result": 3}',
    ],
)
async def test_what_cannot_be_read_is_left_alone(redis: Redis, message: bytes) -> None:
    """It is another release's; the next order is carried out, and the log has none of it."""
    async with two(redis) as (a, b):
        with capture_logs() as records:
            await redis.publish(channel_of("b"), message)
            assert await a.commands.ask("b", "CA1", "hangup", {}) == ""
        assert len(b.orders) == 1
        assert [record["log_level"] for record in records] == ["warning"]


async def test_the_holder_is_the_process_whose_session_is_open(redis: Redis) -> None:
    """Nobody has a conversation that is over, or that there never was."""
    history, commands = History(redis, 60), Process(redis, "a").commands

    async def hold(epoch: int, **state: str) -> None:
        await history.put("CA1", epoch, [], state)

    assert await commands.holder("CA1") == ""
    await hold(100, worker="b")
    assert await commands.holder("CA1") == "b"
    await hold(100, left="100")
    assert await commands.holder("CA1") == ""
    await hold(200, worker="c")
    assert await commands.holder("CA1") == "c"
