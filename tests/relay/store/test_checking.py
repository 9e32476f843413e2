"""What readiness says of a real Redis: away, back, and one that throws away what it holds when it is full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.checking import StoreCheck
from relay.store.client import connect
from tests.handlers.standins import Clock
from tests.relay.store.groups import RedisCluster
from tests.relay.store.servers import FragileRedis, fragile_redis


@pytest.fixture
def server() -> Iterator[FragileRedis]:
    with fragile_redis() as started:
        yield started


@pytest.fixture
async def redis(server: FragileRedis) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()


async def test_there_and_away(server: FragileRedis, redis: Redis) -> None:
    """ "ok" while it answers, an error while it does not."""
    check = StoreCheck(redis)
    assert await check() == "ok"
    server.stop()
    with pytest.raises(StoreError):
        await check()
    server.start()
    assert await check() == "ok"


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_one_that_evicts(server: FragileRedis, redis: Redis, policy: str) -> None:
    """It is said so, in the log once and with the policy's name, until somebody has changed it; asked once a minute."""
    now = Clock()
    check = StoreCheck(redis, clock=now)
    server.admin("CONFIG", "SET", "maxmemory-policy", policy)
    with capture_logs() as logs:
        assert [await check() for _ in range(3)] == ["evicts"] * 3
        now.now += 61
        assert await check() == "evicts"
    assert [log["policy"] for log in logs] == [policy]
    server.admin("CONFIG", "SET", "maxmemory-policy", "noeviction")
    now.now += 59
    assert await check() == "evicts"
    now.now += 2
    assert await check() == "ok"


async def test_one_that_must_not_be_asked(server: FragileRedis, redis: Redis) -> None:
    """A managed server may forbid the question: nothing is known then, and nothing is wrong."""
    server.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.admin("ACL", "SETUSER", "default", "-info")
    assert await StoreCheck(redis)() == "ok"


async def test_one_node_of_a_cluster(cluster: RedisCluster) -> None:
    """The worst of them counts, and one that is silent is missed."""
    client = connect(cluster.url)
    assert await StoreCheck(client)() == "ok"
    cluster.masters[1].admin("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    assert await StoreCheck(client)() == "evicts"
    cluster.masters[1].admin("CONFIG", "SET", "maxmemory-policy", "noeviction")
    cluster.masters[1].freeze()
    try:
        with pytest.raises(StoreError):
            await StoreCheck(client)()
    finally:
        cluster.masters[1].thaw()
    await client.aclose()
