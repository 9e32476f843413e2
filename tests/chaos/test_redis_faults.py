"""What may befall Redis while calls are under way: each goes on, new ones are taken, and nothing of them is lost.

RELAY_SCALE=1 .venv/bin/pytest tests/chaos/test_redis_faults.py -n 0 -s      # 100 calls, and a Redis away for a minute
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import median

import pytest
from redis.crc import key_slot

from relay.store.history import items_key
from tests.calls.workshop import Workshop
from tests.chaos.talk import AGENT, Talk, items_alive
from tests.fakes.redis_front import redis_front
from tests.relay.store.groups import redis_cluster, redis_sentinels
from tests.relay.store.servers import LASTING, eventually, fragile_redis
from tests.running import running, write_agent
from tests.scale import scaled

CALLS = scaled(100, 6)
SECONDS = scaled(60, 1)  # that a fault lasts
RHYTHM = 2.0 if SECONDS > 10 else 0.2  # seconds between two turns of a call
SLOW = 0.5  # seconds a command takes
HEALED = 30.0  # seconds after which all of it must be written

Strike = Callable[[Talk], AbstractAsyncContextManager[None]]
"""The fault begins, and has passed at the end."""
Fault = Callable[[], AbstractAsyncContextManager[tuple[str, Strike]]]
"""A Redis, by its URL, and what happens to it."""


@asynccontextmanager
async def restart() -> AsyncIterator[tuple[str, Strike]]:
    """It is killed, and started again with what it had on disk."""
    with fragile_redis(*LASTING) as server:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            server.stop()
            await asyncio.to_thread(server.start)
            yield

        yield server.url, strike


@asynccontextmanager
async def away() -> AsyncIterator[tuple[str, Strike]]:
    """It refuses every connection, for a while."""
    with fragile_redis(*LASTING) as server:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            server.stop()
            yield
            await asyncio.to_thread(server.start)

        yield server.url, strike


@asynccontextmanager
async def slow() -> AsyncIterator[tuple[str, Strike]]:
    """Each command takes half a second."""
    with fragile_redis() as server:
        async with redis_front(server.url) as front:

            @asynccontextmanager
            async def strike(talk: Talk) -> AsyncIterator[None]:
                front.delay = SLOW
                yield
                front.delay = 0.0

            yield front.url, strike


@asynccontextmanager
async def full() -> AsyncIterator[tuple[str, Strike]]:
    """Its memory is full: what would take more is refused."""
    with fragile_redis() as server:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            server.admin("CONFIG", "SET", "maxmemory", 1)
            yield
            server.admin("CONFIG", "SET", "maxmemory", 0)

        yield server.url, strike


@asynccontextmanager
async def failover() -> AsyncIterator[tuple[str, Strike]]:
    """The master dies; its Sentinels make the replica the master, which may lack the last writes."""
    with redis_sentinels(3) as group:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            group.master.stop()
            yield
            await asyncio.to_thread(group.failed_over)

        yield group.url, strike


@asynccontextmanager
async def dead_node() -> AsyncIterator[tuple[str, Strike]]:
    """A node of a Cluster dies; its replica takes its place."""
    with redis_cluster(replicas=True, patience=1000) as cluster:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            cluster.masters[0].stop()
            yield
            await asyncio.to_thread(
                eventually, lambda: cluster.replicas[0].role == "master", "a replica takes over", 30.0
            )

        yield cluster.url, strike


@asynccontextmanager
async def moved_slots() -> AsyncIterator[tuple[str, Strike]]:
    """The slots of all calls are moved to other nodes, one after the other."""
    with redis_cluster() as cluster:

        @asynccontextmanager
        async def strike(talk: Talk) -> AsyncIterator[None]:
            moving = asyncio.create_task(move(talk), name="moving slots")
            yield
            await moving

        async def move(talk: Talk) -> None:
            for call_sid in [*talk.under_way]:
                slot = key_slot(items_key(call_sid).encode())
                to = next(node for node in cluster.masters if node is not cluster.owner(slot))
                source = await asyncio.to_thread(cluster.begin_move, slot, to)
                await asyncio.sleep(RHYTHM / 2)
                await asyncio.to_thread(cluster.end_move, slot, source, to)

        yield cluster.url, strike


@pytest.mark.timeout(60 + 5 * SECONDS)
@pytest.mark.parametrize("fault", [restart, away, slow, full, failover, dead_node, moved_slots])
async def test_calls_go_on(fault: Fault, tmp_path: Path) -> None:
    """No call is dropped, and the process holds each item once, however long it has to wait; afterwards every call is
    remembered whole, in order and ready to be taken up again."""
    workshop = Workshop()
    agents = write_agent(tmp_path / "agents", AGENT)
    async with (
        fault() as (url, strike),
        running(url, tmp_path / "data", agents=agents, extra_tools=workshop.add) as relay,
        Talk(relay, RHYTHM) as talk,
    ):
        others = items_alive()
        await talk.begin(CALLS)
        await talk.turns(2)
        begun = time.monotonic()
        async with strike(talk):
            await talk.begin(max(1, CALLS // 5))
            await asyncio.sleep(SECONDS)
            await talk.turns(1)
            alive = items_alive() - others
            assert alive <= 1.2 * talk.items + 50, "items are held more than once"
        healed = time.monotonic()
        await talk.turns(2)
        await talk.hang_up()
        await talk.remembered(HEALED)
        tell(fault, talk, begun, healed, alive)
        assert max(workshop.done.values()) == 1


def tell(fault: Fault, talk: Talk, begun: float, healed: float, alive: int) -> None:
    """Figures, for whoever looks at them."""
    meanwhile = [seconds for said, seconds in talk.waits if begun <= said < healed]
    usually = [seconds for said, seconds in talk.waits if said < begun]
    print(
        f"{fault.__name__:12} {len(talk.lines)} calls, {len(talk.waits)} turns, {len(meanwhile)} of them in "
        f"{healed - begun:.1f} s of fault; first words {1000 * median(usually):.0f} ms before, meanwhile "
        f"{1000 * median(meanwhile):.0f} ms, at most {1000 * max(meanwhile):.0f} ms; "
        f"{alive} items held of {talk.items}"
    )
