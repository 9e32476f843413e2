"""Which agent a model or a caller means: by key, title, number on the list, or a word that only one of them has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Protocol

_ORDINALS = {
    word: number
    for number, words in enumerate(
        (
            "1 one first 1st uno una primero primera primer",
            "2 two second 2nd dos segundo segunda",
            "3 three third 3rd tres tercero tercera tercer",
            "4 four fourth 4th cuatro cuarto cuarta",
            "5 five fifth 5th cinco quinto quinta",
            "6 six sixth 6th seis sexto sexta",
            "7 seven seventh 7th siete septimo septima",
            "8 eight eighth 8th ocho octavo octava",
            "9 nine ninth 9th nueve noveno novena",
        ),
        1,
    )
    for word in words.split()
}
# The number is a choice only where nothing else is said: "the second one", "number two", "la segunda".
_AROUND = frozenset({"the", "number", "option", "demo", "please", "la", "el", "opcion", "numero", "por", "favor"})
_BACK = re.compile(
    r"\b(start(ing)? (over|again)|main menu|beginning|go back|reset|empezar de nuevo|volver|inicio|menu principal)\b"
)


class Titled(Protocol):
    @property
    def title(self) -> str: ...


def find_agent(wanted: str, known: Mapping[str, Titled], default: str, current: str) -> str | None:
    """The agent that was meant: by key, title, number on the list the current agent reads out, or by a word that only
    one of them has in its key or title. None for none, or for more than one."""
    words = _words(wanted)
    plain = " ".join(words)
    if not words:
        return None
    for name, demo in known.items():
        if plain in (" ".join(_words(name)), " ".join(_words(demo.title))):
            return name
    if _BACK.search(plain) or "default" in words:
        return default if default in known else None
    others = [name for name in known if name != current]
    rest = [word for word in words if word not in _AROUND]
    if len(rest) > 1 and rest[-1] == "one":
        rest.pop()  # "the second one"
    numbers = {_ORDINALS[word] for word in rest if word in _ORDINALS}
    if len(numbers) == 1 and all(word in _ORDINALS for word in rest):
        (number,) = numbers
        return others[number - 1] if number <= len(others) else None
    found = [
        name
        for name, demo in known.items()
        if {_stem(word) for word in words}
        & {_stem(word) for word in (*_words(name), *_words(demo.title))} - _AROUND - _ORDINALS.keys()
    ]
    return found[0] if len(found) == 1 else None


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain)


def _stem(word: str) -> str:
    """Without the s of a plural, and the last vowel: "restaurante" and "restaurant" are one."""
    word = word[:-1] if word.endswith("s") and len(word) > 3 else word
    return word[:-1] if word[-1] in "aeo" and len(word) > 5 else word
