"""What is kept in Redis, one object a subject, all on one client."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from config.settings import Settings
from handlers.tours import read_house
from relay.store.history import History
from relay.store.messages import Messages
from relay.store.orders import Orders
from relay.store.people import People
from relay.store.tours import Tours
from tools.listings import Listings


@dataclass(frozen=True, slots=True)
class Stores:
    """``house``: what there is to be toured."""

    people: People
    history: History
    messages: Messages
    orders: Orders
    tours: Tours
    house: Listings


def open_stores(settings: Settings, redis: Redis) -> Stores:
    """Connects nothing. Raises ConfigError where the data of the apartments cannot be used."""
    kept = settings.call_history_hours * 3600
    house = read_house(settings)
    return Stores(
        people=People(redis, anonymous_ttl=kept),
        history=History(redis, kept),
        messages=Messages(redis),
        orders=Orders(redis, anonymous_ttl=kept),
        tours=Tours(redis, house.zone),
        house=house,
    )
