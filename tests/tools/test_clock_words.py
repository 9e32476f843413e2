"""Days and times as they are said."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.clock_words import BadWhen, clock, leaves_time_open, read_time
from tools.date_words import JUST_PASSED, leaves_day_open, read_date
from tools.number_words import LONGEST, several

OPENS, CLOSES = time(8), time(16, 30)
SATURDAY = date(2026, 11, 21)

SMALL = several(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}
SPANISH_HOURS = several("doce una dos tres cuatro cinco seis siete ocho nueve diez once")

clocks = st.times().map(lambda t: t.replace(second=0, microsecond=0))
business = clocks.filter(lambda t: OPENS <= t <= CLOSES)


def read(words: str) -> str:
    """The normal form, or why there is none."""
    try:
        return clock(read_time(words, OPENS, CLOSES))
    except BadWhen as error:
        return error.reason


def day(words: str, today: date = SATURDAY) -> str:
    try:
        return read_date(words, today).isoformat()
    except BadWhen as error:
        return error.reason


def in_words(number: int) -> str:
    if number < 20:
        return SMALL[number]
    unit = number % 10
    return TENS[number - unit] + (f" {SMALL[unit]}" if unit else "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("half past two", "2:30 PM"),
        ("two o clock", "2:00 PM"),
        ("2ish", "2:00 PM"),
        ("14h", "2:00 PM"),
        ("al mediodía", "12:00 PM"),
        ("faltan veinte para las nueve", "8:40 AM"),
        ("half two", "2:30 PM"),
        ("quarter to ten", "9:45 AM"),
        ("a quarter after ten", "10:15 AM"),
        ("a quarter to one", "12:45 PM"),
        ("ten minutes past nine", "9:10 AM"),
        ("twenty-five to three", "2:35 PM"),
        ("2:30 pm", "2:30 PM"),
        ("2:30pm", "2:30 PM"),
        ("2.30 p.m.", "2:30 PM"),
        ("10 a. m.", "10:00 AM"),
        ("14:00", "2:00 PM"),
        ("14:00:00", "2:00 PM"),
        ("1430", "2:30 PM"),
        ("230", "2:30 PM"),
        ("10h30", "10:30 AM"),
        ("two thirty in the afternoon", "2:30 PM"),
        ("two oh five", "2:05 PM"),
        ("around ten o’clock in the morning, please", "10:00 AM"),
        ("at three.", "3:00 PM"),
        ("noon", "12:00 PM"),
        ("twelve noon", "12:00 PM"),
        ("half past noon", "12:30 PM"),
        ("midnight", "12:00 AM"),
        ("twelve at night", "12:00 AM"),
        ("seven in the evening", "7:00 PM"),
        ("las dos y media", "2:30 PM"),
        ("a las 3 de la tarde", "3:00 PM"),
        ("a la una en punto", "1:00 PM"),
        ("las diez menos cuarto", "9:45 AM"),
        ("un cuarto para las diez", "9:45 AM"),
        ("las tres y treinta y cinco", "3:35 PM"),
        ("las ocho de la mañana", "8:00 AM"),
        ("las catorce horas", "2:00 PM"),
        ("mediodía", "12:00 PM"),
        ("las doce del mediodía", "12:00 PM"),
        ("las doce de la noche", "12:00 AM"),
        ("seven", "ambiguous"),  # the house is closed at both
        ("quarter to five", "ambiguous"),
        ("twelve in the morning", "ambiguous"),
        ("10 am in the evening", "ambiguous"),
        ("25:00", "impossible"),
        ("2:75", "impossible"),
        ("14:00 am", "impossible"),
        ("two or three", "unclear"),
        ("half past", "unclear"),
        ("later", "unclear"),
        ("", "unclear"),
        ("1" * (LONGEST + 1), "unclear"),
    ],
)
def test_times(words: str, expected: str) -> None:
    """English and Spanish, with words and with digits; the house's hours decide between morning and afternoon."""
    assert read(words) == expected


@given(clocks)
def test_a_time_in_figures_is_read_as_it_is_written(at: time) -> None:
    """On either clock, and the normal form is its own normal form."""
    assert read(clock(at)) == clock(at)
    assert read(clock(at).lower().replace(" ", "")) == clock(at)
    if at.hour > 12 or at.hour == 0:
        assert read(f"{at:%H:%M}") == clock(at)


@given(business)
def test_business_hours_need_no_half_of_the_day(at: time) -> None:
    """Within them every time on a twelve-hour clock has one reading, however it is said."""
    hour, expected = at.hour % 12 or 12, clock(at)
    assert read(f"{at:%H:%M}") == read(f"{hour}:{at.minute:02}") == expected
    if at.minute == 0:
        assert read(SMALL[hour]) == read(f"{SMALL[hour]} o'clock") == read(f"a las {hour}") == expected
        return
    minutes = in_words(at.minute)
    assert read(f"{minutes} past {SMALL[hour]}") == read(f"{at.minute} minutes after {hour}") == expected
    assert read(f"las {SPANISH_HOURS[hour % 12]} y {at.minute}") == expected
    if at.minute >= 10:
        assert read(f"{SMALL[hour]} {minutes}") == expected
    following = hour % 12 + 1
    assert read(f"{in_words(60 - at.minute)} to {SMALL[following]}") == expected


@given(
    st.text()
    | st.lists(st.sampled_from(["half", "to", "past", "2", "y", "am", "noche", "oh", ":", "noon"])).map(" ".join)
)
def test_no_words_break_it(words: str) -> None:
    """Whatever a model or a caller says is a time or a day, or a reason why not."""
    read(words)
    day(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("2026-12-03", "2026-12-03"),
        ("2026-12-03T14:00:00", "2026-12-03"),
        ("today", "2026-11-21"),
        ("tomorrow", "2026-11-22"),
        ("the day after tomorrow", "2026-11-23"),
        ("yesterday", "2026-11-20"),
        ("Tuesday", "2026-11-24"),
        ("next Tuesday", "2026-11-24"),
        ("on Saturday", "2026-11-28"),
        ("Tuesday next week", "2026-11-24"),
        ("the third of December", "2026-12-03"),
        ("3 December", "2026-12-03"),
        ("Dec. 3rd", "2026-12-03"),
        ("December twenty-first", "2026-12-21"),
        ("Tuesday, November 24", "2026-11-24"),
        ("Tuesday the twenty fourth", "2026-11-24"),
        ("the 31st", "2026-12-31"),
        ("12/3", "2026-12-03"),
        ("12/3/26", "2026-12-03"),
        ("24/11", "2026-11-24"),
        ("January 5", "2027-01-05"),
        ("November 3", "2026-11-03"),
        ("in two days", "2026-11-23"),
        ("in a week", "2026-11-28"),
        ("three days from now", "2026-11-24"),
        ("hoy", "2026-11-21"),
        ("mañana", "2026-11-22"),
        ("pasado mañana", "2026-11-23"),
        ("el martes que viene", "2026-11-24"),
        ("el próximo sábado", "2026-11-28"),
        ("martes de la próxima semana", "2026-11-24"),
        ("el tres de diciembre", "2026-12-03"),
        ("primero de diciembre de 2026", "2026-12-01"),
        ("treinta y uno de diciembre", "2026-12-31"),
        ("dentro de dos días", "2026-11-23"),
        ("Wednesday, November 24", "ambiguous"),
        ("February 30", "impossible"),
        ("2026-02-30", "impossible"),
        ("the 32nd", "impossible"),
        ("99/99", "impossible"),
        ("next week", "unclear"),
        ("Monday or Tuesday", "unclear"),
        ("soon", "unclear"),
        ("", "unclear"),
    ],
)
def test_days(words: str, expected: str) -> None:
    """English and Spanish, with words and with digits, as seen from a Saturday."""
    assert day(words) == expected


@given(st.dates(date(2020, 1, 1), date(2100, 1, 1)), st.integers(-JUST_PASSED, 250))
def test_a_date_is_read_as_it_is_written(today: date, ahead: int) -> None:
    """With its year always; without it where it is to come or has just passed."""
    meant = today + timedelta(ahead)
    assert read_date(meant.isoformat(), today) == read_date(f"{meant:%m/%d/%Y}", today) == meant
    assert read_date(f"{meant:%B} {meant.day}, {meant.year}", today) == meant
    if (meant.month, meant.day) != (2, 29):
        assert read_date(f"the {meant.day} of {meant:%B}", today) == read_date(f"{meant:%m/%d}", today) == meant


@given(st.dates(date(2020, 1, 1), date(2100, 1, 1)), st.integers(0, 6))
def test_a_day_of_the_week_is_the_next_one(today: date, weekday: int) -> None:
    """Never today, never more than a week ahead; with "next week" in the week that begins on Monday."""
    name = f"{today + timedelta(weekday):%A}"
    found = read_date(name, today)
    assert f"{found:%A}" == name and 1 <= (found - today).days <= 7
    later = read_date(f"{name} next week", today)
    assert later.isocalendar()[:2] == (today + timedelta(7)).isocalendar()[:2] and f"{later:%A}" == name


@pytest.mark.parametrize("words", ["12/31/9999", "in 999 weeks", "next Monday"])
def test_the_end_of_the_calendar(words: str) -> None:
    """Nothing is beyond it."""
    day(words, date(9999, 12, 31))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tomorrow morning", "2026-11-22"),
        ("tomorrow at 3 pm", "2026-11-22"),
        ("mañana por la mañana", "2026-11-22"),
        ("pasado mañana a las tres", "2026-11-23"),
        ("Tuesday afternoon", "2026-11-24"),
        ("in a couple of days", "2026-11-23"),
        ("a week from today", "2026-11-28"),
        ("as soon as possible", "2026-11-21"),
        ("lo antes posible", "2026-11-21"),
        ("20261125", "2026-11-25"),
        ("20261345", "impossible"),
        ("in the morning", "unclear"),
        ("por la mañana", "unclear"),
        ("next week", "unclear"),
    ],
)
def test_a_day_with_a_time_beside_it(words: str, expected: str) -> None:
    """The day is read, and the time is left to whoever wants one."""
    assert day(words) == expected


@pytest.mark.parametrize(
    ("words", "is_open"),
    [
        ("any time", True),
        ("in the morning", True),
        ("por la tarde", True),
        ("cualquier hora", True),
        ("as early as possible", True),
        ("after two", True),
        ("después de las dos", True),
        ("it doesn’t matter", True),
        ("ten after two", False),
        ("nine in the morning", False),
        ("las nueve de la mañana", False),
        ("banana", False),
        ("", False),
    ],
)
def test_a_time_that_is_left_open(words: str, is_open: bool) -> None:
    """Words that many times would meet are no time, and need no question."""
    assert leaves_time_open(words) is is_open


@pytest.mark.parametrize(("words", "is_open"), [("Any day", True), ("cualquier día", True), ("Monday", False)])
def test_a_day_that_does_not_matter(words: str, is_open: bool) -> None:
    """It is told apart from words that are no day."""
    assert leaves_day_open(words) is is_open
