"""Business hours of an agent's file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from config.hours import Hours, parse_hours

MONDAY = datetime(2026, 11, 23)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    "value",
    [
        {"mon-fri": "9:00-17:00", "saturday": ["10:00-12:00", "13-15"]},
        {"Monday-Friday": "09:00 - 17:00", "Sat": ["10:00–12:00", "13:00-15:00"], "sun": "closed"},
        "Mon-Fri 9-17; Sat 10:00-12:00, 13:00-15:00",
    ],
)
def test_hours_are_open_and_closed_to_the_minute(value: Any) -> None:
    """The first minute of a span is open, the minute it ends at is not, and days not named are closed."""
    hours = parse_hours(value)
    assert [hours.open_at(at(0, 8, 59)), hours.open_at(at(0, 9)), hours.open_at(at(4, 16, 59))] == [False, True, True]
    assert not hours.open_at(at(4, 17))
    assert [hours.open_at(at(5, h)) for h in (9, 10, 11, 12, 13, 14, 15)] == [
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert not any(hours.open_at(at(6, h)) for h in range(24))


def test_a_span_may_cross_midnight_and_the_week() -> None:
    """Sunday night's hours reach into Monday morning."""
    hours = parse_hours({"fri-sun": "22:00-02:00"})
    assert hours.open_at(at(5, 1)) and hours.open_at(at(6, 23)) and hours.open_at(at(0, 1, 59))
    assert not hours.open_at(at(0, 2)) and not hours.open_at(at(4, 1))


def test_days_may_run_over_the_end_of_the_week() -> None:
    """sat-mon is three days; daily is seven."""
    assert [parse_hours({"sat-mon": "8-9"}).open_at(at(day, 8)) for day in range(7)] == [
        *(True, False, False, False, False, True, True)
    ]
    assert all(parse_hours({"daily": "0:00-24:00"}).open_at(at(day, hour)) for day in range(7) for hour in (0, 23))


def test_no_span_is_always_closed() -> None:
    """An empty table is a business that is never open."""
    assert parse_hours({}) == Hours()
    assert not Hours().open_at(MONDAY)


@pytest.mark.parametrize(
    "value",
    [
        7,
        ["mon"],
        {"t": "9-17"},
        {"funday": "9-17"},
        {"mon": "nine"},
        {"mon": "25:00-26:00"},
        {"mon": "9:75-10:00"},
        {"mon": 9},
        "9-17",
    ],
)
def test_what_is_no_hours_is_refused(value: Any) -> None:
    """Each mistake is a sentence for the author of the agent."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        parse_hours(value)
