"""Numbers as they are said, in English and Spanish, up to 59: enough for clocks and calendars; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 100
"""Characters; nobody says a day or a time in more."""


def several(words: str) -> list[str]:
    """A list of words, written as one text."""
    return words.split()


_ENGLISH = several(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_SPANISH = several(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete "
    "veintiocho veintinueve"
)
_ORDINALS = several(
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)

SMALL = {
    **{word: number for number, word in enumerate(_ENGLISH)},
    **{word: number for number, word in enumerate(_SPANISH)},
    "un": 1,
    "una": 1,
    "veintiun": 21,
    "veintiuna": 21,
}
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50}
SPANISH_TENS = {"treinta": 30, "cuarenta": 40, "cincuenta": 50}
ORDINALS = {
    **{word: number for number, word in enumerate(_ORDINALS) if number},
    "twentieth": 20,
    "thirtieth": 30,
    "primero": 1,
    "primer": 1,
    "primera": 1,
}

_DIGITS = re.compile(r"\d{1,2}")
_DIGIT_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th|ro|er|o|a)")


def plain(words: str) -> str:
    """In lower case, without accents, with single spaces; "" for what is too long to be a day or a time."""
    if len(words) > LONGEST:
        return ""
    bare = unicodedata.normalize("NFKD", words.casefold())
    return " ".join("".join(each for each in bare if not unicodedata.combining(each)).split())


def numbers(tokens: Sequence[str]) -> list[str]:
    """The tokens with every number said in words as digits: ``twenty five`` and ``treinta y cinco`` become one. A digit
    said behind "oh" keeps it: ``two oh five`` is ``2 05``. Ordinals (``third``, ``3rd``) become ``3.``."""
    found: list[str] = []
    at = 0
    while at < len(tokens):
        token, rest = tokens[at], tokens[at + 1 : at + 3]
        taken, value = 1, token
        if token in TENS:
            value = str(TENS[token])
            if rest and 1 <= SMALL.get(rest[0], 0) <= 9:
                taken, value = 2, str(TENS[token] + SMALL[rest[0]])
            elif rest and 1 <= ORDINALS.get(rest[0], 0) <= 9:
                taken, value = 2, f"{TENS[token] + ORDINALS[rest[0]]}."
        elif token in SPANISH_TENS:
            value = str(SPANISH_TENS[token])
            if len(rest) == 2 and rest[0] == "y" and 1 <= SMALL.get(rest[1], 0) <= 9:
                taken, value = 3, str(SPANISH_TENS[token] + SMALL[rest[1]])
        elif token in ("oh", "o", "zero", "cero") and rest and _unit(rest[0]):
            taken, value = 2, f"0{_unit(rest[0])}"
        elif token in SMALL:
            value = str(SMALL[token])
        elif token in ORDINALS:
            value = f"{ORDINALS[token]}."
        elif ordinal := _DIGIT_ORDINAL.fullmatch(token):
            value = f"{int(ordinal[1])}."
        found.append(value)
        at += taken
    return found


def _unit(token: str) -> int:
    """1 to 9, in words or as a digit; 0 for anything else."""
    value = SMALL.get(token, int(token) if _DIGITS.fullmatch(token) and token.isascii() else 0)
    return value if value <= 9 else 0


__all__ = ["LONGEST", "numbers", "plain", "several"]
