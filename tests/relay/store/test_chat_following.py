"""Who follows a chat: every frame of other processes, once and in order, or that it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from relay.store.chat_log import JUMP
from relay.store.client import connect
from tests.calls.checks import eventually
from tests.relay.store.chats import CHAT, Client, Process, frames, process
from tests.relay.store.servers import FragileRedis


async def test_a_follower_sees_every_frame_of_others_once(redis: Redis) -> None:
    """Those that were there and those that come, until it wants no more; what its own process adds it knows already."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(3)
        client, late = Client(two, 1), Client(two, 3)
        await client.sees(2, 3)
        await one.turn(2)
        await client.sees(2, 3, 4, 5)
        await late.sees(4, 5)
        assert await two.turn(2) == [6, 7]
        await one.turn(1)
        await client.sees(2, 3, 4, 5, 8)
        client.unfollow()
        client.unfollow()
        await one.turn(1)
        await late.sees(4, 5, 8, 9)
        await client.sees(2, 3, 4, 5, 8)


async def test_a_process_does_not_read_what_it_writes(redis: Redis) -> None:
    """However much that is, and though it follows: nothing is asked for as long as nobody else writes."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(1)
        client = Client(two, 0)
        await client.sees(1)
        await one.log.begin(CHAT)  # and dies
        assert (await two.turn(2))[0] == 1 + JUMP + 1
        await redis.config_resetstat()
        number = (await two.turn(200))[-1]
        for _ in range(10):
            await two.turn(20)
        assert "cmdstat_xrange" not in await redis.info("commandstats")
        assert client.seen == frames(1)
        assert (await one.turn(1))[0] == number + 201
        await client.sees(1, number + 201)


async def test_a_follower_may_leave_in_the_middle(redis: Redis) -> None:
    """Nothing is sent to it after that, though it is there."""
    async with process(redis, listens=True) as one:
        await one.turn(5)
        seen: list[int] = []

        def take(seq: int, frame: bytes) -> None:
            seen.append(seq)
            if seq == 2:
                unfollow()

        unfollow = one.log.follow(CHAT, 0, take, lambda: seen.append(-1))
        await eventually(lambda: len(seen) >= 2, 5)
        other = Client(one, 0)
        await other.sees(1, 2, 3, 4, 5)
        assert seen == [1, 2]


async def test_a_follower_is_told_what_it_cannot_have(redis: Redis) -> None:
    """Once, at once or later, and nothing more is sent to it."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(2)
        mistaken, good = Client(two, 9), Client(two, 2)
        await eventually(lambda: mistaken.told_lost, 5)
        await one.log.begin(CHAT)
        one.add(5)  # 3 and 4 were lost on the way
        await one.log.flush(CHAT)
        await eventually(lambda: good.told_lost, 5)
        one.add(6)
        await one.log.flush(CHAT)
        assert (mistaken.seen, mistaken.told_lost, good.seen, good.told_lost) == ([], 1, [], 1)


async def test_closing_ends_the_following(redis: Redis) -> None:
    """No task is left behind."""
    async with process(redis, listens=True) as one:
        await one.turn(1)
        client = Client(one, 0)
        await client.sees(1)
    assert not [task for task in asyncio.all_tasks() if "follow" in task.get_name()]


async def test_followers_outlive_an_outage(fragile: FragileRedis) -> None:
    """What was written while nobody was heard is seen when they are heard again."""
    async with cut_off(fragile) as (one, two, line):
        await one.turn(2)
        client = Client(two, 0)
        await client.sees(1, 2)
        await line.kill()
        await one.turn(2)
        await client.sees(1, 2, 3, 4)


class Line:
    """The connections of one client, which may be cut from the server's side."""

    def __init__(self, server: FragileRedis, name: str) -> None:
        self._server = server
        self._name = name

    async def kill(self) -> None:
        for line in self._server.admin("CLIENT", "LIST").decode().splitlines():
            fields = dict(pair.partition("=")[::2] for pair in line.split())
            if fields["name"] == self._name:
                self._server.admin("CLIENT", "KILL", "ID", fields["id"])


@asynccontextmanager
async def cut_off(server: FragileRedis) -> AsyncIterator[tuple[Process, Process, Line]]:
    """Two processes; the second one's connections may be cut."""
    redis, other = connect(server.url), connect(f"{server.url}?client_name=second")
    async with process(redis) as one, process(other, listens=True) as two:
        yield one, two, Line(server, "second")
    await redis.aclose()
    await other.aclose()
