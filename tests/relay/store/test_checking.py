"""What readiness says of a real Redis: away, back, and one that throws away what it holds when it is full."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.checking import StoreCheck
from relay.store.client import connect
from tests.handlers.standins import Clock
from tests.relay.store.groups import RedisCluster
from tests.relay.store.servers import FragileRedis


async def test_there_and_away(fragile: FragileRedis, weak: Redis) -> None:
    """ "ok" while it answers, an error while it does not."""
    check = StoreCheck(weak)
    assert await check() == "ok"
    fragile.stop()
    with pytest.raises(StoreError):
        await check()
    fragile.start()
    assert await check() == "ok"


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_one_that_evicts(fragile: FragileRedis, weak: Redis, policy: str) -> None:
    """It is said so, in the log once and with the policy's name, until somebody has changed it; asked once a minute."""
    now = Clock()
    check = StoreCheck(weak, clock=now)
    fragile.admin("CONFIG", "SET", "maxmemory-policy", policy)
    with capture_logs() as logs:
        assert [await check() for _ in range(3)] == ["evicts"] * 3
        now.now += 61
        assert await check() == "evicts"
    assert [log["policy"] for log in logs] == [policy]
    fragile.admin("CONFIG", "SET", "maxmemory-policy", "noeviction")
    now.now += 59
    assert await check() == "evicts"
    now.now += 2
    assert await check() == "ok"


async def test_one_that_must_not_be_asked(fragile: FragileRedis, weak: Redis) -> None:
    """A managed server may forbid the question: nothing is known then, and nothing is wrong."""
    fragile.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    fragile.admin("ACL", "SETUSER", "default", "-info")
    assert await StoreCheck(weak)() == "ok"


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
