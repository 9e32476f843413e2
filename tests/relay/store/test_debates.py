"""Which request an idempotency key was for."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from relay.store.debates import KEPT, Claimed, Debates


async def test_a_key_belongs_to_the_first_request(redis: Redis) -> None:
    """Of many at once all learn of the same one; other keys are others'. It is remembered for a day, by its digest."""
    debates = Debates(redis)
    found = await asyncio.gather(*(debates.claim("key", f"c{n}", f"f{n}") for n in range(5)))
    assert len(set(found)) == 1 and found[0] in [Claimed(f"c{n}", f"f{n}") for n in range(5)]
    assert await debates.claim("key", "later", "other") == found[0]
    assert await debates.claim("key ", "own", "f") == Claimed("own", "f")
    for key in await redis.keys("*"):
        assert b"debate:{" in key and 0 < await redis.pttl(key) <= KEPT * 1000


async def test_what_debates_are_about(redis: Redis) -> None:
    """ "" for what is not known, in the order that was asked for."""
    await redis.hset("conversation:{b}:state", mapping={"topic": "Té", "stance": "Sí"})  # type: ignore[misc]
    assert await Debates(redis).about(["a", "b"]) == [("", ""), ("Té", "Sí")]
    assert await Debates(redis).about([]) == []
