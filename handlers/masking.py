"""What an operator sees of people: their words, names, numbers and addresses as bullets, unless they may be shown.

The shape stays: how many words, how long about, which fields there are. A word is a bullet a letter, eight at most; of
a telephone number the last digits stay, so that two callers can be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import orjson

BULLET = "•"
LONGEST = 8
OUR_NAMES = frozenset({"error", "message", "not_kept", "note", "status"})
"""Fields that the program itself puts into what a tool gives back."""

_WORD = re.compile(r"\S+")
_NUMBER = re.compile(r"\+\d{10,15}", re.ASCII)


class Masking:
    """``show``: nothing is masked (DASHBOARD_SHOW_WORDS)."""

    def __init__(self, *, show: bool) -> None:
        self.show = show

    def text(self, text: str) -> str:
        return text if self.show else _WORD.sub(_bullets, text)

    def address(self, person: str) -> str:
        """Of a person's id, ``channel:address``; "anonymous" for one without, "" for nobody."""
        channel, _, address = person.partition(":")
        if channel == "anonymous" or not address:
            return channel
        if self.show:
            return address
        if _NUMBER.fullmatch(address):
            return f"{address[:2]}{BULLET * 5}{address[-4:]}"
        return BULLET * LONGEST

    def json(self, text: str, names: Collection[str] = ()) -> str:
        """JSON text, which stays JSON, with all that may be somebody's words masked: texts, numbers, and the names of
        fields, for a model may have made them up, but for these. What is no JSON is masked as text."""
        if self.show:
            return text
        try:
            return orjson.dumps(self._value(orjson.loads(text), names)).decode()
        except (orjson.JSONDecodeError, TypeError, RecursionError):  # the last two: nested without end
            return self.text(text)

    def _value(self, value: Any, names: Collection[str]) -> Any:
        match value:
            case bool() | None:
                return value
            case list():
                return [self._value(each, names) for each in value]
            case dict():
                return self._fields(value, names)
            case _:
                return self.text(str(value))

    def _fields(self, fields: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for number, (name, value) in enumerate(fields.items(), 1):
            # Numbered: two names that look alike now are two fields all the same.
            shown = name if name in names else f"{self.text(name)} {number}"
            masked[shown] = self._value(value, names)
        return masked


def _bullets(word: re.Match[str]) -> str:
    return BULLET * min(LONGEST, len(word[0]))


def names_in(schema: Any) -> set[str]:
    """The names of arguments, and of what is inside them, in a JSON schema."""
    found: set[str] = set()
    if isinstance(schema, list):
        for each in schema:
            found |= names_in(each)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            found |= properties.keys()
            found |= names_in(list(properties.values()))
        found |= names_in([value for name, value in schema.items() if name != "properties"])
    return found


__all__ = ["OUR_NAMES", "Masking", "names_in"]
