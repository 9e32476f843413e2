"""Keys of the phone: digits without a meaning of their own are collected into one input; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from config.says import in_language

LATE_POUND = 3.0  # seconds after digits were taken in which a lone # still belongs to them
MOST_DIGITS = 64
PRESSED = "The caller pressed "  # how the model is told of keys
_INPUT = re.compile(rf"{PRESSED}([\dA-D*#](?: [\dA-D*#])*) on the keypad\.", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What a key does at once: say a line, run a tool with these arguments (JSON text), or both. ``says``: the line in
    other languages, by tag in lower case."""

    say: str = ""
    tool: str = ""
    arguments: str = "{}"
    says: Mapping[str, str] = field(default_factory=dict)

    def line(self, language: str) -> tuple[str, str]:
        """The line for a caller of this language, and the tag of the language it is in: "" for the agent's."""
        found = in_language(self.says, language)
        return (self.say, "") if found is None else (found, language)


def keys_of(note: str) -> str:
    """The keys a model is told of that are the caller's input; "" for any other note."""
    found = _INPUT.fullmatch(note)
    return found[1].replace(" ", "") if found else ""


class Keypad:
    def __init__(self) -> None:
        self.digits = ""
        self._complete = False  # a # has ended the digits
        self._taken_at: float | None = None  # when digits were taken that no # had ended

    def belongs_to_last(self, digit: str, now: float) -> bool:
        """Whether this is the # of an input that was taken without it: a caller who ends a code by habit."""
        late = self._taken_at is not None and now - self._taken_at < LATE_POUND
        if digit == "#" and not self.digits and late:
            self._taken_at = None
            return True
        return False

    def press(self, digit: str) -> bool:
        """Collects a key; returns whether the input is complete."""
        self._complete = digit == "#"
        if not (self._complete and self.digits):
            self.digits += digit
        return self._complete or len(self.digits) >= MOST_DIGITS

    def withdraw(self) -> str:
        """The keys collected so far, which turn out to be no input."""
        digits, self.digits = self.digits, ""
        return digits

    def take(self, now: float) -> str:
        """The collected keys, spaced, as the model is told."""
        digits, self.digits = self.digits, ""
        self._taken_at = None if self._complete else now
        return " ".join(digits)
