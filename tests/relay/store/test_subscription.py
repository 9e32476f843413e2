"""What other processes publish reaches this one, again after the server was away, and it is known whether it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.store.client import connect
from relay.store.subscription import Subscription
from tests.relay.store.servers import FragileRedis

SOON = 5.0


class Ears:
    """A subscription to two channels, and what came of them."""

    def __init__(self, redis: Redis) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.states: asyncio.Queue[bool] = asyncio.Queue()
        self.subscription = Subscription(redis, quiet=0.05, again=(0.01, 0.05))
        for channel in ("news", "orders"):
            self.subscription.on(channel, lambda data, channel=channel: self.messages.put_nowait((channel, data)))
        self.subscription.watch(self.states.put_nowait)

    async def heard(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.messages.get(), SOON)

    async def state(self) -> bool:
        return await asyncio.wait_for(self.states.get(), SOON)


@asynccontextmanager
async def listening(redis: Redis) -> AsyncIterator[Ears]:
    ears = Ears(redis)
    ears.subscription.start()
    assert await ears.state()
    yield ears
    await ears.subscription.close()


async def asked_whether_it_is_there(redis: Redis) -> None:
    async with asyncio.timeout(SOON):
        while "cmdstat_ping" not in await redis.info("commandstats"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_each_channel_has_its_taker(redis: Redis) -> None:
    """All channels come over one connection; a quiet time between changes nothing."""
    await redis.config_resetstat()
    async with listening(redis) as ears:
        await redis.publish("news", b"one")
        assert await ears.heard() == ("news", b"one")
        await asked_whether_it_is_there(redis)
        await redis.publish("orders", b"two")
        await redis.publish("elsewhere", b"none of ours")
        await redis.publish("news", b"three")
        assert [await ears.heard(), await ears.heard()] == [("orders", b"two"), ("news", b"three")]
        assert ears.states.empty()
        assert len(await redis.client_list(_type="pubsub")) == 1


async def test_a_taker_with_a_bug_does_not_end_the_listening(redis: Redis) -> None:
    """It is logged, without the message."""
    subscription, heard = Subscription(redis), asyncio.Queue[bytes]()

    def take(data: bytes) -> None:
        if data == b"secret":
            raise ValueError("secret")
        heard.put_nowait(data)

    subscription.on("news", take)
    listens = asyncio.Event()
    subscription.watch(lambda listening: listens.set())
    with capture_logs() as records:
        subscription.start()
        await asyncio.wait_for(listens.wait(), SOON)
        await redis.publish("news", b"secret")
        await redis.publish("news", b"fine")
        assert await asyncio.wait_for(heard.get(), SOON) == b"fine"
        await subscription.close()
    assert [(record["event"], record["channel"], record["error"]) for record in records] == [
        ("bug in what listens", "news", "ValueError")
    ]


@pytest.mark.parametrize("fault", ["stopped", "silent"])
async def test_a_server_that_comes_back_is_listened_to_again(fragile: FragileRedis, fault: str) -> None:
    """Meanwhile it is known that nobody is heard, and that is logged once."""
    redis = connect(fragile.url)
    with capture_logs() as records:
        async with listening(redis) as ears:
            if fault == "stopped":
                fragile.stop()
            else:
                fragile.freeze()
            assert not await ears.state() and not ears.subscription.listening
            if fault == "stopped":
                fragile.start()
            else:
                fragile.thaw()
            assert await ears.state() and ears.subscription.listening
            await redis.publish("news", b"back")
            assert await ears.heard() == ("news", b"back")
    assert [record["event"] for record in records] == [
        "other processes are not heard",
        "other processes are heard again",
    ]
    await redis.aclose()


async def test_without_a_server_it_goes_on_trying_until_it_is_closed() -> None:
    """Nobody is told of a state that has not changed."""
    redis = connect("unix:///nonexistent/redis.sock")
    ears = Ears(redis)
    with capture_logs() as records:
        ears.subscription.start()
        async with asyncio.timeout(SOON):
            while not records:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await ears.subscription.close()
    assert not ears.subscription.listening and ears.states.empty()
    await redis.aclose()
