"""A Redis Cluster whose slots move and whose nodes fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from relay.errors import StoreError
from relay.items import UserItem, dump_item
from relay.store.client import connect, translate
from relay.store.history import History, items_key
from relay.store.scripts import Script
from tests.relay.store.groups import RedisCluster, redis_cluster
from tests.relay.store.servers import free_ports, patient

SET = "return redis.call('SET', KEYS[1], ARGV[1])"


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[Redis]:
    client = connect(cluster.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
def replicated() -> Iterator[RedisCluster]:
    """A Cluster of its own, each master with a replica, in which a node is soon missed."""
    with redis_cluster(replicas=True, patience=500) as made:
        yield made


def of(cluster: RedisCluster, number: int) -> Iterator[str]:
    """Keys that a master has at first."""
    first, end = cluster.share(number)
    return (key for key in map(str, range(100_000)) if first <= key_slot(key.encode()) < end)


async def moved(cluster: RedisCluster, slot: int, *, begun: bool = False) -> None:
    """The slot goes to another master, all at once or, first, in part."""
    to = next(node for node in cluster.masters if node is not cluster.owner(slot))
    source = await asyncio.to_thread(cluster.begin_move, slot, to)
    if not begun:
        await asyncio.to_thread(cluster.end_move, slot, source, to)


async def test_one_node_is_enough_to_find_all(cluster: RedisCluster, client: Redis) -> None:
    """Whichever of the nodes named answers, and though it has not the key."""
    (refusing,) = free_ports(1)
    for node in cluster.masters:
        by_one = connect(f"redis+cluster://127.0.0.1:{refusing},127.0.0.1:{node.port}")
        for key in map(str, range(10)):
            await by_one.set(key, node.port)
        await by_one.aclose()
    assert await client.get("3") == str(cluster.masters[-1].port).encode()


async def test_no_node_answers() -> None:
    """A StoreError at once."""
    client = connect("redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in free_ports(3)))
    before = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreError), translate():
            await client.get("key")
    assert time.monotonic() - before < 8  # trying again would take more
    await client.aclose()


async def test_a_moved_slot_is_followed(cluster: RedisCluster, client: Redis) -> None:
    """Commands, scripts and pipelines find it within their one try."""
    key = "moved"
    await client.set(key, "1")
    await moved(cluster, key_slot(key.encode()))
    assert await client.get(key) == b"1"
    await moved(cluster, key_slot(key.encode()))
    await Script(client, SET)(keys=[key], args=["2"])
    await moved(cluster, key_slot(key.encode()))
    async with client.pipeline(transaction=False) as pipe:
        for each in (key, *map(str, range(20))):
            pipe.get(each)
        found = await pipe.execute()
    assert found == [b"2", *[None] * 20]
    assert await client.delete(key, *map(str, range(20))) == 1


async def test_a_slot_that_is_being_moved(cluster: RedisCluster, client: Redis) -> None:
    """What has gone already, and what is new, is found where it goes, by many at a time over connections in use."""
    slot = key_slot(b"{half}")
    await client.set("{half}:stays", "here")
    await client.set("{half}:goes", "there")
    await asyncio.gather(*(client.get(str(number)) for number in range(100)))
    to = next(node for node in cluster.masters if node is not cluster.owner(slot))
    source = await asyncio.to_thread(cluster.begin_move, slot, to)
    source.admin("MIGRATE", "127.0.0.1", to.port, "{half}:goes", 0, 5000)
    keys = ["{half}:stays", "{half}:goes"] * 20
    assert await asyncio.gather(*(client.get(key) for key in keys)) == [b"here", b"there"] * 20
    await asyncio.gather(*(client.set(f"{{half}}:{number}", number) for number in range(20)))
    await Script(client, SET)(keys=["{half}:script"], args=["new"])
    async with client.pipeline(transaction=False) as pipe:
        for key in ("{half}:goes", "{half}:stays", "{half}:19", "{half}:script"):
            pipe.get(key)
        assert await pipe.execute() == [b"there", b"here", b"19", b"new"]
    await asyncio.to_thread(cluster.end_move, slot, source, to)
    assert await client.get("{half}:stays") == b"here"


async def test_a_script_the_nodes_lack(client: Redis) -> None:
    """The node that has the keys is sent it; so is every other, when it is its turn; in a batch too."""
    write, history = Script(client, SET), History(client, 60)
    for _ in range(2):
        for node in await client.masters():  # type: ignore[attr-defined]
            await node.script_flush()
        for key in map(str, range(10)):
            await write(keys=[key], args=[key])
        await asyncio.gather(*(history.put(str(number), 1, [(0, dump_item(UserItem("hi")))]) for number in range(10)))
    for number in range(10):
        assert await client.get(str(number)) == str(number).encode()
        assert await client.zcard(items_key(str(number))) == 1


async def test_more_at_a_time_than_connections(cluster: RedisCluster) -> None:
    """They wait for one."""
    client = connect(cluster.url, connections=2)
    await asyncio.gather(*(client.incr("{one}") for _ in range(50)))
    assert await client.get("{one}") == b"50"
    await client.aclose()


async def test_no_transactions(client: Redis) -> None:
    """Rather none than one that only seems to be."""
    with pytest.raises(NotImplementedError):
        client.pipeline(transaction=True)


async def test_a_silent_node_does_not_hold_up_the_others(cluster: RedisCluster, client: Redis) -> None:
    """Its own commands fail by their deadline, in a pipeline only they; the others' take no longer than before."""
    silent, fine = next(of(cluster, 2)), next(of(cluster, 0))
    await client.set(silent, "x")
    await client.set(fine, "y")
    waits = connect(patient(cluster.url))
    assert await waits.get(silent) == b"x"
    cluster.masters[2].freeze()
    try:
        with pytest.raises(StoreError), translate():
            await client.get(silent)
        waiting = asyncio.create_task(waits.get(silent))
        async with asyncio.timeout(30):
            assert await waits.get(fine) == b"y"
        assert not waiting.done()
        async with client.pipeline(transaction=False) as pipe:
            pipe.get(silent)
            pipe.get(fine)
            answers = await pipe.execute(raise_on_error=False)
        assert isinstance(answers[0], Exception) and answers[1] == b"y"
    finally:
        cluster.masters[2].thaw()
    assert await waiting == await client.get(silent) == b"x"
    await waits.aclose()


async def test_a_dead_node_s_replica_is_found(replicated: RedisCluster) -> None:
    """By a client that only ever sends pipelines: what is written again until it is taken is there, and in order."""
    client = connect(replicated.url)
    history = History(client, 60)
    name = next(of(replicated, 0))
    await history.put(name, 1, [(0, dump_item(UserItem("before")))])
    await asyncio.sleep(0.05)  # for the replica
    await asyncio.to_thread(replicated.masters[0].stop)
    failed = 0
    async with asyncio.timeout(20):
        while True:
            try:
                await history.put(name, 1, [(1, dump_item(UserItem("after")))])
                break
            except StoreError:
                failed += 1
                await asyncio.sleep(0.05)
    assert failed
    assert [item for _, item in (await history.load(name, 2)).entries] == [UserItem("before"), UserItem("after")]
    assert replicated.replicas[0].role == "master"
    await client.aclose()
