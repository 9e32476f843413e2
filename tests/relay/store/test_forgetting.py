"""Forgetting a person: nothing of them is left anywhere, and nothing of others is touched."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from relay.items import UserItem, dump_item
from relay.store.archive import Archive
from relay.store.due import Due
from relay.store.effects import Effects
from relay.store.forgetting import Forgetting
from relay.store.history import History
from relay.store.people import EarlierCall, People
from relay.store.person import person_hash
from relay.store.trace import hash_key

ANN = "phone:+15551234567"
BOB = "phone:+15557654321"
CHAT = "telegram:77"
AT = 1_700_000_000_000


class Tours:
    """A store with keys of its own."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def forget(self, person: str) -> int:
        return int(await self._redis.hdel("{tours}:2026-11-21", person))


class House:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.people = People(redis)
        self.archive = Archive(redis, ttl=3600)
        self.due = Due(redis, "aftercall", 60)
        self.forgetting = Forgetting(redis, self.people, self.archive, self.due, {"tours": Tours(redis)})

    async def lives(self, person: str, number: int, *, name: str = "Ann") -> None:
        """Somebody who called, was summed up and is to be reported, wrote, and has booked a tour."""
        call, chat = f"CA{number}", f"T{number}"
        await self.people.seen(person, AT)
        await self.people.update(person, first_name=name, notes=f"{name} likes tea.")
        await self.people.remember(person, EarlierCall(call, AT, f"{name} booked."))
        await self.archive.record(call, person, AT)
        await self.archive.record(chat, person, AT + 1)
        history = History(self.redis, 3600)
        await history.load(call, 1)
        await history.put(call, 1, [(0, dump_item(UserItem(f"I am {name}")))], {"person": person})
        await Effects(self.redis, 3600).begin(call, 1, "book", "{}", "1:0")
        await self.archive.keep_report(call, f'{{"from":"{person}"}}'.encode(), 3600, written=1)
        await self.redis.hset(f"conversation:{{{call}}}:call", "to", person)
        await self.redis.xadd(f"conversation:{{{call}}}:trace", {"who": name})
        await self.redis.set(hash_key(person_hash(b"key", person)), call)
        await self.redis.rpush(f"{{inbox:07}}:{chat}:events", f"from {person}")
        await self.redis.hset(f"{{inbox:07}}:{chat}:state", "person", person)
        await self.redis.hset("{tours}:2026-11-21", person, name)
        await self.due.add(0, {call: AT})


@pytest.fixture
def house(redis: Redis) -> House:
    return House(redis)


async def test_nothing_of_a_person_is_left(house: House) -> None:
    """Their number, their name and their calls stand nowhere; what is known of others is as it was."""
    await house.lives(BOB, 2, name="Bob")
    before = await shown(house.redis)
    await house.lives(ANN, 1)
    await house.people.link(CHAT, ANN)
    await house.people.update(CHAT, email="ann@example.com")
    counts = await house.forgetting.forget(ANN)
    assert counts == {"tours": 1, "reports and summaries due": 1, "conversations": 2, "names of the person": 2}
    after = await shown(house.redis)
    assert not any(word in text for text in after.values() for word in ("15551234567", "Ann", "ann@", "CA1", "T1"))
    assert after == before


async def shown(redis: Redis) -> dict[str, str]:
    """Everything in the store, as text: keys and values."""
    found = {}
    for key in sorted(await redis.keys("*")):
        value: object
        match await redis.type(key):
            case b"string":
                value = await redis.get(key)
            case b"list":
                value = await redis.lrange(key, 0, -1)
            case b"stream":
                value = await redis.xrange(key)
            case b"hash":
                value = sorted((await redis.hgetall(key)).items())
            case b"set":
                value = sorted(await redis.smembers(key))
            case _:
                value = await redis.zrange(key, 0, -1, withscores=True)
        found[key.decode()] = f"{key!r} {value!r}"
    return found


async def test_by_any_of_their_ids(house: House) -> None:
    """An alias stands for the whole person, also one that was merged."""
    await house.lives(ANN, 1)
    await house.lives(CHAT, 3)
    await house.people.merge(CHAT, ANN)
    counts = await house.forgetting.forget(CHAT)
    assert (counts["tours"], counts["conversations"]) == (2, 4)
    assert await house.redis.keys("*") == []


async def test_nobody_to_forget(house: House) -> None:
    """It is no error, and nothing is touched; nor is forgetting twice."""
    await house.lives(BOB, 2, name="Bob")
    before = await shown(house.redis)
    assert await house.forgetting.forget(ANN) == {}
    assert await shown(house.redis) == before
    await house.forgetting.forget(BOB)
    assert await house.forgetting.forget(BOB) == {}
    assert await house.redis.keys("*") == []
