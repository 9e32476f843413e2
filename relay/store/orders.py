"""What people have ordered: ``person:{id}:orders``, a hash of order number -> order, for a week.

An order is known by a key made of the conversation and of what is ordered, so that placing it again, from another
process or after a resume, finds the one there is. Its number is short enough to be said aloud; it is the person's own:
two people may have the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, cast

from relay import versions
from relay.errors import StoreError
from relay.store.client import translate
from relay.store.people import is_known, person_key
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

WEEK = 7 * 24 * 3600.0
NUMBERS = (1000, 9999)
MOST = 50
"""Orders one person may have at a time."""

Kind = Literal["pickup", "delivery"]


class TooManyOrders(StoreError):
    """The person has ``MOST`` orders; nothing was stored."""

    code = "too_many_orders"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """``text``: what it is, as the caller was told it. ``cents``: for all of the quantity."""

    text: str = field(repr=False)
    quantity: int
    cents: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An order to be. ``minutes`` from placing it to pickup or to the door; ``address`` "" for a pickup."""

    kind: Kind
    lines: tuple[OrderLine, ...] = field(repr=False)
    cents: int
    minutes: int
    address: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """``placed``: epoch seconds."""

    number: int
    kind: Kind
    lines: tuple[OrderLine, ...] = field(repr=False)
    cents: int
    minutes: int
    placed: float
    address: str = field(default="", repr=False)


def orders_key(person: str) -> str:
    return f"{person_key(person)}:orders"


def order_key(conversation: str, content: str) -> str:
    """The key of an order; ``content``: what is ordered, in one spelling."""
    return sha256(f"{conversation}\0{content}".encode("utf-8", "surrogatepass")).hexdigest()


class Orders:
    """``ttl``, ``anonymous_ttl``: seconds an order is kept, and one of a person without an address. ``clock``: epoch
    seconds. Every method raises StoreError; an order may then be stored or not, and placing it again is right."""

    def __init__(
        self,
        redis: Redis,
        *,
        ttl: float = WEEK,
        anonymous_ttl: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._ttl = ttl
        self._anonymous_ttl = min(ttl, anonymous_ttl)
        self._clock = clock
        self._place = script(redis, "orders_place", fenced=False)

    async def place(self, person: str, key: str, draft: Draft) -> tuple[Order, bool]:
        """Stores the order unless one with this key is there, and returns the one that is; True where it is new.

        A cancel leaves it stored or not. Raises TooManyOrders.
        """
        first, last = NUMBERS
        now = int(self._clock() * 1000)
        with translate():
            found = await self._place(
                keys=[orders_key(person)],
                args=[
                    *(now, int(self._life(person) * 1000), key),
                    *(first + int(key[:8], 16) % (last - first + 1), first, last, MOST),
                    _dump(draft, key, now),
                ],
            )
        if found is None:
            raise TooManyOrders("the person has as many orders as are kept")
        number, stored, new = found
        order = _load(int(number), stored)
        if order is None:
            raise StoreError("this order was placed by a newer version")
        return order, bool(new)

    async def all(self, person: str) -> tuple[Order, ...]:
        """The person's orders, the newest first."""
        with translate():
            found = await cast(Any, self._redis.hgetall(orders_key(person)))
        since = self._clock() - self._life(person)
        orders = [order for number, raw in found.items() if (order := _load(int(text(number)), raw)) is not None]
        return tuple(sorted((o for o in orders if o.placed > since), key=lambda o: (o.placed, o.number), reverse=True))

    async def forget(self, person: str) -> int:
        """Deletes the person's orders and returns how many there were."""
        with translate():
            count = await cast(Any, self._redis.hlen(orders_key(person)))
            await self._redis.delete(orders_key(person))
        return int(count)

    def _life(self, person: str) -> float:
        return self._ttl if is_known(person) else self._anonymous_ttl


def _dump(draft: Draft, key: str, placed: int) -> bytes:
    lines = [[line.text, line.quantity, line.cents] for line in draft.lines]
    return versions.dump(
        {
            "key": key,
            "placed": placed,
            "kind": draft.kind,
            "lines": lines,
            "cents": draft.cents,
            "minutes": draft.minutes,
            "address": draft.address,
        }
    )


def _load(number: int, order: bytes | str) -> Order | None:
    """None for one of a newer version."""
    data = versions.load(order)
    if data is None:
        return None
    return Order(
        number,
        data["kind"],
        tuple(OrderLine(*line[:3]) for line in data["lines"]),
        data["cents"],
        data["minutes"],
        data["placed"] / 1000,
        data["address"],
    )


__all__ = ["MOST", "Draft", "Order", "OrderLine", "Orders", "TooManyOrders", "order_key", "orders_key"]
