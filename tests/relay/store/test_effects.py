"""Side effects are carried out once."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.errors import Fenced, StoreError
from relay.store.client import connect
from relay.store.effects import Answered, Begun, Effects, InDoubt, effects_key
from tests.relay.store.servers import FragileRedis, patient

CALL = "CA0123"
BOOK = ("book", '{"day":"monday"}')


@pytest.fixture
def effects(redis: Redis) -> Effects:
    return Effects(redis, 60)


async def test_a_finished_call_made_again_is_answered(effects: Effects) -> None:
    """The second call of the same tool with the same arguments gets the first one's result."""
    assert await effects.begin(CALL, 1, *BOOK, owner="c1") == Begun()
    assert await effects.finish(CALL, 1, *BOOK, owner="c1", output='{"ok":true}')
    for owner in ("c2", "c3", "c1"):
        assert await effects.begin(CALL, 1, *BOOK, owner=owner) == Answered('{"ok":true}')


async def test_other_arguments_another_tool_or_conversation_are_other_wishes(effects: Effects) -> None:
    """Only an equal call is the same."""
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    assert await effects.begin(CALL, 1, "book", '{"day":"friday"}', owner="c2") == Begun()
    assert await effects.begin(CALL, 1, "cancel", BOOK[1], owner="c3") == Begun()
    assert await effects.begin("CA9", 1, *BOOK, owner="c4") == Begun()


async def test_a_call_left_running_is_in_doubt(effects: Effects) -> None:
    """A session that resumes after a crash is told that nobody knows."""
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    assert await effects.begin(CALL, 2, *BOOK, owner="c2") == InDoubt()


async def test_every_script_run_twice_is_answered_the_same(effects: Effects) -> None:
    """An owner whose answer was lost asks again and learns the same."""
    for _ in range(2):
        assert await effects.begin(CALL, 1, *BOOK, owner="c1") == Begun()
    for _ in range(2):
        assert await effects.finish(CALL, 1, *BOOK, owner="c1", output="1")
    assert await effects.begin(CALL, 1, *BOOK, owner="c1") == Answered("1")
    for _ in range(2):
        await effects.settle(CALL, 1)
    assert await effects.begin(CALL, 1, *BOOK, owner="c2") == Begun()


async def test_after_an_uninterrupted_turn_the_same_call_is_a_new_wish(effects: Effects) -> None:
    """settle forgets results, and what dead owners left, but not what still runs."""
    other = ("cancel", "{}")
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    await effects.finish(CALL, 1, *BOOK, owner="c1", output="1")
    await effects.begin(CALL, 1, *other, owner="c2")
    await effects.begin(CALL, 1, "third", "{}", owner="dead")
    await effects.settle(CALL, 1, running=["c2"])
    assert await effects.begin(CALL, 1, *BOOK, owner="c3") == Begun()
    assert await effects.begin(CALL, 1, *other, owner="c4") == InDoubt()
    assert await effects.begin(CALL, 1, "third", "{}", owner="c5") == Begun()


async def test_a_withdrawn_call_was_never_made(effects: Effects) -> None:
    """A call recorded as running that was not carried out after all stands in nobody's way."""
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    assert await effects.withdraw(CALL, *BOOK, owner="c1")
    assert await effects.begin(CALL, 1, *BOOK, owner="c2") == Begun()
    assert not await effects.withdraw(CALL, *BOOK, owner="c1")
    assert await effects.begin(CALL, 1, *BOOK, owner="c3") == InDoubt()


async def test_an_older_session_starts_and_settles_nothing(effects: Effects, redis: Redis) -> None:
    """The epoch is checked with the record, in one step."""
    await effects.begin(CALL, 2, *BOOK, owner="c1")
    held = await redis.hgetall(effects_key(CALL))
    with pytest.raises(Fenced):
        await effects.begin(CALL, 1, "cancel", "{}", owner="c2")
    with pytest.raises(Fenced):
        await effects.settle(CALL, 1)
    assert await redis.hgetall(effects_key(CALL)) == held


async def test_the_newer_session_learns_how_an_older_ones_effect_ended(effects: Effects) -> None:
    """finish is the owner's to tell whoever has the conversation by now; it never brings a forgotten call back."""
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    await effects.begin(CALL, 2, "other", "{}", owner="c2")
    assert await effects.finish(CALL, 1, *BOOK, owner="c1", output="1")
    assert await effects.begin(CALL, 2, *BOOK, owner="c3") == Answered("1")
    await effects.settle(CALL, 2)
    assert not await effects.finish(CALL, 1, *BOOK, owner="c1", output="1")
    assert await effects.begin(CALL, 2, *BOOK, owner="c4") == Begun()


async def test_arguments_are_not_stored_and_the_record_expires(effects: Effects, redis: Redis) -> None:
    """A digest stands for the arguments; the key goes with the conversation."""
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    assert all(b"monday" not in field + value for field, value in (await redis.hgetall(effects_key(CALL))).items())
    assert 50 < await redis.ttl(effects_key(CALL)) <= 60


async def test_a_silent_server_is_known_within_half_a_second(fragile: FragileRedis) -> None:
    """The caller gets StoreError and decides; a repetition by the same owner is right afterwards."""
    redis = connect(patient(fragile.url))
    effects = Effects(redis, 60, deadline=0.1)
    await effects.begin(CALL, 1, *BOOK, owner="c1")
    fragile.freeze()
    async with asyncio.timeout(30):  # its own deadlines pass, not the client's
        for call in (
            effects.begin(CALL, 1, "cancel", "{}", owner="c2"),
            effects.finish(CALL, 1, *BOOK, owner="c1", output="1"),
            effects.settle(CALL, 1),
        ):
            with pytest.raises(StoreError):
                await call
    fragile.thaw()
    assert await effects.begin(CALL, 1, "cancel", "{}", owner="c2") == Begun()
    await redis.aclose()


async def test_the_digest_cannot_be_made_again_without_the_key(redis: Redis) -> None:
    """A PIN has ten thousand values: whoever can read Redis must not find it by trying them."""
    names = set()
    for key in (b"", b"one", b"another"):
        await redis.flushall()
        await Effects(redis, 60, key=key).begin(CALL, 1, "pay", '{"pin":"1234"}', owner="c1")
        names |= set(await redis.hgetall(effects_key(CALL)))
    assert len(names) == 3
