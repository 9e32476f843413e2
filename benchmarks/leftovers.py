"""What is in Redis: how many keys of each kind, and how many of them have no expiry."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field

from redis.asyncio import Redis

STAYS = frozenset({"person:{phone:*}", "person:{phone:*}:aliases"})
"""Kinds that are meant to stay: people who have a number."""

DUE = "{aftercall}:due"
LATE = 10.0  # seconds: a process looks every two, and has its hands full now and then
OWED = frozenset({DUE, "{aftercall}:leases", "{aftercall}:again"})
"""Kinds that go with the last thing that is owed."""

_KIND = re.compile(r"CA[0-9a-f]{32}|\+\d+|\d{4}-\d\d-\d\d|(?<=\{)[0-9a-f]{64}(?=\})")


@dataclass(slots=True)
class Leftovers:
    """Keys by kind: ``all`` of them, and those that will not go by themselves. ``overdue``: what should have been done
    after calls by now."""

    all: Counter[str] = field(default_factory=Counter)
    lasting: Counter[str] = field(default_factory=Counter)
    overdue: int = 0

    @property
    def left_behind(self) -> Counter[str]:
        """What nobody will ever remove."""
        return Counter({kind: count for kind, count in self.lasting.items() if kind not in STAYS | OWED})


async def overdue(redis: Redis) -> int:
    """How much of what is to be done after calls should have been done ``LATE`` seconds ago."""
    return int(await redis.zcount(DUE, "-inf", time.time_ns() // 1_000_000 - int(LATE * 1000)))


async def leftovers(redis: Redis) -> Leftovers:
    """Looks at every key there is."""
    found = Leftovers()
    keys: list[bytes] = [key async for key in redis.scan_iter(count=200)]
    for start in range(0, len(keys), 1000):
        some = keys[start : start + 1000]
        async with redis.pipeline(transaction=False) as pipe:
            for key in some:
                pipe.pttl(key)
            lives = await pipe.execute()
        for key, life in zip(some, lives, strict=True):
            kind = _KIND.sub("*", key.decode())
            if life == -2:
                continue  # it went while we looked
            found.all[kind] += 1
            if life == -1:
                found.lasting[kind] += 1
    found.overdue = await overdue(redis)
    return found
