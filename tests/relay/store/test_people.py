"""People, field by field."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.store.people import LIMITS, People, Person, person_id, person_key

ANN = "phone:+15551234567"


@pytest.fixture
def people(redis: Redis) -> People:
    return People(redis, anonymous_ttl=60)


async def test_nobody_is_none(people: People) -> None:
    """A person exists once something is known of them."""
    assert await people.get(ANN) is None


async def test_fields_change_one_by_one(people: People) -> None:
    """An update leaves the other fields alone, also one made at the same time; an empty value removes its field."""
    await people.update(ANN, first_name="Ann", last_name="Lee")
    await asyncio.gather(people.update(ANN, email="ann@example.com"), people.update(ANN, agent="hotel"))
    assert await people.get(ANN) == Person(ANN, "Ann", "Lee", "ann@example.com", "hotel")
    await people.update(ANN, last_name="")
    assert await people.get(ANN) == Person(ANN, "Ann", "", "ann@example.com", "hotel")


async def test_values_are_bounded_and_on_one_line(people: People) -> None:
    """What a model or a caller sends does not grow the store nor break a prompt's line."""
    await people.update(ANN, first_name=" A\nB\t\x00C  D ", notes="x" * 10_000)
    ann = await people.get(ANN)
    assert ann is not None
    assert ann.first_name == "A B C D"
    assert len(ann.notes) == LIMITS["notes"]


async def test_an_unknown_field_is_refused(people: People, redis: Redis) -> None:
    """Only the fields of a person are written."""
    with pytest.raises(KeyError):
        await people.update(ANN, alias="phone:+1999")
    assert await redis.keys("*") == []


async def test_one_person_under_two_addresses(people: People) -> None:
    """What is learnt under either address is known under both."""
    await people.update(ANN, first_name="Ann")
    assert await people.link("telegram:77", ANN)
    assert await people.link("telegram:77", ANN)
    await people.update("telegram:77", email="ann@example.com")
    assert await people.get("telegram:77") == await people.get(ANN) == Person(ANN, "Ann", "", "ann@example.com")


async def test_a_person_is_not_hidden_by_an_alias(people: People) -> None:
    """A person with data of their own does not become another, nor is an alias made of an alias or of itself."""
    await people.update("telegram:77", first_name="Bob")
    assert not await people.link("telegram:77", ANN)
    assert await people.link("telegram:88", ANN)
    assert not await people.link("telegram:88", "phone:+15550000000")
    assert not await people.link("telegram:99", "telegram:88")
    assert not await people.link(ANN, ANN)
    assert await people.get("telegram:77") == Person("telegram:77", "Bob")


async def test_only_anonymous_callers_expire(people: People, redis: Redis) -> None:
    """A person with an address is kept; one without goes with the call."""
    nobody = person_id("phone", "anonymous", "CA1")
    for each in (nobody, ANN):
        await people.seen(each, 1000)
    await people.update(nobody, first_name="Zoe")
    await people.update(ANN, first_name="Ann")
    assert 50 < await redis.ttl(person_key(nobody)) <= 60
    assert await redis.ttl(person_key(ANN)) == -1


async def test_what_is_learnt_of_nobody_expires(people: People, redis: Redis) -> None:
    """A call may still write of somebody who was forgotten in the middle of it; from the next contact on it is kept."""
    await people.update(ANN, first_name="Ann")
    await people.update(ANN, last_name="Lee")
    assert 50 < await redis.ttl(person_key(ANN)) <= 60
    await people.seen(ANN, 1000)
    assert await redis.ttl(person_key(ANN)) == -1
    assert await people.get(ANN) == Person(ANN, "Ann", "Lee")


async def test_first_contact_overwrites_nothing(people: People) -> None:
    """It makes the person, and later ones move the last contact; repeated or late ones change nothing."""
    assert await people.seen(ANN, 2000) == ANN
    await people.update(ANN, first_name="Ann")
    for at in (5000, 3000, 5000):
        assert await people.seen(ANN, at) == ANN
    ann = await people.get(ANN)
    assert ann == Person(ANN, "Ann")
    assert ann is not None and (ann.first_seen, ann.last_seen) == (2000, 5000)


async def test_contact_by_an_alias_is_contact_with_the_person(people: People, redis: Redis) -> None:
    """It is told under which id they are kept, and the alias stays an alias."""
    await people.seen(ANN, 1000)
    assert await people.link("telegram:77", ANN)
    assert await people.seen("telegram:77", 9000) == ANN
    ann = await people.get(ANN)
    assert ann is not None and ann.last_seen == 9000
    assert await redis.hgetall(person_key("telegram:77")) == {b"alias": ANN.encode()}
    assert await people.ids("telegram:77") == [ANN, "telegram:77"]


@pytest.mark.parametrize(
    "address",
    ["", " ", "anonymous", "Anonymous", "+266696687", "+7378742833", "client:alice", "sip:a@example.com", "911"],
)
def test_a_caller_without_a_number_is_a_person_of_this_call_only(address: str) -> None:
    """Two withheld callers never share names."""
    assert person_id("phone", address, "CA1") == "anonymous:CA1"
    assert person_id("phone", address, "CA2") == "anonymous:CA2"


def test_an_address_is_a_person() -> None:
    """The same on every call, and apart from the same address in another channel."""
    assert person_id("phone", " +15551234567 ", "CA1") == ANN
    assert person_id("telegram", "77", "x") == "telegram:77"
    assert person_id("telegram", "", "x") == "anonymous:x"


def test_a_person_prints_no_name() -> None:
    """Names, numbers and addresses stay out of logs."""
    shown = repr(Person(ANN, "Ann", "Lee", "ann@example.com", "hotel", notes="tall"))
    assert not any(word in shown for word in ("Ann", "Lee", "example", "555", "tall"))
