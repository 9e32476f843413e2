"""The tours of the coming days, made once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime, time, timedelta
from hashlib import sha256

import structlog

from relay.store.tours import AHEAD, Refreshed, Slot, Tours
from tools.listings import TOUR_TYPES

TIMES = tuple(time(hour, minute) for hour in (8, 9, 10, 11, 13, 14, 15, 16) for minute in (0, 30))
"""When a tour may begin; nobody is at the desk between noon and one."""

RETRY = 30.0  # seconds
_LOOK = 900.0  # seconds; a machine that was asleep finds the new day within them
_SOON_AFTER = 5.0  # seconds past midnight

log = structlog.get_logger(__name__)


def plan(today: date, apartment_types: Iterable[str]) -> list[Slot]:
    """A tour of each kind of each layout on each of the days to come, at a time the day and the layout decide: every
    process plans the same."""
    return [
        Slot(day, _time(day, apartment_type, tour_type), apartment_type, tour_type)
        for apartment_type in apartment_types
        for day in (today + timedelta(ahead) for ahead in range(1, AHEAD + 1))
        for tour_type in TOUR_TYPES
    ]


async def make_tours(tours: Tours, apartment_types: Iterable[str]) -> Refreshed:
    """Makes what is missing and removes what is past and open. Raises StoreError."""
    return await tours.refresh(plan(tours.now().date(), apartment_types))


async def keep_tours(
    tours: Tours, apartment_types: Iterable[str], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Makes tours now and shortly after every midnight of the business, for ever; again and again while the store does
    not answer. A cancel leaves a day's tours made or not."""
    kinds = tuple(apartment_types)
    while True:
        today = tours.now().date()
        try:
            done = await make_tours(tours, kinds)
        except Exception as error:  # whatever is wrong: calls go on, and the next try may do better
            log.warning("tours not made", error=type(error).__name__)
            await sleep(RETRY)
            continue
        log.info("tours made", made=len(done.made), removed=len(done.removed))
        while (now := tours.now()).date() == today:
            await sleep(min(_LOOK, _until_tomorrow(now)))


def _until_tomorrow(now: datetime) -> float:
    midnight = datetime.combine(now.date() + timedelta(1), time(), now.tzinfo)
    return midnight.timestamp() - now.timestamp() + _SOON_AFTER


def _time(day: date, apartment_type: str, tour_type: str) -> time:
    digest = sha256(f"{day.isoformat()} {apartment_type} {tour_type}".encode()).digest()
    return TIMES[digest[0] % len(TIMES)]


__all__ = ["TIMES", "keep_tours", "make_tours", "plan"]
