"""Days as people say them, in English and Spanish: ``tomorrow``, ``next Tuesday``, ``the third of December``, ``12/3``,
``el martes que viene``, ``2026-12-03``; pure.

What names a day without its year is the next such day, unless it has just passed: then it is that one, and whoever
asked says so. Numbers with a slash are written as in the United States, the month first.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from tools.clock_words import BadWhen
from tools.number_words import numbers, plain, several

JUST_PASSED = 60
"""Days: "the third of November", said on the twenty first, is a day that has passed and not one of next year."""

_WEEKDAYS = {
    **{name: day for day, name in enumerate(several("monday tuesday wednesday thursday friday saturday sunday"))},
    **{name: day for day, name in enumerate(several("lunes martes miercoles jueves viernes sabado domingo"))},
    **{name: day for day, name in enumerate(several("mon tue wed thu fri sat sun"))},
    "tues": 1,
    "weds": 2,
    "thur": 3,
    "thurs": 3,
}
_MONTHS = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "ene feb mar abr may jun jul ago set oct nov dic",
    )
    for number, name in enumerate(names.split(), 1)
} | {"sept": 9, "setiembre": 9}
_FIXED = {
    "today": 0,
    "tonight": 0,
    "hoy": 0,
    **dict.fromkeys(("now", "right now", "right away", "immediately", "asap", "as soon as possible"), 0),
    **dict.fromkeys(("hoy mismo", "ahora", "ahora mismo", "lo antes posible", "cuanto antes", "inmediatamente"), 0),
    "tomorrow": 1,
    "manana": 1,
    "day after tomorrow": 2,
    "pasado manana": 2,
    "yesterday": -1,
    "ayer": -1,
    "day before yesterday": -2,
    "anteayer": -2,
}
_OPEN = frozenset(
    {
        *(
            "any",
            "any day",
            "any date",
            "anytime",
            "any time",
            "whenever",
            "flexible",
            "no preference",
            "not specified",
        ),
        *("cualquiera", "cualquier dia", "cualquier fecha", "cuando sea", "sin preferencia"),
    }
)
_DROPPED = frozenset(several("the of on for de del el la los para a an this este esta coming dia"))
_NEXT = re.compile(r"\b(?:next|proxim[oa]|que viene|siguiente)\b")
_NEXT_WEEK = re.compile(r"\b(?:next week|proxima semana|semana que viene|semana proxima)\b")
_BARE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[t ]\d{1,2}:\d{2}\S*)?")
_NUMERIC = re.compile(r"(\d{1,2})[-/.](\d{1,2})(?:[-/.](\d{4}|\d{2}))?")
_AHEAD = re.compile(r"(?:in|dentro|en) (\d{1,3}) (day|dia|week|semana)s?|(\d{1,3}) (day|week)s? from (?:now|today)")
# A time said with the day is read by whoever wants a time.
_HOUR = re.compile(
    r"\b(?:(?:in the|this) )?(?:morning|afternoon|evening|night)\b|\b(?:por|en|de|a) la (?:manana|tarde|noche)\b"
    r"|\bal mediodia\b|\b(?:at|a las?) .*$"
)
_DAY = re.compile(r"(\d{1,2})\.?")
_YEAR = re.compile(r"\d{4}")


def read_date(words: str, today: date) -> date:
    """The day, which may have passed. Raises BadWhen."""
    text = re.sub(r"[,;!?]|\.(?!\d)", " ", plain(words))
    text = " ".join(text.split())
    if found := _ISO.fullmatch(text) or _BARE.fullmatch(text):
        return _day(int(found[1]), int(found[2]), int(found[3]))
    if found := _NUMERIC.fullmatch(text):
        return _numeric(found, today)
    text = " ".join(_HOUR.sub(" ", text).split())
    text = text.replace("a couple of", "2").replace("un par de", "2").replace("week from", "1 week from")
    next_week = bool(_NEXT_WEEK.search(text))
    text = _NEXT.sub(" ", _NEXT_WEEK.sub(" ", text))
    tokens = numbers([token for token in text.replace("-", " ").split() if token not in _DROPPED])
    text = " ".join(tokens)
    if text in _FIXED and not next_week:
        return _ahead(today, _FIXED[text])
    if (found := _AHEAD.fullmatch(text.replace("in week", "in 1 week"))) and not next_week:
        count, unit = found[1] or found[3], found[2] or found[4]
        return _ahead(today, int(count) * (7 if unit in ("week", "semana") else 1))
    return _named(tokens, today, next_week=next_week)


def leaves_day_open(words: str) -> bool:
    """Whether this says that the day does not matter."""
    return plain(words) in _OPEN


def _named(tokens: list[str], today: date, *, next_week: bool) -> date:
    """A day of the week, a day of a month, or both where they agree."""
    weekdays = [_WEEKDAYS[token] for token in tokens if token in _WEEKDAYS]
    months = [_MONTHS[token] for token in tokens if token in _MONTHS]
    years = [int(token) for token in tokens if _YEAR.fullmatch(token)]
    rest = [token for token in tokens if token not in _WEEKDAYS and token not in _MONTHS and not _YEAR.fullmatch(token)]
    days = [int(found[1]) for token in rest if (found := _DAY.fullmatch(token))]
    lists: tuple[list[int], ...] = (weekdays, months, years, days)
    if len(days) < len(rest) or any(len(each) > 1 for each in lists) or (months and not days) or (years and not months):
        raise BadWhen("unclear")
    if not days:
        if not weekdays:
            raise BadWhen("unclear")
        return _weekday(today, weekdays[0], next_week=next_week)
    if next_week:
        raise BadWhen("ambiguous")
    found_day = _in_month(days[0], months[0], years, today) if months else _of_month(days[0], today)
    if weekdays and found_day.weekday() != weekdays[0]:
        raise BadWhen("ambiguous")
    return found_day


def _weekday(today: date, weekday: int, *, next_week: bool) -> date:
    """The next one after today; on a Tuesday nobody calls today "Tuesday"."""
    if next_week:
        return _ahead(today, 7 - today.weekday() + weekday)
    return _ahead(today, (weekday - today.weekday() - 1) % 7 + 1)


def _in_month(day: int, month: int, years: list[int], today: date) -> date:
    if years:
        return _day(years[0], month, day)
    found = None
    # From last year, for a December that has just passed; the 29th of February may be eight years away.
    for year in range(today.year - 1, today.year + 9):
        try:
            found = date(year, month, day)
        except ValueError:
            continue
        if (today - found).days <= JUST_PASSED:
            return found
    raise BadWhen("impossible")


def _of_month(day: int, today: date) -> date:
    """The next day of this number, today included."""
    if not 1 <= day <= 31:
        raise BadWhen("impossible")
    found = today
    while found.day != day:
        found = _ahead(found, 1)
    return found


def _numeric(found: re.Match[str], today: date) -> date:
    month, day = int(found[1]), int(found[2])
    if month > 12 >= day:
        month, day = day, month
    years = [int(found[3]) + (2000 if len(found[3]) == 2 else 0)] if found[3] else []
    return _in_month(day, month, years, today)


def _ahead(today: date, days: int) -> date:
    try:
        return today + timedelta(days)
    except OverflowError:
        raise BadWhen("impossible") from None


def _day(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise BadWhen("impossible") from None


__all__ = ["leaves_day_open", "read_date"]
