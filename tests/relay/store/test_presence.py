"""Who is here: the newest socket of each visitor, wherever it is, and nobody for longer than a minute."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.client import connect
from relay.store.overview import Overview
from relay.store.presence import LIVES, Presence, sockets_key
from relay.store.subscription import Subscription
from tests.calls.checks import eventually
from tests.relay.store.servers import FragileRedis

ANN, BOB = "v_ann", "v_bob"


class Sockets:
    """Sockets of one process, by their names, and which of them were told that they were replaced."""

    def __init__(self, redis: Redis, lives: float = LIVES) -> None:
        self.presence = Presence(redis, lives=lives)
        self.replaced: list[str] = []

    def of(self, socket: str) -> Callable[[], None]:
        return lambda: self.replaced.append(socket)

    async def enter(self, visitor: str, socket: str) -> None:
        await self.presence.enter(visitor, socket, self.of(socket))


@asynccontextmanager
async def process(redis: Redis) -> AsyncIterator[Sockets]:
    """One that hears the others."""
    made, subscription = Sockets(redis), Subscription(redis)
    made.presence.listen(subscription)
    subscription.start()
    await eventually(lambda: subscription.listening, 5)
    yield made
    await subscription.close()


async def living(redis: Redis, visitor: str) -> list[bytes]:
    return [*await redis.hkeys(sockets_key(visitor))]


async def test_a_socket_is_here_until_it_leaves(redis: Redis) -> None:
    """Under its visitor, with the moment at which it is gone if nobody renews it."""
    one = Sockets(redis)
    await one.enter(ANN, "a")
    await one.enter(BOB, "b")
    (until,) = await redis.hvals(sockets_key(ANN))
    seconds, micros = await redis.time()
    assert 0 < int(until) / 1000 - (seconds + micros / 1e6) <= LIVES < 60
    assert 0 < await redis.pttl(sockets_key(ANN)) <= LIVES * 1000
    assert len(one.presence) == 2
    await one.presence.leave(ANN, "a")
    await one.presence.leave(ANN, "a")
    assert [key.decode() for key in await redis.keys()] == [sockets_key(BOB)]
    assert len(one.presence) == 1


async def test_the_newest_socket_takes_the_place_of_the_others(redis: Redis) -> None:
    """They are told once, in whichever process they are; the visitor next door is not."""
    async with process(redis) as one, process(redis) as two:
        await one.enter(ANN, "first")
        await one.enter(BOB, "other")
        await two.enter(ANN, "second")
        await eventually(lambda: one.replaced, 5)
        await two.enter(ANN, "third")
        await eventually(lambda: two.replaced, 5)
        assert (one.replaced, two.replaced) == (["first"], ["second"])
        assert await living(redis, ANN) == [b"third"]
        await one.presence.leave(ANN, "first")
        await two.presence.leave(ANN, "second")
        assert await living(redis, ANN) == [b"third"]
        assert (len(one.presence), len(two.presence)) == (1, 1)


async def test_which_process_has_a_chat(redis: Redis) -> None:
    """By the socket of whom it is with; a socket that is nobody's goes by its conversation's name. One that a release
    before has entered names none."""
    here = Presence(redis, worker="here-1")
    await redis.hset("conversation:{c_ann}:state", "person", f"chat:{ANN}")
    await redis.hset("conversation:{c_nobody}:state", "person", "anonymous:c_nobody")
    assert [await here.holder(each) for each in ("c_ann", "c_nobody", "c_none")] == ["", "", ""]
    for visitor in (ANN, "c_nobody"):
        await here.enter(visitor, here.new_socket(), print)
    assert [await here.holder(each) for each in ("c_ann", "c_nobody", "c_none")] == ["here-1", "here-1", ""]
    await Presence(redis, worker="there-2").enter(ANN, "there-2/1", print)
    assert await here.holder("c_ann") == "there-2"
    await here.enter(ANN, "0f3a", print)
    assert await here.holder("c_ann") == ""


async def test_who_could_not_be_told_learns_it_by_renewing(redis: Redis) -> None:
    """What is published while nobody listens is lost."""
    one, two = Sockets(redis), Sockets(redis)
    await one.enter(ANN, "first")
    assert await one.presence.renew(ANN, "first")
    await two.enter(ANN, "second")
    assert not await one.presence.renew(ANN, "first")
    assert await two.presence.renew(ANN, "second")
    assert await living(redis, ANN) == [b"second"]


async def test_renewing_keeps_a_socket_here(redis: Redis) -> None:
    """Its time begins anew; and where Redis has lost it, it is there again."""
    one = Sockets(redis)
    await one.enter(ANN, "a")
    await redis.pexpire(sockets_key(ANN), 1000)
    assert await one.presence.renew(ANN, "a")
    assert await redis.pttl(sockets_key(ANN)) > 50_000
    await redis.flushall()
    assert await one.presence.renew(ANN, "a")
    assert await living(redis, ANN) == [b"a"]


async def test_many_at_once(redis: Redis) -> None:
    """Each has a place of its own, though they share round trips."""
    one = Sockets(redis)
    await asyncio.gather(*(one.enter(f"v_{number}", str(number)) for number in range(50)))
    answers = await asyncio.gather(*(one.presence.renew(f"v_{number}", str(number)) for number in range(50)))
    assert all(answers) and len(one.presence) == 50
    assert len(await redis.keys("chat:*")) == 50


async def test_without_redis_sockets_are_counted_and_replaced_in_their_process(
    fragile: FragileRedis, weak: Redis
) -> None:
    """Whoever enters is told that nobody else knows; the next renewal tells all."""
    one = Sockets(weak)
    fragile.stop()
    for socket in ("first", "second"):
        with pytest.raises(StoreError):
            await one.enter(ANN, socket)
    assert one.replaced == ["first"]
    assert len(one.presence) == 2
    with pytest.raises(StoreError):
        await one.presence.leave(ANN, "first")
    assert len(one.presence) == 1
    fragile.start()
    assert await one.presence.renew(ANN, "second")
    assert await living(weak, ANN) == [b"second"]


async def test_a_cancelled_entry_leaves_with_its_socket(redis: Redis) -> None:
    """However far it had come."""
    one = Sockets(redis)
    for steps in range(6):
        entering = asyncio.create_task(one.enter(ANN, f"s{steps}"), name="enter")
        for _ in range(steps):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        await one.presence.leave(ANN, f"s{steps}")
    assert len(one.presence) == 0
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "store batch"], 5)
    assert await living(redis, ANN) == []


async def test_forgetting_a_visitor(redis: Redis) -> None:
    """By the id they have as a person; other people have no sockets."""
    one = Sockets(redis)
    await one.enter(ANN, "a")
    await one.enter(BOB, "b")
    assert [await one.presence.forget(person) for person in (f"phone:{ANN}", f"chat:{ANN}", f"chat:{ANN}")] == [0, 1, 0]
    assert [key.decode() for key in await redis.keys()] == [sockets_key(BOB)]


LIVING = """
import asyncio, sys
from relay.store.client import connect
from relay.store.metrics import Figures
from relay.store.presence import Presence
from relay.telemetry import Telemetry

async def main(url, name, sockets):
    redis, telemetry = connect(url), Telemetry()
    presence = Presence(redis, lives=3.0)
    telemetry.chat_sockets.set_function(lambda: len(presence))
    for number in range(sockets):
        await presence.enter(f"v_{name}_{number}", f"{name}-{number}", print)
    figures = Figures(redis, telemetry, name, every=0.2)
    figures.start()
    while True:
        await asyncio.sleep(0.5)
        for number in range(sockets):
            await presence.renew(f"v_{name}_{number}", f"{name}-{number}")

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
"""A process with live sockets, for whose registry three seconds are what 55 are for the real one."""


async def test_a_killed_process_takes_its_sockets_with_it(redis: Redis, redis_url: str) -> None:
    """The summary adds up what lives; after ``kill -9`` the process's share is gone from it within its five seconds,
    and its visitors from the registry when their time is up, for want of anybody who renews it."""
    if not redis_url.startswith("unix:"):
        pytest.skip("nothing here depends on where a key is")
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", LIVING, redis_url, name, str(sockets))
        for name, sockets in (("one", 2), ("two", 3))
    ]
    overview = Overview(redis, priced=False)
    try:
        await told(overview, 5)
        assert len(await redis.keys("chat:*")) == 5
        processes[1].kill()
        await told(overview, 2)
        assert (await overview.summary(1))["processes"][0]["worker"] == "one"
        async with asyncio.timeout(20):
            while await redis.keys("chat:{v_two*"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert len(await redis.keys("chat:{v_one*")) == 2
    finally:
        for each in processes:
            if each.returncode is None:
                each.kill()
            await each.wait()


async def told(overview: Overview, sockets: int) -> None:
    """Returns once the summary tells of so many sockets."""
    async with asyncio.timeout(20):
        while (await overview.summary(1))["chat_sockets"] != sockets:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_nothing_answers() -> None:
    """It fails as everything of the store does."""
    away = connect("unix:///nonexistent/redis.sock")
    one = Sockets(away)
    with pytest.raises(StoreError):
        await one.presence.renew(ANN, "a")
    await away.aclose()
