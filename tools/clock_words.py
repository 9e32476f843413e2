"""Times of day as people say them, in English and Spanish, made into one: ``half past two``, ``las dos y media``,
``a quarter to ten``, ``2:30 pm``, ``14:00``, ``three in the afternoon``; pure.

Where neither morning nor afternoon is said, business hours decide, if only one of the two lies within them. What could
still be two times, or is none, is refused rather than guessed.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Literal

from tools.number_words import numbers, plain, several

HALF_DAY = 12 * 60

Reason = Literal["unclear", "ambiguous", "impossible"]


class BadWhen(ValueError):
    """Words that name no day or no time. ``reason``: not understood, two readings, or none that exists."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


_MORNING = re.compile(r"\b(?:in the|this|de la|por la|en la)? ?(?:morning|manana)\b")
_AM = re.compile(r"(?<![a-z])a ?m\b|\b(?:de|por) la madrugada\b")
_PM = re.compile(
    r"(?<![a-z])p ?m\b"
    r"|\b(?:in the|this|at|de la|por la|en la)? ?(?:afternoon|evening|night|tonight|tarde|noche)\b"
)
_NIGHT = re.compile(r"\b(?:night|noche|tonight)\b")
_NOON = re.compile(r"\b(?:12 |twelve |doce )?(?:del? |al? |o'?clock )?(?:noon|midday|noontime|mediodia|medio dia)\b")
_MIDNIGHT = re.compile(r"\b(?:12 |twelve |doce )?(?:de la |o'?clock )?(?:midnight|medianoche|media noche)\b")
_CLOCK = re.compile(r"(\d{1,2})[:.h](\d{2})(?::\d{2})?|(\d{1,2})h")
_DIGITS = re.compile(r"\d{1,4}")
_DROPPED = frozenset(
    several(
        "at around about approximately by the a an please sharp exactly time hour hours hrs minute minutes oclock "
        "o'clock las la el los hora horas hs minuto minutos en punto son es sobre hacia por favor faltan falta"
    )
)
_OPEN = frozenset(
    several(
        "any anytime time whenever hour at in the a an is it me fine good ok okay with for early earlier earliest late "
        "later latest morning afternoon evening midmorning lunchtime as soon asap possible first thing available works "
        "no preference doesn't dont matter flexible open cualquier cualquiera hora cuando sea por la lo de en el "
        "manana tarde temprano mas pronto antes posible primera ultima da igual me es preferencia sin"
    )
)
_AROUND = re.compile(r"(?:any ?time )?(?:after|before|between|from|until|later than|earlier than)\b")
_SPANISH_AROUND = re.compile(r"(?:despues de|antes de|a partir de|entre|desde|hasta)\b")
_PAST, _TO = ("past", "after"), ("to", "of", "til", "till", "until", "before", "para")


def read_time(words: str, opens: time, closes: time) -> time:
    """The time of day. ``opens``, ``closes``: the first and the last time that makes sense. Raises BadWhen."""
    text = re.sub(r"\b([ap])\. ?m\b\.?", r"\1m", plain(words).replace("’", "'"))
    # "en punto" and "at 2." end with nothing; "2.30" is a time.
    text = re.sub(r"[,;!?]|\.(?!\d)", " ", text)
    text = re.sub(r"(?<=\d)(?=[ap] ?m\b)", " ", text)
    text = re.sub(r"\bo clock\b", "o'clock", text)
    text = re.sub(r"(?<=[\da-z])[- ]?ish\b", "", text)
    morning = bool(_MORNING.search(text))
    text = _MORNING.sub(" ", text)
    early = bool(_AM.search(text)) or morning
    text = _AM.sub(" ", text)
    late = bool(_PM.search(text))
    night = bool(_NIGHT.search(text))
    text = _PM.sub(" ", text)
    if _MIDNIGHT.search(text):
        early, text = True, _MIDNIGHT.sub(" 12 ", text)
    elif _NOON.search(text):
        late, text = True, _NOON.sub(" 12 ", text)
    if early and late:
        raise BadWhen("ambiguous")
    tokens = [token for token in text.replace("-", " ").split() if token not in _DROPPED]
    hour, minutes = _read(numbers(tokens))
    if hour > 23 or abs(minutes) > 59:
        raise BadWhen("impossible")
    since_midnight = (hour * 60 + minutes) % (2 * HALF_DAY)
    if hour > 12 or hour == 0:
        wrong_half = (early and hour > 12) or (late and hour == 0)
        if wrong_half:
            raise BadWhen("impossible")
        return _time(since_midnight)
    minutes_of_half = since_midnight % HALF_DAY
    if minutes_of_half < 60 and morning:
        raise BadWhen("ambiguous")  # "twelve in the morning" is midnight to some and noon to others
    if minutes_of_half < 60 and night:
        return _time(minutes_of_half)
    if early or late:
        return _time(minutes_of_half + HALF_DAY * late)
    within = [t for t in map(_time, (minutes_of_half, minutes_of_half + HALF_DAY)) if opens <= t <= closes]
    if len(within) != 1:
        raise BadWhen("ambiguous")
    return within[0]


def leaves_time_open(words: str) -> bool:
    """Whether this is a wish that many times would meet: ``any time``, ``in the morning``, ``después de las dos``."""
    tokens = re.findall(r"[\w']+", plain(words).replace("’", "'"))
    text = " ".join(tokens)
    return bool(tokens) and (_OPEN.issuperset(tokens) or bool(_AROUND.match(text) or _SPANISH_AROUND.match(text)))


def clock(moment: time) -> str:
    """The normal form: ``10:00 AM``."""
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {'AM' if moment.hour < 12 else 'PM'}"


def _read(tokens: list[str]) -> tuple[int, int]:
    """(hour, minutes after it, which may be negative)."""
    match tokens:
        case [one]:
            if found := _CLOCK.fullmatch(one):
                return (int(found[3]), 0) if found[3] else (int(found[1]), int(found[2]))
            if one.isascii() and _DIGITS.fullmatch(one):
                return (int(one), 0) if len(one) <= 2 else (int(one[:-2]), int(one[-2:]))  # "230", "1400"
        case ["half", hour]:
            return _number(hour), 30
        case [hour, minutes] if len(minutes) == 2:
            return _number(hour), _number(minutes)
        case ["1", "cuarto", word, hour] if word in _TO:
            return _number(hour), -15
        case [part, word, hour] if word in _PAST:
            return _number(hour), _part(part)
        case [part, word, hour] if word in _TO and part not in ("half", "media"):
            return _number(hour), -_part(part)
        case [hour, "y", part]:
            return _number(hour), _part(part)
        case [hour, "menos", part] if part != "media":
            return _number(hour), -_part(part)
    raise BadWhen("unclear")


def _part(token: str) -> int:
    named = {"half": 30, "media": 30, "quarter": 15, "cuarto": 15}
    return named[token] if token in named else _number(token)


def _number(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) <= 2):
        raise BadWhen("unclear")
    return int(token)


def _time(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


__all__ = ["BadWhen", "Reason", "clock", "leaves_time_open", "read_time"]
