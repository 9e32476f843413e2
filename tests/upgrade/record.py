"""Writes down what this version stores: ``python -m tests.upgrade.record > tests/upgrade/stored_<number>.json``.

Done once for each form of what is stored, by the version that writes it, and never again: the files are what an older
process has left, or writes beside us, and every later version must read them (``test_stored.py``).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from channels.twilio.tickets import Tickets
from handlers.connecting import Place
from handlers.stores import AFTER_CALLS
from relay.frames import Dtmf, Prompt
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem, dump_item
from relay.replay import digest
from relay.store.archive import Archive
from relay.store.callers import Callers
from relay.store.callstatus import CallStatus
from relay.store.chat_current import CurrentChats
from relay.store.chat_log import ChatLog
from relay.store.chat_running import RunningTurn, RunningTurns
from relay.store.chat_tickets import ChatTickets
from relay.store.client import connect
from relay.store.debates import Debates
from relay.store.due import Due
from relay.store.effects import Effects
from relay.store.embedded import EmbeddedRedis
from relay.store.history import History
from relay.store.messages import Messages
from relay.store.orders import Draft, OrderLine, Orders
from relay.store.outbound import OutboundCalls
from relay.store.people import EarlierCall, People
from relay.store.presence import Presence
from relay.store.spending import EVERYBODY, Spending
from relay.store.tickets import Tickets as TicketRecord
from relay.store.tours import Slot, Tours

CALL = "CA" + "1" * 32
DEBATE = "0b7e5b0e-3f0e-4a53-9c1b-6f1f4a2f1c55"
EPOCH = 1_790_000_000_000  # ms since 1970: 2026-09-21, a Monday
DAY = "2026-09-21"
KEPT = 86_400.0
PERSON, OTHER = "phone:+15551234567", "phone:+15557654321"
KEY = b"k" * 32
NOW = datetime.fromtimestamp(EPOCH / 1000, UTC)
TOUR = Slot(date(2026, 9, 23), time(14, 30), "studio", "in-person")
OPEN_TOUR = Slot(date(2026, 9, 23), time(15, 0), "studio", "virtual")
DRAFT = Draft("delivery", (OrderLine("a large Margherita", 2, 2400),), 2400, 40, "1 River Street")
ITEMS = (
    AssistantItem("Hello.", origin="greeting"),
    UserItem("A table for two", "en-US"),
    ToolItem("call_1", "book", '{"seats":2}', '{"booked":true}', round=1),
    AssistantItem("It is", "interrupted", started=EPOCH, sent="It is booked."),
    NoteItem("The caller pressed 1."),
    ToolItem("call_2", "send", "{}", '{"status":"running"}', status="running", round=2),
    AssistantItem("One moment, please", "open", heard=2, started=EPOCH + 1000),
)
STATE = {
    "agent": "default",
    "channel": "voice",
    "person": PERSON,
    "begun": str(EPOCH),
    "from": "+15551234567",
    "to": "+15555550199",
    "spoken": "en-US",
    "language": "en-US",
    "tools": '["save_name"]',
    "keys": '{"1":{"say":"One","tool":"","arguments":"","says":{}}}',
    "told": digest(Prompt("A table for two", "en-US")) + digest(Dtmf("1")),
    "unfinished": "1",
    "session": "VX1",
    "lost": "",
}
CHAT, VISITOR = "chat-1", "v_" + "A" * 44
FRAMES = tuple(b'{"type":"delta","turn":"t1","seq":%d,"text":"Hi"}' % seq for seq in (1, 2, 3))
SECRET = "s" * 43
REPORT = orjson.dumps({"call_sid": CALL, "outcome": "completed"})


async def store_all(redis: Redis) -> None:
    """One of everything that is stored."""
    entries = [(number, dump_item(item)) for number, item in enumerate(ITEMS)]
    await History(redis, KEPT).put(CALL, EPOCH, entries, STATE | {"seen": str(EPOCH + 3000)})
    effects = Effects(redis, KEPT, key=KEY)
    await effects.begin(CALL, EPOCH, "book", '{"seats":2}', "owner-1")
    await effects.finish(CALL, EPOCH, "book", '{"seats":2}', "owner-1", '{"booked":true}')
    await effects.begin(CALL, EPOCH, "send", "{}", "owner-2")
    statuses = CallStatus(redis, KEPT)
    await statuses.status(CALL, 2, "in-progress", "")
    await statuses.claim(CALL, "answered_by", "machine_start", "claimant")
    await statuses.note(CALL, outcome="resume", reason="asked", summary="A table", summary_language="en-US")
    await statuses.note(CALL, summary_at=str(EPOCH))
    archive = Archive(redis, ttl=KEPT)
    await archive.record(CALL, PERSON, EPOCH)
    await archive.note(CALL, **{"told:resume": EPOCH + 1, "summed_up": EPOCH, "tries": 1, "since": EPOCH})
    await archive.note(CALL, summary='{"summary":"A table.","follow_ups":["Send the menu"]}')
    await archive.keep_report(CALL, REPORT, KEPT, written=EPOCH)
    due = Due(redis, AFTER_CALLS, 120)
    await due.add(EPOCH, {CALL: EPOCH - 1, "CA2": EPOCH + 1000})
    await due.claim(EPOCH, 1)
    await due.add(EPOCH, {CALL: EPOCH + 500})
    people = People(redis)
    await people.seen(PERSON, EPOCH)
    await people.update(PERSON, first_name="Ada", last_name="Byron", email="ada@example.com", notes="A vegetarian")
    await people.update(PERSON, agent="restaurant", language="en-US")
    await people.remember(PERSON, EarlierCall("CA0", EPOCH - 1000, "Ada called.", ("Send the menu",)))
    await people.link(OTHER, PERSON)
    messages = Messages(redis, now=lambda: EPOCH / 1000)
    await messages.sent("SM1", kind="sms", conversation=CALL, person=PERSON)
    await messages.report("SM1", "undelivered", "30003")
    await Orders(redis, clock=lambda: EPOCH / 1000).place(PERSON, "1" * 64, DRAFT)
    tours = Tours(redis, UTC, lambda: NOW)
    await tours.refresh([TOUR, OPEN_TOUR])
    await tours.book(TOUR, PERSON)
    outbound = OutboundCalls(redis, 10)
    await outbound.claim("claimant", "a key", "fingerprint", EPOCH / 1000)
    await outbound.placed("claimant", "a key", CALL)
    await Debates(redis).claim("a key", DEBATE, "fingerprint")
    await TicketRecord(redis).use("a ticket", "VX1", 120)
    await Callers(redis, 5).take(PERSON, CALL, EPOCH / 1000)
    await live_chat(redis)
    for person in (PERSON, EVERYBODY):
        await Spending(redis).add(DAY, person, 100, process="one", number=1)


async def live_chat(redis: Redis) -> None:
    """A visitor who is here, has a ticket that is not used, and was sent a turn; another turn is under way."""
    chats = ChatLog(redis, ttl=KEPT)
    chats.start()
    await chats.begin(CHAT)
    for seq, frame in enumerate(FRAMES, 1):
        chats.add(CHAT, seq, frame, ends=frame is FRAMES[-1])
    await chats.begin(CHAT)
    await chats.close(5)
    await RunningTurns(redis, KEPT).begin(CHAT, RunningTurn("t_1", "m1", "a worker"))
    await CurrentChats(redis, KEPT, name=lambda: CHAT).of(VISITOR, "default")
    await Presence(redis).enter(VISITOR, "a socket", lambda: None)
    await ChatTickets(redis, now=lambda: EPOCH / 1000, secret=lambda: SECRET).issue(VISITOR)


async def dump(redis: Redis) -> dict[str, Any]:
    """Every key with its type and its content."""
    readers: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"stream": redis.xrange,
    }
    found = {}
    for key in sorted([key async for key in redis.scan_iter()]):
        kind = await redis.type(key)
        found[key.decode()] = [kind.decode(), _text(await readers[kind](key))]
    return found


async def restore(redis: Redis, stored: dict[str, Any]) -> None:
    """Puts it back, without expiry."""
    for key, (kind, value) in stored.items():
        match kind:
            case "string":
                await redis.set(key, value)
            case "hash":
                await cast(Any, redis.hset(key, mapping=value))
            case "set":
                await cast(Any, redis.sadd(key, *value))
            case "stream":
                for place, fields in value:
                    await redis.xadd(key, fields, id=place)
            case _:
                await redis.zadd(key, {member: score for member, score in value})


def _text(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode()
        case dict():
            return {_text(name): _text(each) for name, each in value.items()}
        case set():
            return sorted(map(_text, value))
        case list() | tuple():
            return [_text(each) for each in value]
    return value


def spoken_of() -> dict[str, str]:
    """What goes out to Twilio and comes back."""
    ticket = Tickets([KEY], 10 * 365 * 86_400).mint(CALL, "default", EPOCH / 1000)
    return {"ticket": ticket, "action": Place(attempt=2, returns=1, handed=1, second=True).query("default")}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedRedis.start(Path(folder))
        redis = connect(embedded.url)
        try:
            await store_all(redis)
            found = {"keys": await dump(redis), "spoken": spoken_of()}
        finally:
            await redis.aclose()
            embedded.close()
    sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


if __name__ == "__main__":
    asyncio.run(main())
