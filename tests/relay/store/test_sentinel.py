"""A service whose master is asked for, of Sentinels of which some are down."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.items import UserItem, dump_item
from relay.store.client import connect, translate
from relay.store.history import History
from tests.relay.store.groups import SERVICE, RedisSentinels
from tests.relay.store.servers import free_ports, patient


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_those_that_are_down_cost_nothing(sentinels: RedisSentinels, silent: int) -> None:
    """One that refuses, and one that is silent, are not waited for."""
    (refusing,) = free_ports(1)
    places = ",".join(f"127.0.0.1:{port}" for port in (silent, refusing, sentinels.sentinels[0].port))
    client = connect(patient(f"redis+sentinel://{places}/{SERVICE}/0"))
    async with asyncio.timeout(30):
        await client.set("key", "value")
    assert sentinels.master.admin("GET", "key") == b"value"
    await client.aclose()


async def test_nobody_knows_a_master(sentinels: RedisSentinels, silent: int) -> None:
    """A StoreError, no later than a silent server's."""
    (refusing,) = free_ports(1)
    places = f"127.0.0.1:{silent},127.0.0.1:{refusing},127.0.0.1:{sentinels.sentinels[0].port}"
    client = connect(f"redis+sentinel://{places}/another/0")
    before = time.monotonic()
    with pytest.raises(StoreError), translate():
        await client.ping()
    assert time.monotonic() - before < 5
    await client.aclose()


async def test_after_a_failover_the_new_master_is_found(sentinels: RedisSentinels) -> None:
    """By the client that had the old one, whose connections are all still open: no more than one write fails."""
    client = connect(sentinels.url)
    history = History(client, 60)
    await asyncio.gather(*(put(history, str(number)) for number in range(20)))
    await asyncio.to_thread(sentinels.fail_over)
    failed = 0
    for number in range(20):
        try:
            await put(history, str(number), "after")
        except StoreError:
            failed += 1
            await put(history, str(number), "after")
    assert failed <= 1
    for number in range(20):
        assert [item for _, item in (await history.load(str(number), 2)).entries] == [UserItem("after")]
        assert b"after" in sentinels.master.admin("ZRANGE", f"conversation:{{{number}}}:items", 0, -1)[0]
    await client.aclose()


async def test_a_pool_has_its_bound(sentinels: RedisSentinels) -> None:
    """More commands at a time than connections wait for one."""
    client = connect(sentinels.url, connections=2)
    await asyncio.gather(*(client.incr("count") for _ in range(50)))
    assert await client.get("count") == b"50"
    await client.delete("count")
    await client.aclose()


def test_who_is_who() -> None:
    """User, password and database are the master's; the Sentinels have their own, and share the certificates."""
    query = "sentinel_username=guard&sentinel_password=s3&ssl_ca_certs=ca.pem"
    client: Redis = connect(f"rediss+sentinel://user:pass@one:1,two/{SERVICE}/3?{query}")
    pool: Any = client.connection_pool
    of_master = pool.connection_kwargs
    assert [of_master[name] for name in ("username", "password", "db", "ssl_ca_certs")] == ["user", "pass", 3, "ca.pem"]
    assert pool.service_name == SERVICE
    of_sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in of_sentinels] == [("one", 1), ("two", 26379)]
    for each in of_sentinels:
        assert (each["username"], each["password"], each["ssl_ca_certs"]) == ("guard", "s3", "ca.pem")


async def put(history: History, conversation: str, words: str = "before") -> None:
    await history.put(conversation, 1, [(0, dump_item(UserItem(words)))])
