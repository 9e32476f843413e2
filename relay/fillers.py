"""What the caller hears while a tool runs: a filler, what the tool reports, a hold sound; pure.

A *wait* lasts as long as tools of a turn's round are not over. Silence in it is filled: nothing is said while the
caller speaks or has the floor, nor while anything else is being said. So nothing is queued ahead of its time, and the
reply never has to wait for more than the one thing being said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.events import CancelTimer, StartTimer
from relay.listening import EARLY, Listening
from relay.rules import CallRules
from relay.speaking import Outbox, Speaking

LONG = 4.0  # seconds: a tool that announces more is one to play the hold sound for
LOOK_AGAIN = 0.25  # seconds between two looks whether it is quiet
REPORT_PAUSE = 4.0  # seconds between two reports said aloud
MOST_REPORTED = 120  # characters of a report


@dataclass(slots=True)
class _Wait:
    """``fill_at``: silence that lasts until then is filled. ``filled``, ``holding``: the filler was said, the hold
    sound is being played, or they are not wanted. ``report``: the latest of a tool that was not said."""

    turn: int
    expected: float
    fill_at: float
    filled: bool = False
    holding: bool = False
    report: str = ""

    @property
    def more(self) -> bool:
        return bool(self.report) or not (self.filled and self.holding)


class Fillers:
    def __init__(self, rules: CallRules, outbox: Outbox, speaking: Speaking, listening: Listening) -> None:
        self._rules = rules
        self._out = outbox
        self._speaking = speaking
        self._listening = listening
        self._wait: _Wait | None = None
        self._next = rules.epoch  # which phrase: not the same one first in every call
        self._reported = -REPORT_PAUSE

    def begin(self, turn: int, expected: float) -> None:
        """Tools of this turn run; the longest announces so many seconds."""
        self._wait = wait = _Wait(turn, expected, self._out.now + self._rules.filler_after)
        wait.filled, wait.holding = not self._phrases(), not self._long(wait)
        if wait.more:
            self._out.add(StartTimer("filler", self._rules.filler_after))

    def again(self) -> None:
        """The caller had the floor and said nothing: the wait begins anew."""
        if self._wait is not None:
            self.begin(self._wait.turn, self._wait.expected)

    def over(self) -> None:
        """The tools are over, or their turn is."""
        wait, self._wait = self._wait, None
        if wait is not None and wait.more:
            self._out.add(CancelTimer("filler"))

    def report(self, text: str, held: bool) -> bool:
        """A tool tells how far it is; otherwise as ``due``. An earlier report that was not said is of no use now."""
        if self._wait is None:
            return False
        text = " ".join(text.split())
        if len(text) > MOST_REPORTED:
            text = text[:MOST_REPORTED].rpartition(" ")[0] or text[:MOST_REPORTED]
        self._wait.report = text
        return self.due(held)

    def due(self, held: bool) -> bool:
        """The timer ``filler`` fired. ``held``: nobody but the caller is to speak. Returns whether the caller hears
        something now."""
        wait, now = self._wait, self._out.now
        if wait is None:
            return False
        if held or self._listening.left(now) or self._speaking.busy:
            wait.fill_at = now + self._rules.filler_after  # the silence is still to begin
            filled = False
        else:
            filled = self._fill(wait)
        self._look_again(wait, wait.fill_at - now)
        return filled

    def _fill(self, wait: _Wait) -> bool:
        now, phrases = self._out.now, self._phrases()
        wait.filled = wait.filled or not phrases
        if wait.report and now - self._reported > REPORT_PAUSE - EARLY:
            self._reported = now
            text, wait.report = wait.report, ""
            self._say(wait, text, "progress")
        elif now < wait.fill_at - EARLY:
            return False
        elif not wait.filled:
            self._say(wait, phrases[self._next % len(phrases)], "filler")
            self._next += 1
        elif not wait.holding:
            self._speaking.play(wait.turn, self._speaking.manner.hold_sound, firm=False)
            wait.holding = True
        else:
            return False
        return True

    def _say(self, wait: _Wait, text: str, origin: str) -> None:
        self._speaking.aside(wait.turn, text, origin)
        wait.filled, wait.holding = True, not self._long(wait)  # words cut the sound: it is played again after them

    def _look_again(self, wait: _Wait, silence: float) -> None:
        """``silence``: seconds of it that are left until it is filled."""
        if wait.more:
            self._out.add(StartTimer("filler", max(LOOK_AGAIN, 0.0 if wait.report else silence)))

    def _long(self, wait: _Wait) -> bool:
        return wait.expected > LONG and bool(self._speaking.manner.hold_sound)

    def _phrases(self) -> Sequence[str]:
        return self._speaking.manner.fillers(self._speaking.language)
