"""The lists of conversations, and what is left of one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from relay.items import UserItem, dump_item
from relay.store.archive import Archive, after_key, day_key, report_key
from relay.store.history import History

ANN = "phone:+15551234567"
DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
LIST = f"person:{{{ANN}}}:conversations"


@pytest.fixture
def archive(redis: Redis) -> Archive:
    return Archive(redis, ttl=86_400, longest=30 * 86_400)


def test_a_day_is_utcs() -> None:
    """Whatever the machine's zone is."""
    assert day_key(NOON) == "conversations:{2024-10-04}"
    assert day_key(NOON + DAY // 2 - 1) == "conversations:{2024-10-04}"
    assert day_key(NOON + DAY // 2) == "conversations:{2024-10-05}"


async def test_a_conversation_is_listed_by_day_and_person(archive: Archive, redis: Redis) -> None:
    """Once, with the moment it began, however often it is recorded."""
    for _ in range(2):
        await archive.record("CA1", ANN, NOON)
        await archive.record("CA2", ANN, NOON + 5)
    await archive.record("CA1", ANN, NOON + 99)
    assert await archive.of(ANN) == [("CA2", NOON + 5), ("CA1", NOON)]
    assert await redis.zrange(day_key(NOON), 0, -1) == [b"CA1", b"CA2"]
    assert await archive.listed("CA1", NOON)
    assert not await archive.listed("CA3", NOON)


async def test_lists_expire_with_what_they_list(archive: Archive, redis: Redis) -> None:
    """With the longest of it: a call added to a text conversation does not take it away sooner."""
    await archive.record("CA1", ANN, NOON)
    assert 86_000 < await redis.ttl(LIST) <= 86_400
    await archive.record("T1", ANN, NOON, ttl=30 * 86_400)
    await archive.record("CA2", ANN, NOON)
    for key in (LIST, day_key(NOON)):
        assert await redis.ttl(key) > 29 * 86_400


async def test_lists_outlive_what_follows_a_call(redis: Redis) -> None:
    """A report that is still to be delivered is found by its person when the call's own history has gone."""
    archive = Archive(redis, ttl=3600, outlives=2 * 86_400)
    await archive.record("CA1", ANN, NOON)
    await archive.record("CA2", ANN, NOON + 2 * DAY)
    assert [each for each, _ in await archive.of(ANN)] == ["CA2", "CA1"]
    for key in (LIST, day_key(NOON)):
        assert 2 * 86_400 < await redis.ttl(key) <= 2 * 86_400 + 3600


async def test_lists_are_trimmed(archive: Archive) -> None:
    """What is older than anything that is kept goes when the list is written."""
    await archive.record("CA1", ANN, NOON)
    await archive.record("CA2", ANN, NOON + 29 * DAY)
    await archive.record("CA3", ANN, NOON + 31 * DAY)
    assert [each for each, _ in await archive.of(ANN)] == ["CA3", "CA2"]


async def test_reading_claims_nothing(archive: Archive, redis: Redis) -> None:
    """The session that owns the conversation writes on."""
    history = History(redis, 60)
    await history.load("CA1", 7)
    await history.put("CA1", 7, [(0, dump_item(UserItem("Hi")))], {"agent": "desk", "turns": "3", "odd": "x"})
    kept = await archive.read("CA1")
    assert (kept.state["agent"], kept.number("epoch"), kept.number("turns"), kept.number("odd")) == ("desk", 7, 3, 0)
    assert (kept.after, kept.report) == ({}, None)
    assert await archive.items("CA1") == [UserItem("Hi")]
    await history.put("CA1", 7, [(1, dump_item(UserItem("Still here")))])
    assert len(await archive.items("CA1")) == 2
    assert (await archive.read("CA2")).state == {}


async def test_a_report_waits_with_what_is_noted_of_it(archive: Archive, redis: Redis) -> None:
    """For as long as it may be delivered, the history gone or not; deleted, nothing of it is left."""
    await archive.keep_report("CA1", b"{}", 90_000, written=7)
    kept = await archive.read("CA1")
    assert (kept.report, kept.done("written")) == (b"{}", 7)
    for key in (after_key("CA1"), report_key("CA1")):
        assert 89_000 < await redis.ttl(key) <= 90_000
    await archive.drop_report("CA1")
    assert (await archive.read("CA1")).report is None
    await archive.delete("CA1")
    assert await redis.keys("*") == []
