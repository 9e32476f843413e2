"""A day's tokens as a process knows them: what it has spent itself, at once, and what others have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.budget import Budget
from relay.errors import StoreError
from relay.store.client import connect
from relay.store.spending import EVERYBODY, Spending
from tests.relay.store.servers import FragileRedis

ANN, BOB = "phone:+15551234567", "phone:+15557654321"
DAY = 86400.0
NOON = 1_782_907_200.0  # 2026-07-01 12:00 UTC
TODAY = "2026-07-01"


@asynccontextmanager
async def budget(redis: Redis, **options: Any) -> AsyncIterator[Budget]:
    """One process' budget, written as soon as something is told."""
    budget = Budget(Spending(redis), **({"pace": 0.01, "now": lambda: NOON} | options))
    budget.start()
    yield budget
    await budget.close(1.0)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what it waits for happens behind the calls
            await asyncio.sleep(0.005)


async def in_redis(redis: Redis, who: str, tokens: int) -> None:
    """The store holds this."""
    async with asyncio.timeout(20):
        while await Spending(redis).read(TODAY, who) != tokens:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_budget_is_used_up_at_once() -> None:
    """By the request that reaches it, without Redis having been asked; another person has a budget of their own."""
    budget = Budget(per_person=100, per_day=150, now=lambda: NOON)
    ann, bob = budget.of(ANN), budget.of(BOB)
    ann.spend(99)
    assert ann.over() == ""
    ann.spend(1)
    assert (ann.over(), bob.over()) == ("budget_person", "")
    bob.spend(50)
    assert (ann.over(), bob.over()) == ("budget_day", "budget_day")


async def test_no_budget_is_never_used_up() -> None:
    """Where none is set nothing is counted."""
    budget = Budget()
    budget.of(ANN).spend(10**12)
    assert budget.of(ANN).over() == "" and not budget.of(ANN).limited


async def test_a_day_begins_anew() -> None:
    """At midnight UTC, which is also when a caller is told to come again."""
    now = [NOON]
    budget = Budget(per_person=10, now=lambda: now[0])
    budget.spend(ANN, 10)
    assert budget.until_tomorrow == DAY / 2
    now[0] += DAY / 2 - 1
    assert budget.over(ANN) == "budget_person"
    now[0] += 1
    assert budget.over(ANN) == ""


async def test_what_others_spend_is_learnt(redis: Redis) -> None:
    """With a look, and with the answer to each addition."""
    async with budget(redis, per_person=100, per_day=1000) as here, budget(redis, per_person=100) as there:
        there.spend(ANN, 60)
        await in_redis(redis, ANN, 60)
        assert here.over(ANN) == ""
        here.spend(ANN, 40)
        await until(lambda: here.over(ANN) == "budget_person")
        assert there.over(ANN) == ""
        await there.look(ANN)
        assert there.over(ANN) == "budget_person"
        assert await Spending(redis).read(TODAY, EVERYBODY) == 40, "only one of the two counts the day"


async def test_nothing_is_written_for_budgets_that_are_not_set(redis: Redis) -> None:
    """Neither people nor the day, each unless it has a budget."""
    async with budget(redis, per_day=1000) as here:
        here.spend(ANN, 60)
        await in_redis(redis, EVERYBODY, 60)
    async with budget(redis) as here:
        here.spend(ANN, 60)
        await here.look(ANN)
    assert await redis.keys("*") == [b"{tokens}:all"]


async def test_what_is_left_is_written_at_the_end(redis: Redis) -> None:
    """A process that leaves has told everything."""
    async with budget(redis, per_person=100, pace=60.0) as here:
        here.spend(ANN, 1)
        await in_redis(redis, ANN, 1)
        here.spend(ANN, 2)
        here.spend(BOB, 3)
    assert [await Spending(redis).read(TODAY, who) for who in (ANN, BOB)] == [3, 3]


async def test_many_requests_are_one_addition(redis: Redis) -> None:
    """Within the pace: a busy process writes a count once."""
    async with budget(redis, per_person=10**9, pace=60.0) as here:
        for _ in range(1000):
            here.spend(ANN, 1)
        await in_redis(redis, ANN, 1000)
    (number,) = [value for name, value in (await redis.hgetall(f"person:{{{ANN}}}:tokens")).items() if b"by:" in name]
    assert number == b"1"


class Unsure(Spending):
    """A store that does what it is asked and then fails to say so, the first few times."""

    def __init__(self, redis: Redis, failures: int) -> None:
        super().__init__(redis)
        self.failures = failures

    async def add(self, day: str, person: str, tokens: int, *, process: str, number: int) -> int:
        total = await super().add(day, person, tokens, process=process, number=number)
        if self.failures:
            self.failures -= 1
            raise StoreError("no answer")
        return total


async def test_an_answer_that_is_lost_counts_nothing_twice(redis: Redis) -> None:
    """The same addition is made again until it is known to have arrived, what came meanwhile after it."""
    here = Budget(Unsure(redis, 3), per_person=1000, pace=0.01, now=lambda: NOON)
    here.start()
    here.spend(ANN, 5)
    await in_redis(redis, ANN, 5)
    here.spend(ANN, 7)
    await in_redis(redis, ANN, 12)
    await here.close(1.0)
    assert await Spending(redis).read(TODAY, ANN) == 12


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[tuple[FragileRedis, Redis]]:
    server = FragileRedis(tmp_path)
    client = connect(server.url)
    yield server, client
    await client.aclose()
    server.stop()


async def test_redis_comes_back(fragile: tuple[FragileRedis, Redis]) -> None:
    """While it is away the budget is the process' own, said once; what was spent arrives when it is there again."""
    server, client = fragile
    with capture_logs() as logs:
        async with budget(client, per_person=100) as here:
            for _ in range(20):
                here.spend(ANN, 5)
                await asyncio.sleep(0.01)
            assert here.over(ANN) == "budget_person"
            with pytest.raises(StoreError):
                await here.look(BOB)
            assert here.over(BOB) == ""
            server.start()
            await in_redis(client, ANN, 100)
    assert [entry["event"] for entry in logs] == ["tokens wait for Redis"]
    assert ANN not in str(logs)


async def test_memory_is_bounded_while_redis_is_away() -> None:
    """Of more people than may be remembered the one silent for longest is lost, which is said without a name; the
    day's count is not."""
    nobody = connect("unix:///nonexistent/redis.sock")
    here = Budget(Spending(nobody), per_person=100, per_day=100_000, most=10, now=lambda: NOON)
    with capture_logs() as logs:
        for number in range(1000):
            here.spend(f"phone:+1555{number:07}", 100)
    assert len(here._counts) == 10 and len(here._dirty) == 10
    assert here.over("phone:+15550000999") == "budget_day"
    assert {entry["event"] for entry in logs} == {"tokens not counted: too much waits for Redis"}
    assert "+1555" not in str(logs)
    await nobody.aclose()
