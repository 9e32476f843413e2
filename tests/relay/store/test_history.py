"""Conversations in Redis, and what a resumed session makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.errors import Fenced, StoreError
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem, dump_item, load_item
from relay.store.client import connect
from relay.store.history import UNKNOWN_OUTCOME, History, items_key, repair, state_key
from tests.relay.store.servers import FragileRedis

CALL = "CA0123"
HI = UserItem("Hi")


def stored(*entries: tuple[int, Item | None]) -> list[tuple[int, bytes]]:
    return [(position, b"" if item is None else dump_item(item)) for position, item in entries]


async def whole(redis: Redis) -> object:
    """Everything the server holds, expiries apart."""
    found: dict[bytes, object] = {}
    for key in await redis.keys("*"):
        if await redis.type(key) == b"zset":
            found[key] = await redis.zrange(key, 0, -1, withscores=True)
        else:
            found[key] = await redis.hgetall(key)
    return found


async def test_items_come_back_in_the_order_of_their_positions(redis: Redis) -> None:
    """load returns what was put, by position, whatever the order of the writes; the base is behind the last."""
    history = History(redis, 60)
    tool = ToolItem("c1", "book", '{"day":1}', '{"ok":true}')
    await history.put(CALL, 5, stored((11, AssistantItem("Hello.")), (9, HI)), {"agent": "default"})
    await history.put(CALL, 5, stored((10, tool)))
    loaded = await history.load(CALL, 6)
    assert loaded.entries == [(9, HI), (10, tool), (11, AssistantItem("Hello."))]
    assert loaded.base == 12
    assert loaded.state["agent"] == "default"
    assert loaded.before == 5


async def test_positions_of_a_session_that_could_not_ask_are_exact(redis: Redis) -> None:
    """A base of epoch << 12 keeps every position apart, though scores are floating point numbers."""
    history = History(redis, 60)
    epoch = (1 << 41) - 1
    base = epoch << 12
    await history.put(CALL, epoch, stored(*((base + n, NoteItem(str(n))) for n in range(5))))
    loaded = await history.load(CALL, epoch)
    assert loaded.entries == [(base + n, NoteItem(str(n))) for n in range(5)]
    assert loaded.base == base + 5


async def test_equal_items_at_two_positions_stay_two(redis: Redis) -> None:
    """A caller may say the same twice."""
    history = History(redis, 60)
    await history.put(CALL, 1, stored((0, HI), (1, HI)))
    assert (await history.load(CALL, 1)).entries == [(0, HI), (1, HI)]


async def test_put_replaces_and_removes(redis: Redis) -> None:
    """Another item at a position takes its place; empty bytes remove what is there."""
    history = History(redis, 60)
    await history.put(CALL, 1, stored((0, HI), (1, UserItem("Bye"))))
    await history.put(CALL, 1, stored((0, UserItem("Hi there")), (1, None), (2, None)))
    loaded = await history.load(CALL, 1)
    assert loaded.entries == [(0, UserItem("Hi there"))]
    assert loaded.base == 1


async def test_an_unreadable_item_keeps_its_place(redis: Redis) -> None:
    """What a newer program wrote is left out, and its position is not given away."""
    history = History(redis, 60)
    await history.put(CALL, 1, [*stored((0, HI)), (1, b'{"v":99,"type":"dream"}')])
    loaded = await history.load(CALL, 2)
    assert loaded.entries == [(0, HI)]
    assert loaded.base == 2


async def test_scripts_run_twice_leave_what_running_once_left(redis: Redis) -> None:
    """Repeating a load or a put changes nothing and answers the same."""
    history = History(redis, 60)
    await history.put(CALL, 3, stored((0, HI)))
    first = await history.load(CALL, 7)
    assert await history.load(CALL, 7) == first
    writes = stored((0, UserItem("Hello")), (1, AssistantItem("Yes", "open")), (2, None))
    await history.put(CALL, 7, writes, {"seen": "70"})
    once = await whole(redis)
    await history.put(CALL, 7, writes, {"seen": "70"})
    assert await whole(redis) == once
    assert (await history.load(CALL, 7)).before == 3


async def test_an_older_epoch_neither_writes_nor_loads(redis: Redis) -> None:
    """Once a newer session has claimed the conversation, by loading or by writing, the older one is refused."""
    history = History(redis, 60)
    await history.put(CALL, 5, stored((0, HI)))
    await history.load(CALL, 6)
    held = await whole(redis)
    with pytest.raises(Fenced):
        await history.put(CALL, 5, stored((0, UserItem("late")), (1, UserItem("later"))), {"status": "late"})
    with pytest.raises(Fenced):
        await history.load(CALL, 5)
    assert await whole(redis) == held
    await history.put(CALL, 8, [])
    with pytest.raises(Fenced):
        await history.load(CALL, 6)


async def test_a_conversation_expires_and_every_access_renews_it(redis: Redis) -> None:
    """Both keys live for the time to live after the last access."""
    await History(redis, 60).put(CALL, 1, stored((0, HI)))
    await History(redis, 3600).load(CALL, 2)
    for key in (items_key(CALL), state_key(CALL)):
        assert 3500 < await redis.ttl(key) <= 3600


def test_the_keys_of_a_conversation_share_one_slot() -> None:
    """The id is the hash tag."""
    assert items_key("CA1") == "conversation:{CA1}:items"
    assert state_key("CA1") == "conversation:{CA1}:state"


async def test_a_server_that_is_gone_is_a_store_error(fragile: FragileRedis) -> None:
    """A refused connection and a silent server are StoreError, and a started server knows the scripts again."""
    redis = connect(fragile.url)
    history = History(redis, 60)
    await history.load(CALL, 1)
    fragile.freeze()
    with pytest.raises(StoreError):
        await history.put(CALL, 1, stored((0, HI)))
    fragile.stop()
    with pytest.raises(StoreError):
        await history.load(CALL, 1)
    fragile.start()
    await history.put(CALL, 1, stored((0, HI)))
    assert (await history.load(CALL, 1)).entries == [(0, HI)]
    await redis.aclose()


# -- repair


def test_a_call_without_result_gets_one() -> None:
    """What was running when the line dropped has an unknown outcome, and says so to the model."""
    running = ToolItem("c1", "book", "{}", '{"status":"running"}', "running")
    items, rewrites = repair([(4, running)], 0)
    repaired = ToolItem("c1", "book", "{}", UNKNOWN_OUTCOME, "unknown")
    assert items == rewrites == [(4, repaired)]
    assert "Check before repeating" in UNKNOWN_OUTCOME


def test_an_open_reply_is_cut_to_the_words_known_to_be_played() -> None:
    """The heard mark counts words; spacing stays as it was sent."""
    items, rewrites = repair([(0, AssistantItem("One,  two three four", "open", heard=2, started=1000))], 99_999)
    assert items == [(0, AssistantItem("One,  two", "interrupted", started=1000))]
    assert rewrites == items


def test_an_open_reply_without_proof_is_cut_to_what_there_was_time_for() -> None:
    """14 characters a second after 0.35 s: 1.35 s after the first frame 14 characters can have been heard."""
    reply = AssistantItem("Twelve chars and more", "open", started=10_000)
    assert repair([(0, reply)], 11_349)[0] == [(0, AssistantItem("Twelve chars", "interrupted", started=10_000))]
    assert repair([(0, reply)], 10_300) == ([], [(0, None)])


def test_an_open_reply_heard_to_its_end_is_done() -> None:
    """Nothing was cut, so nothing is said to be."""
    items, _ = repair([(0, AssistantItem("All of it.", "open", heard=3))], 0)
    assert items == [(0, AssistantItem("All of it."))]


def test_an_open_reply_of_which_nothing_was_heard_goes() -> None:
    """Neither proof nor a first frame: the model is not shown it."""
    assert repair([(0, HI), (1, AssistantItem("Hello", "open"))], 10**12) == ([(0, HI)], [(1, None)])


ITEMS = st.one_of(
    st.builds(UserItem, st.text(max_size=20)),
    st.builds(NoteItem, st.text(max_size=20)),
    st.builds(
        AssistantItem,
        st.text(alphabet="ab ,.é文\n", max_size=60),
        st.sampled_from(["open", "done", "interrupted", "superseded"]),
        st.integers(0, 30),
        st.integers(0, 20_000),
    ),
    st.builds(
        ToolItem,
        st.text(min_size=1, max_size=4),
        st.just("book"),
        st.just("{}"),
        st.just('"x"'),
        st.sampled_from(["running", "done", "failed", "interrupted", "unknown"]),
    ),
)


@given(st.lists(ITEMS, max_size=12), st.integers(0, 30_000))
def test_repair_settles_everything_and_settles_it_once(found: list[Item], dropped_ms: int) -> None:
    """Nothing is open or running afterwards, heard text is a prefix of what was sent, no settled item is touched, and
    repairing what was repaired does nothing."""
    entries = list(enumerate(found))
    items, rewrites = repair(entries, dropped_ms)
    for position, item in items:
        before = found[position]
        match item:
            case AssistantItem():
                assert isinstance(before, AssistantItem)
                assert item.status != "open"
                assert before.text.startswith(item.text)
            case ToolItem():
                assert item.status != "running"
                assert item.output
            case _:
                assert item == before
    assert {**dict(entries), **dict(rewrites)} == {position: dict(items).get(position) for position, _ in entries}
    assert repair(items, dropped_ms) == (items, [])


@given(ITEMS)
def test_the_stored_form_reads_back(item: Item) -> None:
    """The position inside the JSON does not disturb the item."""
    assert load_item(b'{"p":7,' + dump_item(item)[1:]) == item
