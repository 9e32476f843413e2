"""Which conversation a visitor is in, and which turn is under way in it."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from relay.store.chat_current import SILENT_MS, CurrentChats, conversations_key
from relay.store.chat_running import RunningTurn, RunningTurns, running_key

ADA, BOB = "v_ada", "v_bob"
DAY = 86_400


async def test_a_visitor_finds_the_conversation_again(redis: Redis) -> None:
    """One with each agent, nobody else's, until a new one is begun."""
    current = CurrentChats(redis, DAY)
    assert await current.peek(ADA, "default") == ""
    first = await current.of(ADA, "default")
    assert await current.of(ADA, "default") == first == await current.peek(ADA, "default")
    others = {await current.of(ADA, "sales"), await current.of(BOB, "default")}
    assert len({first, *others}) == 3
    newer = await current.begin_anew(ADA, "default")
    assert newer not in {first, *others}
    assert await current.of(ADA, "default") == newer
    assert await current.peek(ADA, "sales") in others


async def test_what_nobody_spoke_in_is_soon_forgotten(redis: Redis) -> None:
    """Something was said in one: then all of the visitor's are kept, and looking does not change that."""
    current = CurrentChats(redis, DAY)
    await current.of(ADA, "default")
    assert SILENT_MS - 5000 < await redis.pttl(conversations_key(ADA)) <= SILENT_MS
    await current.keep(ADA)
    for look in (current.of, current.begin_anew):
        await look(ADA, "sales")
        assert await redis.ttl(conversations_key(ADA)) > DAY - 5
    short = CurrentChats(redis, 60)
    await short.of(BOB, "default")
    assert await redis.ttl(conversations_key(BOB)) <= 60


async def test_a_person_is_forgotten(redis: Redis) -> None:
    """A visitor is; of other channels' people nothing is kept here."""
    current = CurrentChats(redis, DAY)
    await current.of(ADA, "default")
    assert [await current.forget(who) for who in ("phone:+1555", f"chat:{ADA}", f"chat:{ADA}")] == [0, 1, 0]
    assert await redis.dbsize() == 0


async def test_a_turn_is_found_by_who_comes_next(redis: Redis) -> None:
    """As long as it is not ended; beginning another tells of it, too."""
    running, turn = RunningTurns(redis, DAY), RunningTurn("t_1", "m1", "w1")
    assert await running.begin("c", turn) is None
    assert await running.read("c") == turn and await running.read("d") is None
    assert await running.begin("c", RunningTurn("t_2", "", "w2")) == turn
    await running.end("c")
    assert await running.read("c") is None
    await running.end("c")
    assert "m1" not in repr(turn)


@pytest.mark.parametrize(
    "value", ["", "no JSON", "[]", '{"v": 2, "turn": "t", "key": "", "worker": "w"}', '{"turn": 1}']
)
async def test_another_versions_turn_is_none(redis: Redis, value: str) -> None:
    """What cannot be read is nobody's."""
    await redis.set(running_key("c"), value)
    assert await RunningTurns(redis, DAY).read("c") is None
