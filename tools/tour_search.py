"""Which tours answer a wish: the slot itself, other times of its day, the same on other days, or none; pure.

Days and times come as the caller said them; what cannot be understood becomes a question for the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Literal

from relay.errors import ToolRetry
from relay.store.tours import Slot
from tools.apartment_texts import either, listed, say, slot_values, spoken_time
from tools.clock_words import BadWhen, clock, read_time
from tools.date_words import read_date

OPENS, CLOSES = time(8), time(16, 30)
"""The first and the last time at which a tour begins."""

_TOLD = 3  # slots a sentence names
_SHOWN = 6  # slots a model is given

Match = Literal["exact", "yours", "same_day", "other_dates", "none"]


@dataclass(frozen=True, slots=True)
class Wish:
    """``at`` None: any time of the day."""

    day: date
    at: time | None
    apartment_type: str
    tour_type: str


@dataclass(frozen=True, slots=True)
class Found:
    """``slots``: what can be booked, the next first; the caller's own where it is ``yours``."""

    match: Match
    slots: tuple[Slot, ...]


def find(wish: Wish, open_slots: Iterable[Slot], own: Iterable[Slot] = ()) -> Found:
    def fits(slot: Slot) -> bool:
        return (slot.apartment_type, slot.tour_type) == (wish.apartment_type, wish.tour_type)

    mine = tuple(slot for slot in own if fits(slot) and slot.day == wish.day and slot.at == wish.at)
    if mine:
        return Found("yours", mine)
    fitting = sorted(slot for slot in open_slots if fits(slot))
    same_day = tuple(slot for slot in fitting if slot.day == wish.day)
    exact = tuple(slot for slot in same_day if slot.at == wish.at)
    if exact:
        return Found("exact", exact)
    if same_day:
        return Found("same_day", same_day[:_SHOWN])
    return Found("other_dates", tuple(fitting[:_SHOWN])) if fitting else Found("none", ())


def sentence(language: str, wish: Wish, found: Found, today: date) -> str:
    """What was found, for the caller's ear."""
    wished = Slot(wish.day, wish.at or OPENS, wish.apartment_type, wish.tour_type)
    values = slot_values(language, wished, today)
    told = found.slots[:_TOLD]
    times = either(language, [spoken_time(language, slot.at) for slot in told]) if told else ""
    slots = either(language, [_when(language, slot, today) for slot in told]) if told else ""
    name: str = found.match
    if name == "same_day" and wish.at is not None:
        name = "other_time"
    return say(language, name, **values, times=times, slots=slots)


def booked(language: str, slots: Sequence[Slot], today: date) -> str:
    """The caller's tours in one sentence."""
    if not slots:
        return say(language, "no_tours")
    tours = [say(language, "tour", **slot_values(language, slot, today)) for slot in slots]
    return say(language, "tours", tours=listed(language, tours))


def as_data(slot: Slot) -> dict[str, Any]:
    """A slot as the model sees it, and as it names one."""
    return {
        "date": slot.day.isoformat(),
        "time": clock(slot.at),
        "tour_type": slot.tour_type,
        "apartment_type": slot.apartment_type,
    }


def day_from(words: str, today: date, language: str) -> date:
    """The day the caller named, today or later. Raises ToolRetry with a question."""
    try:
        day = read_date(words, today)
    except BadWhen as error:
        wrong = {
            "unclear": "The date cannot be understood",
            "ambiguous": "The date could be two days",
            "impossible": "There is no such date",
        }[error.reason]
        raise ToolRetry(_ask(wrong, say(language, "ask_date"), today)) from error
    if day < today:
        raise ToolRetry(_ask("The date has passed", say(language, "ask_past"), today))
    return day


def time_from(words: str, today: date, language: str) -> time:
    """The time of day the caller named. Raises ToolRetry with a question."""
    try:
        return read_time(words, OPENS, CLOSES)
    except BadWhen as error:
        if error.reason == "ambiguous":
            question = say(language, "ask_half", opens=_bare(language, OPENS), closes=_bare(language, CLOSES))
            raise ToolRetry(_ask("The time could be two times of the day", question, today)) from error
        wrong = "There is no such time" if error.reason == "impossible" else "The time cannot be understood"
        raise ToolRetry(_ask(wrong, say(language, "ask_time"), today)) from error


def _ask(wrong: str, question: str, today: date) -> str:
    return f"{wrong}. Nothing was changed. Today is {today.isoformat()}. Ask the caller: {question}"


def _when(language: str, slot: Slot, today: date) -> str:
    return say(language, "slot", **slot_values(language, slot, today))


def _bare(language: str, at: time) -> str:
    """Without the preposition: "between the 8:00"."""
    return spoken_time(language, at).removeprefix("a ")


__all__ = [
    "CLOSES",
    "OPENS",
    "Found",
    "Match",
    "Wish",
    "as_data",
    "booked",
    "day_from",
    "find",
    "sentence",
    "time_from",
]
