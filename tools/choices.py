"""Other names of what a tool offers to choose from, as models and callers say them, in English and Spanish; pure.

    Kind = Annotated[Literal["pickup", "delivery"], other_names({"pickup": "take away|para llevar"})]

The schema a model sees names the choices alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator

from tools.number_words import SMALL, plain

_WORD = re.compile(r"[^\W_]+")
_NO_MATTER = frozenset(
    {
        *("any", "anything", "all", "either", "both", "no preference", "not specified", "unknown", "whatever"),
        *("cualquiera", "todo", "ambo", "da igual", "sin preferencia"),
    }
)

_UNCLEAR = frozenset({"or", "o", "u", "not", "no", "without", "sin", "but", "except"})

Phrase = tuple[str, ...]


def other_names(names: Mapping[str, str], *, optional: bool = False) -> BeforeValidator:
    """``names``: for a choice its other names, with ``|`` between. One is found as a whole phrase anywhere in what was
    said, if no other choice is named there, and nothing is left open or denied. ``optional``: "any" and the like are
    no choice, which is None."""
    phrases = [
        (phrase, choice)
        for choice, others in names.items()
        for each in (choice, *others.split("|"))
        if (phrase := _phrase(each))
    ]

    def meant(value: Any) -> Any:
        if not isinstance(value, str) or value in names:
            return value
        said = _phrase(value)
        found = {choice for phrase, choice in phrases if phrase == said}
        if not found and not _UNCLEAR & set(said):
            found = {choice for phrase, choice in phrases if _within(phrase, said)}
        if not found and optional and _no_matter(said):
            return None
        return found.pop() if len(found) == 1 else value

    return BeforeValidator(meant)


def _no_matter(said: Phrase) -> bool:
    return " ".join(said) in _NO_MATTER or (bool(said) and said[0] in ("any", "cualquier"))


def _phrase(text: str) -> Phrase:
    """Words without accents and the s of a plural, numbers as digits: ``two beds``, ``2BR`` and ``2 bed`` alike."""
    apart = re.sub(r"(?<=\d)(?=[a-z])", " ", plain(text))
    return tuple(_singular(word) for word in _WORD.findall(apart))


def _singular(word: str) -> str:
    if word in SMALL:
        return str(SMALL[word])
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def _within(phrase: Phrase, said: Phrase) -> bool:
    return any(said[at : at + len(phrase)] == phrase for at in range(len(said) - len(phrase) + 1))


__all__ = ["other_names"]
