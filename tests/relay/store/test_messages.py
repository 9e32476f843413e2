"""What became of messages, and whose they are."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.messages import Status
from relay.store.client import connect
from relay.store.messages import STATUSES, Message, Messages, message_key, messages_key

ANN, BOB = "phone:+15551234567", "phone:+15557654321"
DAY = 24 * 3600.0


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def messages(redis: Redis, clock: Clock) -> Messages:
    return Messages(redis, now=clock)


async def sent(messages: Messages, sid: str, person: str = ANN) -> None:
    await messages.sent(sid, kind="text", conversation="CA1", person=person)


async def test_a_message_is_remembered_for_a_month(messages: Messages, redis: Redis, clock: Clock) -> None:
    """With its conversation, person, kind and time; the person's list lives as long."""
    await sent(messages, "SM1")
    assert await messages.get("SM1") == Message("text", "queued", "", "CA1", ANN, clock.time)
    assert await messages.of(ANN) == ["SM1"]
    for key in (message_key("SM1"), messages_key(ANN)):
        assert 29 * DAY < await redis.ttl(key) <= 30 * DAY


async def test_a_message_nobody_sent(messages: Messages) -> None:
    """There is nothing to be read of it."""
    assert await messages.get("SM1") is None
    assert await messages.status("SM1") is None
    assert await messages.of(ANN) == []


async def test_a_mail_is_sent_and_no_more_is_known(messages: Messages) -> None:
    """Nobody reports what becomes of it."""
    await messages.sent("1@example.com", kind="mail", conversation="CA1", person=ANN)
    assert await messages.status("1@example.com") == Status("sent")


@pytest.mark.parametrize("order", list(permutations(["queued", "sending", "sent", "delivered"])))
async def test_a_status_never_goes_back(messages: Messages, order: tuple[str, ...]) -> None:
    """Whatever order the reports come in, and however often, the furthest one stays."""
    await sent(messages, "SM1")
    for status in (*order, *order):
        assert await messages.report("SM1", status)
    assert await messages.status("SM1") == Status("delivered")


@pytest.mark.parametrize("lost", ["failed", "undelivered", "canceled"])
@pytest.mark.parametrize("later", ["queued", "sent", "delivered", "read", "failed", "undelivered"])
async def test_a_lost_message_stays_lost(messages: Messages, lost: str, later: str) -> None:
    """With the code of why, whatever is reported afterwards."""
    await sent(messages, "SM1")
    await messages.report("SM1", "sent")
    await messages.report("SM1", lost, "30003")
    await messages.report("SM1", later, "1")
    assert await messages.status("SM1") == Status(lost, "30003")


@pytest.mark.parametrize("arrived", ["delivered", "read"])
async def test_a_message_that_arrived_was_not_lost(messages: Messages, arrived: str) -> None:
    """It may still be read."""
    await sent(messages, "SM1")
    await messages.report("SM1", arrived)
    await messages.report("SM1", "undelivered", "30008")
    assert await messages.status("SM1") == Status(arrived)
    await messages.report("SM1", "read")
    assert await messages.status("SM1") == Status("read")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=st.lists(st.sampled_from(sorted(STATUSES)), min_size=1, max_size=6))
def test_a_report_repeated_changes_nothing(redis_url: str, reports: list[str]) -> None:
    """After any reports, each of them made once more leaves the end state as it is, also at once after the first."""

    async def run() -> None:
        redis = connect(redis_url)
        try:
            await redis.flushall()
            messages = Messages(redis)
            for status in reports:
                await messages.report("SM1", status)
                before = await redis.hgetall(message_key("SM1"))  # type: ignore[misc]
                await messages.report("SM1", status)
                assert await redis.hgetall(message_key("SM1")) == before  # type: ignore[misc]
            for status in reports:
                await messages.report("SM1", status)
            assert await redis.hgetall(message_key("SM1")) == before  # type: ignore[misc]
        finally:
            await redis.aclose()

    asyncio.run(run())


async def test_a_report_that_is_faster_than_the_record(messages: Messages, redis: Redis) -> None:
    """It is kept for a while under a message that is not known, and is the message's status once it is."""
    assert not await messages.report("SM1", "undelivered", "30003")
    assert await messages.get("SM1") is None
    assert 0 < await redis.ttl(message_key("SM1")) <= 600
    await sent(messages, "SM1")
    found = await messages.get("SM1")
    assert found is not None
    assert (found.status, found.error, found.person) == ("undelivered", "30003", ANN)
    assert await redis.ttl(message_key("SM1")) > 29 * DAY
    assert await messages.report("SM1", "sent")


async def test_a_message_recorded_twice(messages: Messages, clock: Clock) -> None:
    """Status and time stay as they were."""
    await sent(messages, "SM1")
    await messages.report("SM1", "delivered")
    before = await messages.get("SM1")
    clock.time += 60
    await sent(messages, "SM1")
    assert await messages.get("SM1") == before
    assert await messages.of(ANN) == ["SM1"]


async def test_messages_of_a_person_are_forgotten(messages: Messages, redis: Redis) -> None:
    """All of theirs, whatever their kind, and nobody else's."""
    for number in range(3):
        await sent(messages, f"SM{number}")
    await messages.sent("1@example.com", kind="mail", conversation="CA1", person=ANN)
    await sent(messages, "SM9", BOB)
    assert await messages.forget(ANN) == 4
    assert await messages.forget(ANN) == 0
    assert sorted(await redis.keys("*")) == sorted(key.encode() for key in (message_key("SM9"), messages_key(BOB)))


async def test_what_has_expired_leaves_the_list(messages: Messages, clock: Clock) -> None:
    """A person who is sent something every week does not have an ever longer list."""
    await sent(messages, "SM1")
    clock.time += 31 * DAY
    await sent(messages, "SM2")
    assert await messages.of(ANN) == ["SM2"]


@pytest.mark.parametrize("person", ["", "anonymous:CA1"])
async def test_a_message_to_nobody_is_in_no_list(messages: Messages, redis: Redis, person: str) -> None:
    """An anonymous caller goes with the call; the message's status is known all the same."""
    await sent(messages, "SM1", person)
    assert await redis.keys("person:*") == []
    assert await messages.status("SM1") == Status("queued")


async def test_without_redis() -> None:
    """Every method raises our own error."""
    redis = connect("unix:///nonexistent/redis.sock")
    messages = Messages(redis)
    for attempt in (sent(messages, "SM1"), messages.report("SM1", "sent"), messages.forget(ANN), messages.get("SM1")):
        with pytest.raises(StoreError):
            await attempt
    await redis.aclose()


async def test_a_message_prints_no_number(messages: Messages) -> None:
    """Whose it is stays out of logs."""
    await sent(messages, "SM1")
    assert "555" not in repr(await messages.get("SM1"))
