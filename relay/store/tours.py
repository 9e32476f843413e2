"""Tours of apartments: which can be booked, and who has booked which.

    {tours}:<date>           hash: slot (``14:30|studio|in-person``) -> "" while it is open, else the person
    {tours}:person:<person>  sorted set: ``<date> <slot>``, scored by the tour's start

All of it is under one hash tag, so that each step is one script. Days, and the tours on them, go when the day is over
in the business's time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

AHEAD = 7
"""Days after today that have tours."""

_BEHIND = 7  # days before today that a refresh clears: longer than a process sleeps
_TAG = "{tours}:"

Booked = Literal["booked", "yours", "taken", "none"]
"""How booking a slot went: now the person's; it was already; somebody else's; there is no such slot to come."""


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One tour. ``at``: local time, to the minute."""

    day: date
    at: time
    apartment_type: str
    tour_type: str

    @property
    def field(self) -> str:
        return f"{self.at:%H:%M}|{self.apartment_type}|{self.tour_type}"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh has changed, in order."""

    made: tuple[Slot, ...]
    removed: tuple[Slot, ...]


def day_key(day: date) -> str:
    return f"{_TAG}{day.isoformat()}"


def person_tours_key(person: str) -> str:
    return f"{_TAG}person:{person}"


def _utc() -> datetime:
    return datetime.now(UTC)


class Tours:
    """``zone``: the business's; ``clock``: what time it is, with a time zone."""

    def __init__(self, redis: Redis, zone: tzinfo, clock: Callable[[], datetime] = _utc) -> None:
        self._redis = redis
        self._zone = zone
        self._clock = clock
        self._book = script(redis, "tours_book", fenced=False)
        self._refresh = script(redis, "tours_refresh", fenced=False)
        self._forget = script(redis, "tours_forget", fenced=False)

    def now(self) -> datetime:
        """The moment, in the business's time zone."""
        return self._clock().astimezone(self._zone)

    async def open(self) -> list[Slot]:
        """Every tour to come that can be booked, the next first. Raises StoreError."""
        now = self.now()
        days = [now.date() + timedelta(ahead) for ahead in range(AHEAD + 1)]
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.hgetall(day_key(day))
                found = await cast(Any, pipeline.execute())
        slots = [
            _slot(day, text(name)) for day, each in zip(days, found, strict=True) for name in each if not each[name]
        ]
        return sorted(slot for slot in slots if slot is not None and self._start(slot) > now)

    async def of(self, person: str) -> list[Slot]:
        """The tours to come that this person has booked, the next first. Raises StoreError."""
        with translate():
            found: list[Any] = await self._redis.zrangebyscore(
                person_tours_key(person), f"({self.now().timestamp()}", cast(Any, "+inf")
            )
        members = (text(member).partition(" ") for member in found)
        slots = [_slot(date.fromisoformat(day), name) for day, _, name in members]
        return sorted(slot for slot in slots if slot is not None)

    async def book(self, slot: Slot, person: str) -> Booked:
        """Gives the slot to the person if it is open, at once and for good. Raises StoreError; then, as after a cancel,
        it is theirs or not: the same call tells which."""
        now = self.now()
        if self._start(slot) <= now:
            return "none"
        answer = await self._run(
            self._book,
            [day_key(slot.day), person_tours_key(person)],
            [
                slot.field,
                person,
                f"{slot.day.isoformat()} {slot.field}",
                self._start(slot).timestamp(),
                datetime.combine(now.date(), time(), self._zone).timestamp(),
                self._left(slot.day, now),
            ],
        )
        return cast(Booked, text(answer))

    async def refresh(self, plan: Iterable[Slot]) -> Refreshed:
        """Makes the days after today as planned: adds what is missing, removes what is open and not planned, and on all
        days what is open and past. What somebody has booked stays. Raises StoreError; it is done whole or not at all,
        and doing it again changes nothing."""
        now = self.now()
        planned = sorted(set(plan))
        ahead = max(AHEAD, *((slot.day - now.date()).days for slot in planned)) if planned else AHEAD
        days = [now.date() + timedelta(offset) for offset in range(-_BEHIND, ahead + 1)]
        args = [
            orjson.dumps(
                {
                    "ttl": self._left(day, now),
                    "past": "99" if day < now.date() else f"{now:%H:%M}" if day == now.date() else "",
                    "plan": [slot.field for slot in planned if slot.day == day] if day > now.date() else False,
                }
            )
            for day in days
        ]
        made, removed = await self._run(self._refresh, [day_key(day) for day in days], args)
        return Refreshed(_slots(made, days), _slots(removed, days))

    async def forget(self, person: str) -> int:
        """Frees the tours to come of this person and deletes what is kept of their tours; returns how many were freed.
        Raises StoreError."""
        return int(await self._run(self._forget, [person_tours_key(person)], [person, self.now().timestamp(), _TAG]))

    async def _run(self, run: Any, keys: list[str], args: list[Any]) -> Any:
        with translate():
            return await run(keys=keys, args=args)

    def _start(self, slot: Slot) -> datetime:
        return datetime.combine(slot.day, slot.at, self._zone)

    def _left(self, day: date, now: datetime) -> int:
        """Milliseconds until the day is over, by the clock given and not the server's; a day may have 23 hours."""
        over = datetime.combine(day + timedelta(1), time(), self._zone)
        return int((over.timestamp() - now.timestamp()) * 1000)


def _slot(day: date, field: str) -> Slot | None:
    """None for what is no slot of ours."""
    try:
        at, apartment_type, tour_type = field.split("|")
        return Slot(day, time.fromisoformat(at), apartment_type, tour_type)
    except ValueError:
        return None


def _slots(found: list[bytes | str], days: list[date]) -> tuple[Slot, ...]:
    parts = (text(each).partition("|") for each in found)
    slots = (_slot(days[int(number) - 1], field) for number, _, field in parts)
    return tuple(sorted(slot for slot in slots if slot is not None))


__all__ = ["AHEAD", "Booked", "Refreshed", "Slot", "Tours", "day_key", "person_tours_key"]
