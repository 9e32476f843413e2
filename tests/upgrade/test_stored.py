"""What earlier versions have stored is read, and what a newer one stores beside us is left out and left alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from channels.twilio.tickets import Tickets
from handlers.call_memory import CallMemory
from handlers.connecting import Place
from handlers.stores import AFTER_CALLS
from relay.conversations import Conversations
from relay.errors import StoreError
from relay.items import AssistantItem, UserItem, dump_item, load_item
from relay.keypad import Key
from relay.manner import Manner, load_changes
from relay.store.archive import Archive
from relay.store.callers import Callers
from relay.store.callstatus import CallStatus, call_key
from relay.store.chat_current import CurrentChats
from relay.store.chat_log import JUMP, ChatLog
from relay.store.chat_running import RunningTurn, RunningTurns
from relay.store.chat_tickets import ChatTickets
from relay.store.debates import Claimed, Debates
from relay.store.due import Due
from relay.store.effects import Answered, Begun, Effects, InDoubt, effects_key
from relay.store.history import History, items_key, state_key
from relay.store.messages import Messages
from relay.store.orders import Orders, orders_key
from relay.store.outbound import OutboundCalls
from relay.store.people import EarlierCall, People, Person, person_key
from relay.store.presence import Presence
from relay.store.spending import EVERYBODY, Spending
from relay.store.tickets import Tickets as TicketRecord
from relay.store.tours import Tours
from tests.upgrade.record import (
    CALL,
    CHAT,
    DAY,
    DEBATE,
    DRAFT,
    EPOCH,
    FRAMES,
    ITEMS,
    KEPT,
    KEY,
    NOW,
    OPEN_TOUR,
    OTHER,
    PERSON,
    REPORT,
    SECRET,
    STATE,
    TOUR,
    VISITOR,
    restore,
    store_all,
)

HERE = Path(__file__).parent
STORED = sorted(HERE.glob("stored_*.json"))
OWN = Manner(line=lambda name, language: "")
LATER = EPOCH + 60_000
ADA = Person(
    PERSON,
    first_name="Ada",
    last_name="Byron",
    email="ada@example.com",
    agent="restaurant",
    language="en-US",
    notes="A vegetarian",
    calls=(EarlierCall("CA0", EPOCH - 1000, "Ada called.", ("Send the menu",)),),
)


async def conversation(redis: Redis) -> None:
    loaded = await History(redis, KEPT).load(CALL, LATER)
    assert tuple(item for _, item in loaded.entries) == ITEMS
    assert (loaded.base, loaded.before, loaded.seen) == (len(ITEMS), EPOCH, EPOCH + 3000)
    assert STATE.items() <= loaded.state.items()
    changed = load_changes(OWN, loaded.state, lambda tool: True)
    assert (changed.tools, changed.keys) == (("save_name",), {"1": Key(say="One", arguments="")})


async def side_effects(redis: Redis) -> None:
    effects = Effects(redis, KEPT, key=KEY)
    assert await effects.begin(CALL, LATER, "book", '{"seats":2}', "another") == Answered('{"booked":true}')
    assert await effects.begin(CALL, LATER, "send", "{}", "another") == InDoubt()
    await effects.settle(CALL, LATER)
    assert await effects.begin(CALL, LATER, "send", "{}", "another") == Begun()


async def call_as_twilio_sees_it(redis: Redis) -> None:
    statuses = CallStatus(redis, KEPT)
    state = await statuses.read(CALL)
    assert (state.status, state.answered_by, state.outcome) == ("in-progress", "machine_start", "resume")
    assert not await statuses.status(CALL, 1, "ringing")
    assert not await statuses.claim(CALL, "answered_by", "human", "another")
    whisper = await CallMemory(statuses).whisper(CALL)
    assert whisper is not None
    assert (whisper.text, whisper.language) == ("asked. A table.", "en-US")


async def what_follows_the_call(redis: Redis) -> None:
    archive = Archive(redis, ttl=KEPT)
    kept = await archive.read(CALL)
    assert (kept.report, kept.done("told:resume"), kept.done("written")) == (REPORT, EPOCH + 1, EPOCH)
    assert await archive.listed(CALL, EPOCH)
    assert await archive.of(PERSON) == [(CALL, EPOCH)]
    due = Due(redis, AFTER_CALLS, 120)
    assert [each.member for each in await due.claim(EPOCH + 1000, 5)] == ["CA2"]
    assert [each.member for each in await due.claim(EPOCH + 120_000, 5)] == [CALL]


async def people(redis: Redis) -> None:
    store = People(redis)
    assert await store.get(PERSON) == await store.get(OTHER) == ADA
    assert await store.ids(OTHER) == [PERSON, OTHER]


async def what_a_person_has(redis: Redis) -> None:
    message = await Messages(redis).get("SM1")
    assert message is not None
    assert (message.status, message.error, message.conversation) == ("undelivered", "30003", CALL)
    assert await Messages(redis).of(PERSON) == ["SM1"]
    orders = Orders(redis, clock=lambda: LATER / 1000)
    (order,) = await orders.all(PERSON)
    assert (order.lines, order.cents, order.address) == (DRAFT.lines, DRAFT.cents, DRAFT.address)
    assert await orders.place(PERSON, "1" * 64, DRAFT) == (order, False)
    tours = Tours(redis, UTC, lambda: NOW)
    assert await tours.of(PERSON) == [TOUR]
    assert await tours.open() == [OPEN_TOUR]
    assert await tours.book(TOUR, OTHER) == "taken"


async def calls_we_place(redis: Redis) -> None:
    claim = await OutboundCalls(redis, 1).claim("another", "a key", "fingerprint", EPOCH / 1000)
    assert (claim.kind, claim.call_sid) == ("done", CALL)
    assert (await OutboundCalls(redis, 1).claim("another", "", "", EPOCH / 1000)).kind == "rate"


async def requests_of_debates(redis: Redis) -> None:
    assert await Debates(redis).claim("a key", "another", "other") == Claimed(DEBATE, "fingerprint")


async def tickets(redis: Redis) -> None:
    assert await TicketRecord(redis).use("a ticket", "VX2", 120) == "other"


async def what_a_person_has_used(redis: Redis) -> None:
    callers = Callers(redis, 1)
    assert await callers.take(PERSON, CALL, EPOCH / 1000)
    assert not await callers.take(PERSON, "CA2", EPOCH / 1000)
    spending = Spending(redis)
    assert [await spending.read(DAY, person) for person in (PERSON, EVERYBODY)] == [100, 100]
    assert await spending.add(DAY, PERSON, 100, process="one", number=1) == 100


async def live_chats(redis: Redis) -> None:
    chats = ChatLog(redis, ttl=KEPT, patience=())
    assert await chats.since(CHAT, 1) == [*enumerate(FRAMES, 1)][1:]
    assert (await chats.settled(CHAT), await chats.since(CHAT, 4)) == (3, None)
    assert await chats.begin(CHAT) == 3 + JUMP
    assert await RunningTurns(redis, KEPT).read(CHAT) == RunningTurn("t_1", "m1", "a worker")
    assert await CurrentChats(redis, KEPT).of(VISITOR, "default") == CHAT
    presence = Presence(redis)
    assert await presence.renew(VISITOR, "a socket")
    assert not await presence.renew(VISITOR, "another")
    tickets = ChatTickets(redis, now=lambda: EPOCH / 1000)
    ticket = f"{VISITOR}.{SECRET}"
    assert [await tickets.reader(ticket), await tickets.redeem(ticket)] == [VISITOR, VISITOR]


Check = Callable[[Redis], Awaitable[None]]
CHECKS: dict[Check, set[str]] = {
    conversation: {"conversation:*:items", "conversation:*:state"},
    side_effects: {"conversation:*:effects"},
    call_as_twilio_sees_it: {"conversation:*:call"},
    what_follows_the_call: {
        *("conversation:*:after", "conversation:*:report", "conversations:*", "person:*:conversations"),
        *("{aftercall}:due", "{aftercall}:leases", "{aftercall}:again"),
    },
    people: {"person:*", "person:*:aliases"},
    what_a_person_has: {
        *("person:*:messages", "person:*:orders", "message:*", "{tours}:*", "{tours}:person:*"),
    },
    calls_we_place: {"{outbound}:minute", "{outbound}:key:*"},
    requests_of_debates: {"debate:*:key"},
    tickets: {"ticket:*"},
    live_chats: {
        *("conversation:*:log", "conversation:*:running", "chat:*", "chat:*:tickets", "chat:*:conversations"),
    },
    what_a_person_has_used: {"person:*:hour", "person:*:tokens", "{tokens}:all"},
}
"""Who reads what: the kinds of keys."""


def kind(key: str) -> str:
    return re.sub(r"\{(?!aftercall|outbound|tours|tokens).+?\}|[0-9a-f]{64}|\d{4}-\d\d-\d\d|phone:.*", "*", key)


def keys_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(file.read_bytes())["keys"]
    return found


LEFT = [
    pytest.param(check, file, id=f"{file.stem}-{check.__name__}")
    for file in STORED
    for check, kinds in CHECKS.items()
    if kinds & set(map(kind, keys_of(file)))
]


@pytest.mark.parametrize(("check", "file"), LEFT)
async def test_what_earlier_versions_stored_is_read(check: Check, file: Path, redis: Redis) -> None:
    """Each store reads what a version has left, as it was meant."""
    await restore(redis, keys_of(file))
    await check(redis)


async def test_every_kind_of_key_is_read(redis: Redis) -> None:
    """Nothing was stored that no check reads, and nothing is stored today that was not recorded."""
    recorded = {kind(key) for file in STORED for key in keys_of(file)}
    await store_all(redis)
    assert {kind(key.decode()) for key in await redis.keys()} == recorded == set().union(*CHECKS.values())


def test_what_earlier_versions_sent_out_comes_back() -> None:
    """A ticket is good, and an action URL says how far the call has come."""
    for file in STORED:
        spoken = orjson.loads(file.read_bytes())["spoken"]
        ticket = Tickets([KEY], 1.0).verify(spoken["ticket"], CALL)
        assert (ticket.call_sid, ticket.agent) == (CALL, "default")
        query = dict(part.split("=") for part in spoken["action"].split("&"))
        assert Place.of(query) == Place(attempt=2, returns=1, handed=1, second=True)
        assert query["agent"] == "default"


# -- what a newer version stores beside us


def newer(value: str | bytes, **more: object) -> str:
    """A stored value as a newer version writes it: of the same form with more fields, or with another ``v``."""
    return orjson.dumps(orjson.loads(value) | more).decode()


async def test_items_of_a_newer_version_are_left_out_and_left_alone(redis: Redis) -> None:
    """The call goes on without them, the operator is told; what follows them stands behind them."""
    said = dump_item(UserItem("Hello"))
    strange = [newer(said, v=2), newer(said, type="picture"), "no JSON", "[]"]
    await restore(redis, {items_key(CALL): ["zset", [[newer(said, p=0), 0], *zip(strange, (1, 2, 3, 4), strict=True)]]})
    conversations = Conversations(History(redis, KEPT))
    writer = conversations.open(CALL, EPOCH)
    with capture_logs() as logs:
        before = await writer.prepare(1)
    assert before.items == (UserItem("Hello"),)
    assert [(each["log_level"], each["count"]) for each in logs] == [("warning", 4)]
    writer.put(0, AssistantItem("Hi"))
    assert await conversations.close(1) == 0
    left = [member.decode() for member in await redis.zrange(items_key(CALL), 0, -1)]
    assert left[1:-1] == strange
    assert load_item(left[-1]) == AssistantItem("Hi")


async def test_fields_of_a_newer_version_outlive_a_rewrite(redis: Redis) -> None:
    """A reply that an older process cuts to what was heard keeps what it does not know; so does the state."""
    reply = newer(dump_item(AssistantItem("One two three", "open", heard=2)), p=0, mood="glad")
    state = {"epoch": str(EPOCH), "seen": str(EPOCH), "agent": "default", "mood": "glad"}
    await restore(redis, {items_key(CALL): ["zset", [[reply, 0]]], state_key(CALL): ["hash", state]})
    conversations = Conversations(History(redis, KEPT))
    writer = conversations.open(CALL, LATER)
    before = await writer.prepare(1)
    assert before.items == (AssistantItem("One two", "interrupted", sent="One two three"),)
    writer.note(agent="other")
    assert await conversations.close(1) == 0
    (kept,) = await redis.zrange(items_key(CALL), 0, -1)
    assert orjson.loads(kept)["mood"] == "glad"
    assert orjson.loads(kept)["text"] == "One two"
    assert await redis.hmget(state_key(CALL), ["mood", "agent"]) == [b"glad", b"other"]


async def test_a_side_effect_of_a_newer_version_is_in_doubt(redis: Redis) -> None:
    """It is not carried out a second time."""
    effects = Effects(redis, KEPT, key=KEY)
    await effects.begin(CALL, EPOCH, "book", "{}", "owner")
    (field, entry) = next(iter((await redis.hgetall(effects_key(CALL))).items()))
    for stored in (newer(entry, v=2), newer(entry, status="planned", owner="newer")):
        await cast(Any, redis.hset(effects_key(CALL), field, stored))
        assert await effects.begin(CALL, LATER, "book", "{}", "other") == InDoubt()


async def test_a_person_of_a_newer_version_is_known(redis: Redis) -> None:
    """By what can be read of them; what cannot is still there afterwards."""
    call = {"at": EPOCH, "summary": "Ada called.", "follow_ups": [], "mood": "glad"}
    fields = {
        "first_name": "Ada",
        "mood": "glad",
        "call:CA1": orjson.dumps(call).decode(),
        "call:CA2": orjson.dumps(call | {"v": 2, "summary": {"text": "Ada"}}).decode(),
    }
    await restore(redis, {person_key(PERSON): ["hash", fields]})
    store = People(redis)
    found = await store.get(PERSON)
    assert found == Person(PERSON, first_name="Ada", calls=(EarlierCall("CA1", EPOCH, "Ada called."),))
    await store.update(PERSON, last_name="Byron")
    await store.remember(PERSON, EarlierCall("CA3", LATER, "Again."))
    left = {name.decode(): value.decode() for name, value in (await redis.hgetall(person_key(PERSON))).items()}
    assert fields.items() <= left.items()


async def test_an_order_of_a_newer_version_is_not_placed_twice(redis: Redis) -> None:
    """More about a line is passed over; an order that cannot be read is not told of, and stays."""
    orders = Orders(redis, clock=lambda: EPOCH / 1000)
    order, _ = await orders.place(PERSON, "1" * 64, DRAFT)
    key = orders_key(PERSON)
    (number, stored) = next(iter((await redis.hgetall(key)).items()))
    lines = [[*line, "no onions"] for line in orjson.loads(stored)["lines"]]
    await cast(Any, redis.hset(key, number, newer(stored, lines=lines, tip=100)))
    assert await orders.all(PERSON) == (order,)
    await cast(Any, redis.hset(key, number, newer(stored, v=2)))
    assert await orders.all(PERSON) == ()
    with pytest.raises(StoreError):
        await orders.place(PERSON, "1" * 64, DRAFT)
    assert await redis.hlen(key) == 1


async def test_what_follows_a_call_of_a_newer_version(redis: Redis) -> None:
    """Fields that nobody here knows stay where a status, an outcome or a note is written beside them."""
    kept = {call_key(CALL): ["hash", {"mood": "glad"}], f"conversation:{{{CALL}}}:after": ["hash", {"mood": "glad"}]}
    await restore(redis, kept)
    statuses = CallStatus(redis, KEPT)
    await statuses.status(CALL, 1, "ringing")
    await statuses.note(CALL, outcome="resume")
    assert (await statuses.read(CALL)).outcome == "resume"
    await Archive(redis, ttl=KEPT).note(CALL, tries=1)
    for key in kept:
        assert await redis.hget(key, "mood") == b"glad"


def test_what_a_newer_version_sent_out_comes_back() -> None:
    """More in the query of an action URL is passed over."""
    assert Place.of({"attempt": "1", "agent": "default", "mood": "glad"}) == Place(attempt=1)
    stored = {"keys": '{"1":{"say":"One","mood":"glad"}}', "tools": '["save_name","gladden"]'}
    changed = load_changes(OWN, stored, lambda tool: tool != "gladden")
    assert (changed.tools, changed.keys) == (("save_name",), {"1": Key(say="One")})
