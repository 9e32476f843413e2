"""Lists of conversations, and one of them, as Redis holds them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from relay.items import AssistantItem, ToolItem, UserItem, dump_item
from relay.report import TOLD
from relay.store import monitor as module
from relay.store.archive import Archive, after_key
from relay.store.history import History, state_key
from relay.store.monitor import DAY_MS, MOST_LOOKED, Conversation, Mark, Monitor, Page, Wanted
from relay.store.trace import hash_key, trace_key

NOW = 1_800_000_000_000
ANN, BOB = "phone:+15551234567", "phone:+15557654321"
KEPT = 3 * 86_400.0


@pytest.fixture
def monitor(redis: Redis) -> Monitor:
    return Monitor(redis, longest=KEPT, now_ms=lambda: NOW)


async def call(redis: Redis, name: str, at: int, *, person: str = ANN, told: str = "", **state: Any) -> None:
    """A call that began then, was over a minute later, and is listed."""
    fields = {
        "epoch": at,
        "begun": at,
        "left": at,
        "ended": at + 60_000,
        "reason": "completed",
        "agent": "desk",
        "channel": "voice",
        "person": person,
        "turns": 2,
        "slowest": 400,
        "worker": "w1",
        "seen": at + 59_000,
        **state,
    }
    await redis.hset(state_key(name), mapping={name: str(value) for name, value in fields.items()})
    if told:
        await redis.hset(after_key(name), TOLD + told, str(at + 1))
    await Archive(redis, ttl=KEPT).record(name, person, at)


def ids(page: Page) -> list[str]:
    return [each.id for each in page.found]


ALL = Wanted()


async def whole_list(monitor: Monitor, wanted: Wanted = ALL, limit: int = 3) -> list[str]:
    found: list[str] = []
    mark: Mark | None = None
    while True:
        page = await monitor.newest(wanted, limit, mark)
        found += ids(page)
        if page.mark is None:
            return found
        mark = page.mark


async def test_newest_first_over_the_days(redis: Redis, monitor: Monitor) -> None:
    """Every conversation once, whatever day it began on, and nothing that the lists keep longer than they are to."""
    begun = [NOW - hours * 3_600_000 for hours in (0, 1, 20, 30, 50, 71)]
    for number, at in enumerate(begun):
        await call(redis, f"CA{number}", at)
    await call(redis, "soon", NOW + 3_600_000)  # by the clock of another process
    assert await whole_list(monitor) == ["soon", *(f"CA{number}" for number in range(6))]
    assert await whole_list(monitor, limit=7) == await whole_list(monitor, limit=1)
    beyond = Monitor(redis, longest=3600, now_ms=lambda: NOW + DAY_MS)
    assert await whole_list(beyond) == []


async def test_a_page_goes_on_where_it_ended_while_calls_begin(redis: Redis, monitor: Monitor) -> None:
    """None comes twice and none is missed, those of one and the same ms among them."""
    for number in range(7):
        await call(redis, f"CA{number}", NOW - 1000 * (number // 5))
    first = await monitor.newest(ALL, 3)
    await call(redis, "CAnew", NOW + 1)
    await call(redis, "CA9", NOW)  # of the same ms, and higher: as if it stood above
    second = await monitor.newest(ALL, 3, first.mark)
    third = await monitor.newest(ALL, 3, second.mark)
    assert ids(first) + ids(second) + ids(third) == ["CA4", "CA3", "CA2", "CA1", "CA0", "CA6", "CA5"]
    assert third.mark is None


async def test_very_many_of_one_moment(redis: Redis, monitor: Monitor) -> None:
    """More than are read at once: still each of them once."""
    count = 2 * module.AT_ONCE + 10
    archive = Archive(redis, ttl=KEPT)
    for number in range(count):
        await redis.hset(state_key(f"CA{number:03}"), "epoch", NOW)
        await archive.record(f"CA{number:03}", ANN, NOW)
    assert await whole_list(monitor, limit=90) == [f"CA{number:03}" for number in reversed(range(count))]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ALL, ["CA1", "CA2", "CA3", "CA4"]),
        (Wanted(agent="kitchen"), ["CA2", "CA4"]),
        (Wanted(agent="bar"), ["CA4"]),
        (Wanted(agent="kit"), []),
        (Wanted(channel="chat"), ["CA3"]),
        (Wanted(outcome="transferred"), ["CA3"]),
        (Wanted(outcome="completed"), ["CA1", "CA2"]),
        (Wanted(outcome="lost"), ["CA4"]),
        (Wanted(slower_than=400), ["CA2", "CA4"]),
        (Wanted(slower_than=899.5, outcome="lost"), ["CA4"]),
        (Wanted(agent="nobody"), []),
    ],
    ids=repr,
)
async def test_what_is_wanted(redis: Redis, monitor: Monitor, wanted: Wanted, found: list[str]) -> None:
    """By each agent it was with, channel, outcome, and how slow the slowest turn was."""
    await call(redis, "CA1", NOW - 1)
    await call(redis, "CA2", NOW - 2, agent="kitchen", slowest=700)
    await call(redis, "CA3", NOW - 3, channel="chat", told="transferred", slowest="")
    await call(redis, "CA4", NOW - 4, reason="dropped", slowest=900, agents="bar kitchen desk")
    assert await whole_list(monitor, wanted, limit=1) == found


async def test_a_look_is_bounded(redis: Redis, monitor: Monitor) -> None:
    """One that finds little goes no further than so many conversations, and can be taken up from there."""
    day = module.day_key(NOW)
    names = {f"CA{number:04}": NOW - number for number in range(MOST_LOOKED + 150)}
    await redis.zadd(day, names)
    last = list(names)[-1]
    await redis.hset(state_key(last), mapping={"epoch": NOW, "agent": "rare"})
    page = await monitor.newest(Wanted(agent="rare"), 10)
    assert ids(page) == []
    assert MOST_LOOKED <= page.looked < MOST_LOOKED + module.AT_ONCE
    rest = await monitor.newest(Wanted(agent="rare"), 10, page.mark)
    assert (ids(rest), page.looked + rest.looked, rest.mark) == ([last], len(names), None)


async def test_what_has_expired_is_not_listed(redis: Redis, monitor: Monitor) -> None:
    """The lists outlive what they name."""
    await call(redis, "CA1", NOW)
    await call(redis, "CA2", NOW - 1)
    await redis.delete(state_key("CA1"))
    assert await whole_list(monitor) == ["CA2"]
    assert await monitor.one("CA1") is None


async def test_those_of_today(redis: Redis, monitor: Monitor) -> None:
    """``since`` a moment: none that began before it."""
    await call(redis, "CA1", NOW - 1000)
    await call(redis, "CA2", NOW - 5000)
    assert ids(await monitor.newest(ALL, 10, since=NOW - 2000)) == ["CA1"]


async def only(monitor: Monitor) -> Conversation:
    (one,) = (await monitor.newest(ALL, 10)).found
    return one


async def test_what_a_call_came_to(redis: Redis, monitor: Monitor) -> None:
    """When it began and ended, how, and how slow it was."""
    await call(redis, "CA1", NOW - 100_000)
    one = await only(monitor)
    assert (one.agent, one.channel, one.person, one.worker) == ("desk", "voice", ANN, "w1")
    assert (one.started, one.ended, one.outcome, one.live) == (NOW - 100_000, NOW - 40_000, "completed", False)
    assert (one.turns, one.slowest_ms) == (2, 400)


@pytest.mark.parametrize(
    ("holder", "sign", "live"),
    [("w1", NOW - 600_000, True), ("another", NOW - 600_000, False), ("", NOW - 2000, True)],
    ids=["its process lives", "its process is gone", "it has written just now"],
)
async def test_a_call_that_has_not_told_its_end(
    redis: Redis, monitor: Monitor, holder: str, sign: int, live: bool
) -> None:
    """It goes on as long as its process does; then it was lost, at its last sign."""
    await call(redis, "CA1", NOW - 900_000, left="", ended="", seen=sign, slowest="")
    if holder:
        await redis.hset(f"live:{{{holder}}}", "calls", 1)
    one = await only(monitor)
    assert (one.live, one.outcome) == (live, "live" if live else "lost")
    assert (one.ended, one.slowest_ms) == (None if live else sign, None)
    assert await whole_list(monitor, Wanted(outcome="live")) == (["CA1"] if live else [])


async def test_those_of_a_person(redis: Redis, monitor: Monitor) -> None:
    """Under all their ids, in one list, which pages like any other."""
    for number, person in enumerate([ANN, BOB, ANN, "phone:+15550000000", BOB]):
        await call(redis, f"CA{number}", NOW - number, person=person)
    first = await monitor.of_person([ANN, BOB], ALL, 3)
    assert ids(first) == ["CA0", "CA1", "CA2"]
    rest = await monitor.of_person([ANN, BOB], ALL, 3, first.mark)
    assert (ids(rest), rest.mark) == (["CA4"], None)
    assert ids(await monitor.of_person([], ALL, 3)) == []


async def test_who_is_behind_a_hash(redis: Redis, monitor: Monitor) -> None:
    """Found by their latest conversation; forgotten with it."""
    await call(redis, "CA1", NOW)
    await redis.set(hash_key("abc"), "CA1")
    assert (await monitor.person("abc"), await monitor.person("abd")) == (ANN, "")
    await redis.delete(state_key("CA1"))
    assert await monitor.person("abc") == ""


async def test_all_there_is_of_one(redis: Redis, monitor: Monitor) -> None:
    """Its items by position and its trace in order. What its session left open is repaired once nobody holds it."""
    reply = AssistantItem("Once there was", "open", heard=2, started=NOW - 20_000)
    items = [UserItem("A story"), ToolItem("t", "book", "{}", "{}", "running"), reply]
    history = History(redis, 60)
    await history.put("CA1", NOW - 60_000, [(4096 + at, dump_item(item)) for at, item in enumerate(items)])
    await redis.hset(state_key("CA1"), mapping={"begun": NOW - 60_000, "seen": NOW - 9_000, "agent": "desk"})
    for number in range(3):
        await redis.xadd(trace_key("CA1"), {"j": orjson.dumps({"turn": number})})
    whole = await monitor.one("CA1")
    assert whole is not None
    assert whole.items == list(enumerate(items, 4096))
    assert (whole.conversation.live, whole.conversation.started) == (True, NOW - 60_000)
    assert whole.trace == [{"turn": 0}, {"turn": 1}, {"turn": 2}]
    await redis.hset(state_key("CA1"), "seen", NOW - 11_000)
    whole = await monitor.one("CA1")
    assert whole is not None
    tool, said = whole.items[1][1], whole.items[2][1]
    assert isinstance(tool, ToolItem) and isinstance(said, AssistantItem)
    assert (tool.status, said.status, said.text, said.sent) == ("unknown", "interrupted", "Once there", reply.text)
