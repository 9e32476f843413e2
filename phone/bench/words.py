"""Words of an answer that tell whose they are, and when they were written.

``t7w0`` is the first word of turn 7's answer. With clocks it is ``t7w0r000001234567m000250000``: its request was read
at ``r``, by the machine's monotonic clock in microseconds, of which these are the last twelve digits, and the word was
written ``m`` microseconds later. A server that hands the model's words on, in whatever portions, hands its own
measurement on with them, and it is that of the very request whose words were heard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from phone.endpoint.dialog import Entry

_ROUND = 1_000_000_000_000
_LONGEST = 999_999_999  # microseconds of a request
_BLANK = "mxxxxxxxxx"

_NUMBER = re.compile(r"\d+")
_PLACE = re.compile(r"\bt\d+w(\d+)")
_CLOCKED = re.compile(r"t(\d+)w(\d+)r(\d{12})m(\d{9})")


def asked(entries: Sequence[Entry]) -> tuple[int, int]:
    """The turn a request is for, which is the last number the caller said, and how many words of its answer stand
    behind that as spoken."""
    spoken = 0
    for entry in reversed(entries):
        if entry.kind == "assistant":
            spoken = max([spoken, *(int(place) + 1 for place in _PLACE.findall(entry.text))])
        elif entry.kind == "user" and (numbers := _NUMBER.findall(entry.text)):
            return int(numbers[-1]), spoken
    return 0, 0


def word(turn: int, place: int) -> str:
    return f"t{turn}w{place}"


def clocked(turn: int, place: int, read: float) -> str:
    """A word whose writing is stamped later; ``read``: monotonic seconds at which its request was."""
    return f"{word(turn, place)}r{_micros(read):012}{_BLANK}"


def stamp(data: bytes, since: float) -> bytes:
    """The bytes, now that they are written so many seconds after their request was read."""
    micros = min(_LONGEST, max(0, int(since * 1e6)))
    return data.replace(_BLANK.encode(), b"m%09d" % micros)


@dataclass(frozen=True, slots=True)
class Heard:
    """A word as it came back. ``model``: seconds the model took from reading the request to writing it."""

    turn: int
    place: int
    model: float
    _read: int

    def age(self, now: float) -> float:
        """Seconds from its writing until ``now``, by the monotonic clock."""
        return self.asked(now) - self.model

    def asked(self, now: float) -> float:
        """Seconds from the reading of its request until ``now``; negative when that was later."""
        # The digits may have begun anew in between.
        return ((_micros(now) - self._read + _ROUND // 2) % _ROUND - _ROUND // 2) / 1e6


def heard(text: str) -> list[Heard]:
    """The words with clocks in it."""
    return [
        Heard(int(turn), int(place), int(model) / 1e6, int(read)) for turn, place, read, model in _CLOCKED.findall(text)
    ]


def _micros(seconds: float) -> int:
    return int(seconds * 1e6) % _ROUND
