"""Whose turn it is in a text conversation: order, lives, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError, TurnTimeout, UnknownConversation
from relay.store.client import connect
from relay.store.history import state_key
from relay.store.leases import MOST_WAITING, Leases, lease_key
from tests.relay.store.servers import FragileRedis

QUICK = (0.005, 0.02)


@pytest.fixture
async def leases(redis: Redis) -> Leases:
    await redis.hset(state_key("c"), mapping={"channel": "chat", "epoch": "5"})
    return Leases(redis, polls=QUICK)


@pytest.fixture
async def elsewhere(redis_url: str) -> AsyncIterator[Leases]:
    """Another process."""
    client = connect(redis_url)
    yield Leases(client, polls=QUICK)
    await client.aclose()


async def test_turns_follow_in_the_order_they_came(leases: Leases, elsewhere: Leases, redis: Redis) -> None:
    """Whichever process each is in, one at a time, each with a newer epoch; nothing is left behind them."""
    order: list[tuple[int, int]] = []
    inside = 0

    async def turn(number: int, where: Leases) -> None:
        nonlocal inside
        async with where.hold("c", "chat", create=False, wait=10) as lease:
            inside += 1
            assert inside == 1 and lease.exists
            order.append((number, lease.epoch))
            # Whoever has it knows those that wait.
            await asyncio.sleep(0.002)
            inside -= 1

    async def first_waits() -> None:
        async with asyncio.timeout(20):
            while not any(key.startswith(b"w:") for key in await redis.hkeys(lease_key("c"))):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async with leases.hold("c", "chat", create=False, wait=1):
        waiting = [asyncio.create_task(turn(0, elsewhere))]
        await first_waits()
        # Those of one process wait in it: of each only the first asks.
        waiting += [asyncio.create_task(turn(number, leases if number % 2 else elsewhere)) for number in range(1, 6)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert [number for number, _ in order if number % 2] == [1, 3, 5]
    assert [number for number, _ in order if not number % 2] == [0, 2, 4]
    assert order[0][0] == 0
    epochs = [epoch for _, epoch in order]
    assert epochs == sorted(epochs) and epochs[0] > 5
    assert not await redis.exists(lease_key("c"))
    assert len(leases) == len(elsewhere) == 0


async def test_an_epoch_is_newer_than_the_last_whatever_clocks_say(leases: Leases, redis: Redis) -> None:
    """A turn of a process whose clock is ahead is followed by a newer one all the same."""
    await redis.hset(state_key("c"), "epoch", "99999999999999")
    async with leases.hold("c", "chat", create=False, wait=1) as lease:
        assert lease.epoch == 100000000000000


async def test_conversations_of_other_channels_and_none_at_all(leases: Leases, redis: Redis) -> None:
    """They are unknown, and asking leaves nothing; a new one exists with its first turn only."""
    for conversation, channel in (("c", "debate"), ("new", "chat")):
        with pytest.raises(UnknownConversation):
            async with leases.hold(conversation, channel, create=False, wait=1):
                pass
    with pytest.raises(UnknownConversation):
        async with leases.hold("c", "debate", create=True, wait=1):
            pass
    async with leases.hold("new", "chat", create=True, wait=1) as lease:
        assert not lease.exists
    for key in (lease_key("c"), lease_key("new"), state_key("new")):
        assert not await redis.exists(key)


async def test_who_has_waited_too_long_goes_without(leases: Leases, elsewhere: Leases, redis: Redis) -> None:
    """And is in nobody's way."""
    async with leases.hold("c", "chat", create=False, wait=1):
        for where in (leases, elsewhere):
            with pytest.raises(TurnTimeout):
                async with where.hold("c", "chat", create=False, wait=0.05):
                    pass
        assert set(await redis.hkeys(lease_key("c"))) <= {b"holder", b"till", b"epoch", b"count"}
    async with elsewhere.hold("c", "chat", create=False, wait=1):
        pass


async def test_too_many_do_not_wait(leases: Leases) -> None:
    """Beyond the limit nobody is let into the line."""
    async with leases.hold("c", "chat", create=False, wait=1):

        async def wait() -> None:
            async with leases.hold("c", "chat", create=False, wait=5):
                pass

        waiting = [asyncio.create_task(wait()) for _ in range(MOST_WAITING - 1)]
        await asyncio.sleep(0)
        with pytest.raises(TurnTimeout):
            async with leases.hold("c", "chat", create=False, wait=5):
                pass
    await asyncio.gather(*waiting)


async def test_a_lease_outlives_its_life_while_its_turn_goes_on(redis: Redis, elsewhere: Leases) -> None:
    """It is prolonged; one whose process has died is another's when its life is over."""
    await redis.hset(state_key("c"), "channel", "chat")
    short = Leases(redis, life=0.2, polls=QUICK)
    async with short.hold("c", "chat", create=False, wait=1):
        with pytest.raises(TurnTimeout):
            async with elsewhere.hold("c", "chat", create=False, wait=0.5):
                pass
    await redis.hset(lease_key("c"), mapping={"holder": "dead", "till": "1", "epoch": "7"})
    async with elsewhere.hold("c", "chat", create=False, wait=5):
        pass


async def test_whoever_died_waiting_is_passed_over(redis: Redis, elsewhere: Leases) -> None:
    """A place in the line is kept for who asks for it again and again."""
    await redis.hset(state_key("c"), "channel", "chat")
    await redis.hset(lease_key("c"), mapping={"count": "1", "w:dead": "1:5"})
    async with elsewhere.hold("c", "chat", create=False, wait=5):
        pass


async def test_a_cancel_gives_it_back(leases: Leases, elsewhere: Leases) -> None:
    """In the line or with the lease."""
    begun = asyncio.Event()

    async def turn(where: Leases) -> None:
        async with where.hold("c", "chat", create=False, wait=5):
            begun.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(turn(leases))
    await begun.wait()
    others = [asyncio.create_task(turn(where)) for where in (leases, elsewhere)]
    await asyncio.sleep(0.02)
    for task in [*others, holder]:
        task.cancel()
    await asyncio.wait([*others, holder])
    async with elsewhere.hold("c", "chat", create=False, wait=1):
        pass
    assert len(leases) == 0


async def test_redis_away(weak: Redis, fragile: FragileRedis) -> None:
    """It is said at once, and nobody is left waiting."""
    leases = Leases(weak)
    fragile.stop()
    with pytest.raises(StoreError):
        async with leases.hold("c", "chat", create=True, wait=5):
            pass
    assert len(leases) == 0
