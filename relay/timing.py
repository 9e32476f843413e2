"""The contiguous segments of a turn, from the prompt read to the first words written; see ``telemetry.SEGMENTS``."""

from __future__ import annotations

from relay.telemetry import SEGMENTS, Telemetry


class TurnTiming:
    """Marks of one turn, in seconds of one clock; each is set once, in order, and a missing one counts as no time.

    Where the first words come of a later round, what came of those before it is not what the caller waited for: from
    the first request written to that round's, all is the time of the turn's tools.
    """

    __slots__ = ("_again", "_begun", "_delta", "_items", "_read", "_resent", "_sent", "_word", "_written")

    def __init__(self, read: float) -> None:
        self._read = read
        self._begun = self._items = self._sent = self._delta = self._word = self._written = 0.0
        self._again = self._resent = 0.0  # when the latest of the later rounds began, and its request was written

    def begun(self, now: float) -> None:
        self._begun = self._begun or now

    def items(self, now: float) -> None:
        self._items = self._items or now

    def later_round(self, now: float) -> None:
        self._again = now
        self._resent = self._delta = self._word = 0.0

    def sent(self, now: float) -> None:
        if self._again:
            self._resent = self._resent or now
        else:
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

    def observe(self, telemetry: Telemetry, channel: str = "voice") -> tuple[float, dict[str, float]]:
        """Into the metrics; returns the seconds from the prompt to the first words, and what they consist of."""
        first_text = self._written - self._read
        telemetry.first_texts[channel].observe(first_text)
        segments: dict[str, float] = {}
        before = self._read
        resent = self._resent or self._again
        marks = (self._begun, self._items, self._sent, resent, self._delta, self._word, self._written)
        for name, mark in zip(SEGMENTS, marks, strict=True):
            mark = max(before, mark)
            segments[name] = mark - before
            telemetry.segments[name].observe(mark - before)
            before = mark
        return first_text, segments
