"""Two people who turn out to be one."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.store.archive import Archive
from relay.store.people import LIMITS, EarlierCall, People, Person, aliases_key, person_key

ANN = "phone:+15551234567"
CHAT = "telegram:77"
OTHER = "whatsapp:+15551234567"


@pytest.fixture
def people(redis: Redis) -> People:
    return People(redis, anonymous_ttl=60)


def call(number: int) -> EarlierCall:
    return EarlierCall(f"CA{number}", number * 1000, f"Call {number}.")


async def dump(redis: Redis) -> dict[bytes, object]:
    """Everything in the store."""
    found: dict[bytes, object] = {}
    for key in await redis.keys("*"):
        kind = await redis.type(key)
        if kind == b"hash":
            found[key] = await redis.hgetall(key)
        elif kind == b"set":
            found[key] = await redis.smembers(key)
        else:
            found[key] = await redis.zrange(key, 0, -1, withscores=True)
    return found


async def meet(people: People, person: str, at: int, **known: str) -> None:
    await people.seen(person, at)
    await people.update(person, **known)


async def test_every_field_is_kept(people: People) -> None:
    """The person's stay, the other's fill what was not known, notes are joined, calls and contacts are both's."""
    await meet(people, ANN, 3000, first_name="Ann", email="ann@example.com", notes="Likes tea.")
    await meet(people, CHAT, 1000, first_name="Annie", last_name="Lee", notes="Has a dog.", language="en-US")
    for number in (2, 4, 6):
        await people.remember(ANN, call(number))
    for number in (1, 3, 5):
        await people.remember(CHAT, call(number))
    await people.seen(CHAT, 8000)
    assert await people.merge(CHAT, ANN) == ANN
    ann = await people.get(ANN)
    assert ann == Person(
        ANN,
        "Ann",
        "Lee",
        "ann@example.com",
        language="en-US",
        notes="Likes tea. Has a dog.",
        calls=tuple(call(number) for number in (6, 5, 4, 3, 2)),
    )
    assert ann is not None and (ann.first_seen, ann.last_seen) == (1000, 8000)
    assert await people.get(CHAT) == ann
    assert await people.ids(CHAT) == [ANN, CHAT]


async def test_merging_again_changes_nothing(people: People, redis: Redis) -> None:
    """Twice, at the same time or later, ends in the same."""
    await meet(people, ANN, 1, notes="x" * 1990)
    await meet(people, CHAT, 2, notes="ä" * 100)
    await people.merge(CHAT, ANN)
    once = await dump(redis)
    await asyncio.gather(*(people.merge(CHAT, ANN) for _ in range(5)))
    assert await dump(redis) == once
    ann = await people.get(ANN)
    assert ann is not None and ann.notes == "x" * 1990 + " " + "ä" * 9
    assert len(ann.notes) == LIMITS["notes"]


async def test_a_merge_cut_short_is_finished_by_the_next(people: People, redis: Redis) -> None:
    """Whatever of it had been done: nothing is there twice or lost."""
    await meet(people, ANN, 1, notes="Likes tea.")
    await meet(people, CHAT, 2, last_name="Lee", notes="Has a dog.")
    found = {name.decode(): value.decode() for name, value in (await redis.hgetall(person_key(CHAT))).items()}
    await people._fold(ANN, "person", found)
    await people.merge(CHAT, ANN)
    assert await people.get(ANN) == Person(ANN, last_name="Lee", notes="Likes tea. Has a dog.")


async def test_what_is_learnt_during_a_merge_is_kept(people: People) -> None:
    """Under either id, whichever comes first."""
    for round in range(20):
        one, other = f"phone:+1555000{round:04}", f"telegram:{round}"
        await meet(people, one, 1, first_name="Ann")
        await meet(people, other, 1, last_name="Lee")
        await asyncio.gather(people.merge(other, one), people.update(other, email="a@example.com"))
        assert await people.get(one) == Person(one, "Ann", "Lee", "a@example.com")


async def test_other_ids_and_conversations_come_along(people: People, redis: Redis) -> None:
    """An alias of the one who is merged is one of the person's; so are their conversations."""
    archive = Archive(redis, ttl=60)
    await meet(people, ANN, 1)
    await meet(people, CHAT, 2)
    assert await people.link(OTHER, CHAT)
    await archive.record("CA1", ANN, 1000)
    await archive.record("T1", CHAT, 2000, ttl=600)
    await people.merge(CHAT, ANN)
    assert await people.ids(OTHER) == [ANN, CHAT, OTHER]
    assert await archive.of(ANN) == [("T1", 2000), ("CA1", 1000)]
    assert await archive.of(CHAT) == []
    assert await redis.ttl("person:{" + ANN + "}:conversations") > 500
    assert await redis.exists(aliases_key(CHAT)) == 0


async def test_an_alias_of_somebody_else_brings_them_along(people: People) -> None:
    """All three are one then."""
    await meet(people, ANN, 1, first_name="Ann")
    await meet(people, CHAT, 2, last_name="Lee")
    assert await people.link(OTHER, CHAT)
    await people.merge(OTHER, ANN)
    assert await people.ids(ANN) == [ANN, CHAT, OTHER]
    assert await people.get(CHAT) == await people.get(OTHER) == Person(ANN, "Ann", "Lee")


async def test_an_id_of_nobody_becomes_an_alias(people: People) -> None:
    """As by ``link``; and merging into an alias is merging into its person."""
    await meet(people, ANN, 1, first_name="Ann")
    assert await people.merge(CHAT, ANN) == ANN
    assert await people.merge(OTHER, CHAT) == ANN
    assert await people.merge(ANN, CHAT) == ANN
    assert await people.get(OTHER) == await people.get(CHAT) == Person(ANN, "Ann")


async def test_who_does_not_want_to_be_remembered_is_not(people: People) -> None:
    """Said under either id, it holds for both; what was remembered goes."""
    await meet(people, ANN, 1)
    await people.remember(ANN, call(1))
    await meet(people, CHAT, 2, memory="off")
    await people.merge(CHAT, ANN)
    ann = await people.get(ANN)
    assert ann is not None and ann.memory == "off" and ann.calls == ()
    await people.remember(ANN, call(2))
    assert not [name for name in await people._read(ANN) if name.startswith("call:")]
