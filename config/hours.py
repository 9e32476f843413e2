"""Business hours: when somebody is there, by day of the week and an agent's own clock.

    [hours]                                    days not named are closed
    mon-fri = "9:00-17:00"
    saturday = ["10:00-12:00", "13:00-15:00"]  a span may cross midnight: "18:00-02:00"; "closed" is a span of nothing

or in one line: ``hours = "Mon-Fri 09:00-17:00, Sat 10:00-14:00"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY_MINUTES = 24 * 60
_SPAN = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*[-\u2013]\s*(\d{1,2})(?::(\d{2}))?")
_PART = re.compile(r"([a-z]+(?:\s*[-\u2013]\s*[a-z]+)?)\s+(.+)")
_FORM = "hours look like 'mon-fri' = \"9:00-17:00\""


@dataclass(frozen=True, slots=True)
class Hours:
    """``spans``: (first minute, first minute after), counted from Monday 0:00; and into the next week."""

    spans: tuple[tuple[int, int], ...] = ()

    def open_at(self, moment: datetime) -> bool:
        """Whether somebody is there. ``moment``: in the agent's time zone."""
        minute = moment.weekday() * _DAY_MINUTES + moment.hour * 60 + moment.minute
        week = len(DAYS) * _DAY_MINUTES
        return any(start <= minute < end or start <= minute + week < end for start, end in self.spans)


def parse_hours(value: Any) -> Hours:
    """From an agent's file. Raises ValueError with a sentence that says what is wrong."""
    if isinstance(value, str):
        days: dict[str, list[str]] = {}
        last = ""
        for part in re.split(r"[;,]", value.casefold()):
            found = _PART.fullmatch(part.strip())
            if found is None and not last:
                raise ValueError(_FORM)
            last, span = (found[1], found[2]) if found else (last, part.strip())
            days.setdefault(last, []).append(span)
        return parse_hours(days)
    if not isinstance(value, Mapping):
        raise ValueError(_FORM)
    spans = [
        (day * _DAY_MINUTES + start, day * _DAY_MINUTES + end)
        for name, texts in value.items()
        for day in _days(str(name))
        for start, end in _spans(texts)
    ]
    return Hours(tuple(sorted(spans)))


def _days(name: str) -> list[int]:
    first, _, last = (part.strip() for part in re.sub("\u2013", "-", name.casefold()).partition("-"))
    if first in ("daily", "everyday", "all"):
        return list(range(len(DAYS)))
    start = _day(first)
    end = _day(last) if last else start
    return [day % len(DAYS) for day in range(start, end + 1 if end >= start else end + 1 + len(DAYS))]


def _day(name: str) -> int:
    found = [number for number, day in enumerate(DAYS) if len(name) >= 2 and day.startswith(name)]
    if len(found) != 1:
        raise ValueError(f"{name!r} is no day of the week")
    return found[0]


def _spans(texts: Any) -> list[tuple[int, int]]:
    spans = []
    for text in texts if isinstance(texts, list) else [texts]:
        if not isinstance(text, str):
            raise ValueError(_FORM)
        if text.strip().casefold() in ("", "closed"):
            continue
        found = _SPAN.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no span of time such as '9:00-17:00'")
        start, end = (int(hour) * 60 + int(minute or 0) for hour, minute in (found.groups()[:2], found.groups()[2:]))
        if start >= _DAY_MINUTES or end > _DAY_MINUTES or any(int(m or 0) > 59 for m in (found[2], found[4])):
            raise ValueError(f"{text!r} holds a time that no day has")
        spans.append((start, end if end > start else end + _DAY_MINUTES))
    return spans
