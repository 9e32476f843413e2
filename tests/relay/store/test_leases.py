"""Whose turn it is in a text conversation: order, lives, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError, TooManyTurns, TurnTimeout, UnknownConversation
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

    async def waiting_are(count: int) -> None:
        async with asyncio.timeout(20):
            while sum(key.startswith(b"w:") for key in await redis.hkeys(lease_key("c"))) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    waiting: list[asyncio.Task[None]] = []
    async with leases.hold("c", "chat", create=False, wait=1):
        for number, where in enumerate((leases, leases, elsewhere, leases, elsewhere, elsewhere, leases)):
            waiting.append(asyncio.create_task(turn(number, where)))
            await waiting_are(number + 1)
    await asyncio.gather(*waiting)
    assert [number for number, _ in order] == list(range(7))
    epochs = [epoch for _, epoch in order]
    assert epochs == sorted(epochs) and epochs[0] > 5
    assert not await redis.exists(lease_key("c"))
    assert len(leases) == len(elsewhere) == 0


async def test_turns_that_come_at_once_to_a_process_keep_their_order(leases: Leases) -> None:
    """Their questions to Redis do not overtake each other."""
    order: list[int] = []

    async def turn(number: int) -> None:
        async with leases.hold("c", "chat", create=False, wait=10):
            order.append(number)

    await asyncio.gather(*(turn(number) for number in range(MOST_WAITING)))
    assert order == list(range(MOST_WAITING))


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


async def test_too_many_do_not_wait(leases: Leases, elsewhere: Leases) -> None:
    """Beyond the limit nobody is let into the line, in whichever process; nor do they wait to hear it."""
    begun = asyncio.Event()

    async def turn(where: Leases) -> None:
        async with where.hold("c", "chat", create=False, wait=10):
            await begun.wait()

    inside = [asyncio.create_task(turn(leases)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyTurns):
        async with leases.hold("c", "chat", create=False, wait=5):
            pass
    inside += [asyncio.create_task(turn(elsewhere)) for _ in range(3)]
    done, _ = await asyncio.wait(inside, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert {type(task.exception()) for task in done} == {TooManyTurns}
    begun.set()
    await asyncio.wait(inside)
    assert sum(task.exception() is None for task in inside) == MOST_WAITING + 1  # those that wait, and who has it


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


async def test_a_cancel_while_it_is_given_back_is_in_nobodys_way(leases: Leases) -> None:
    """Who waits behind it in this process has the next turn."""
    over, begun = asyncio.Event(), asyncio.Event()

    async def turn() -> None:
        async with leases.hold("c", "chat", create=False, wait=5):
            begun.set()
            await over.wait()

    holder = asyncio.create_task(turn())
    await begun.wait()
    behind = asyncio.create_task(turn())
    await asyncio.sleep(0)
    over.set()
    # Behind the holder, which gives it back in the same round of the loop.
    asyncio.get_running_loop().call_soon(holder.cancel)
    await asyncio.wait([holder, behind])
    assert holder.cancelled() and behind.exception() is None and len(leases) == 0


async def test_a_silent_redis_is_found_out_once(weak: Redis, fragile: FragileRedis) -> None:
    """Of many turns of a conversation that come at once the first asks, and none of them waits for more than that."""
    leases = Leases(weak)
    fragile.freeze()
    errors = []

    async def turn() -> None:
        try:
            async with leases.hold("c", "chat", create=True, wait=30):
                pass
        except StoreError as error:
            errors.append(error)

    async with asyncio.timeout(8):  # one after the other, each with its own deadline, it would be ten
        await asyncio.gather(*(turn() for _ in range(MOST_WAITING)))
    assert len(errors) == MOST_WAITING and len(leases) == 0


async def test_redis_away(weak: Redis, fragile: FragileRedis) -> None:
    """It is said at once, and nobody is left waiting."""
    leases = Leases(weak)
    fragile.stop()
    with pytest.raises(StoreError):
        async with leases.hold("c", "chat", create=True, wait=5):
            pass
    assert len(leases) == 0
