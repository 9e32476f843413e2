"""What is kept in Redis, one object a subject, all on one client; and what removes a person from all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from config.settings import Settings
from handlers.tours import read_house
from relay.closing import USUAL_PACE
from relay.store.archive import Archive
from relay.store.callers import Callers
from relay.store.chat_current import CurrentChats
from relay.store.chat_log import ChatLog
from relay.store.chat_running import RunningTurns
from relay.store.chat_tickets import ChatTickets
from relay.store.due import Due
from relay.store.events import Events
from relay.store.forgetting import Forgetter, Forgetting
from relay.store.history import History
from relay.store.leases import Leases
from relay.store.messages import Messages
from relay.store.monitor import Monitor
from relay.store.orders import Orders
from relay.store.people import People
from relay.store.presence import Presence
from relay.store.spending import Spending
from relay.store.tours import Tours
from relay.store.trace import Traces
from relay.telemetry import CHANNELS, VOICE
from relay.writer import epoch_ms
from tools.listings import Listings

AFTER_CALLS = "aftercall"  # the name of what is due after calls, in the store


@dataclass(frozen=True, slots=True)
class Stores:
    """``history``: of calls; ``text_history``: of text conversations. ``house``: what there is to be toured.
    ``callers``: None where a person may call as often as they like.
    ``forgetting``: removes a person."""

    people: People
    history: History
    text_history: History
    leases: Leases
    archive: Archive
    messages: Messages
    orders: Orders
    tours: Tours
    house: Listings
    callers: Callers | None
    spending: Spending
    monitor: Monitor
    chat_log: ChatLog
    chat_current: CurrentChats
    chat_running: RunningTurns
    chat_tickets: ChatTickets
    presence: Presence
    forgetting: Forgetting


def open_stores(
    settings: Settings,
    redis: Redis,
    *,
    worker: str = "",
    chat_frames_lost: Callable[[int], object] = lambda count: None,
) -> Stores:
    """Connects nothing. ``worker``: the name of this process. ``chat_frames_lost``: told how many frames of live
    chats are not kept for those who come back. Raises ConfigError where the data of the apartments cannot be used."""
    kept = settings.call_history_hours * 3600
    house = read_house(settings)
    people = People(redis, anonymous_ttl=kept, memory=settings.memory == "on")
    # A report is tried for that long after the call, and what was noted of it is kept for as long again.
    outlives = settings.max_call_seconds + 2 * USUAL_PACE.report_limit + 3600
    archive = Archive(redis, ttl=kept, longest=settings.text_history_days * 86400, outlives=outlives)
    messages, orders, tours = Messages(redis), Orders(redis, anonymous_ttl=kept), Tours(redis, house.zone)
    # What limits have left of a person is forgotten whether or not they are set by now.
    hourly, spending = Callers(redis, settings.calls_per_person_hour or 0), Spending(redis)
    text_kept = settings.text_history_days * 86400
    presence = Presence(redis, worker=worker)
    chat_tickets, current = ChatTickets(redis), CurrentChats(redis, text_kept)
    others: dict[str, Forgetter] = {
        "messages": messages,
        "orders": orders,
        "tours": tours,
        "calls counted": hourly,
        "tokens counted": spending,
        "chat sockets": presence,
        "chat tickets": chat_tickets,
        "chats": current,
    }
    return Stores(
        people=people,
        history=History(redis, kept),
        # Who writes waits for what these write, so that nothing waits for others to join it.
        text_history=History(redis, text_kept, window=0.0),
        leases=Leases(redis),
        archive=archive,
        messages=messages,
        orders=orders,
        tours=tours,
        house=house,
        callers=hourly if settings.calls_per_person_hour else None,
        spending=spending,
        monitor=Monitor(redis, longest=archive.longest, now_ms=epoch_ms),
        chat_log=ChatLog(redis, ttl=text_kept, lost=chat_frames_lost),
        chat_current=current,
        chat_running=RunningTurns(redis, text_kept),
        chat_tickets=chat_tickets,
        presence=presence,
        forgetting=Forgetting(redis, people, archive, Due(redis, AFTER_CALLS, USUAL_PACE.lease), others),
    )


def open_traces(settings: Settings, redis: Redis, events: Events, key: bytes, lost: Callable[[int], object]) -> Traces:
    """To be started, and closed when there are no more calls. ``key``: of the hashes that stand for people; ``lost``:
    told how many entries were dropped."""
    kept, texts = settings.call_history_hours * 3600, settings.text_history_days * 86400
    ttls = {channel: texts for channel in CHANNELS if channel != VOICE}
    return Traces(redis, events, ttl=kept, ttls=ttls, key=key, model=settings.openai_model, lost=lost)
