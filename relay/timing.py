"""The contiguous segments of a turn, from the prompt read to the first words written; see ``telemetry.SEGMENTS``."""

from __future__ import annotations

from relay.telemetry import SEGMENTS, Telemetry


class TurnTiming:
    """Marks of one turn, in seconds of one clock; each is set once, in order, and a missing one counts as no time.

    A turn whose first words come in a later round (after tools) has a first-text time but no segments: what lies
    between is the time of its tools, which has a metric of its own.
    """

    __slots__ = ("_begun", "_delta", "_items", "_later", "_read", "_sent", "_word", "_written")

    def __init__(self, read: float) -> None:
        self._read = read
        self._begun = self._items = self._sent = self._delta = self._word = self._written = 0.0
        self._later = False

    def begun(self, now: float) -> None:
        self._begun = self._begun or now

    def items(self, now: float) -> None:
        self._items = self._items or now

    def later_round(self) -> None:
        self._later = True

    def sent(self, now: float) -> None:
        self._sent = self._sent or now

    def delta(self, now: float) -> None:
        self._delta = self._delta or now

    def word(self, now: float) -> None:
        self._word = self._word or now

    def written(self, now: float) -> bool:
        """The first words were written: True the first time."""
        if self._written:
            return False
        self._written = now
        return True

    def observe(self, telemetry: Telemetry, channel: str = "voice") -> tuple[float, dict[str, float] | None]:
        """Into the metrics; returns the seconds from the prompt to the first words, and what they consist of."""
        first_text = self._written - self._read
        telemetry.first_texts[channel].observe(first_text)
        if self._later:
            return first_text, None
        segments: dict[str, float] = {}
        before = self._read
        marks = (self._begun, self._items, self._sent, self._delta, self._word, self._written)
        for name, mark in zip(SEGMENTS, marks, strict=True):
            mark = max(before, mark)
            segments[name] = mark - before
            telemetry.segments[name].observe(mark - before)
            before = mark
        return first_text, segments
