"""Keys that a tool waits for: an account number, a PIN; pure.

While it lasts every key is the tool's, those with a meaning of their own too. It is complete with so many keys, or with
the terminator; it ends with what there is when nothing was pressed for long enough after the agent's words were heard.
A terminator that comes when it was over already belongs to it: callers end a code by habit.
"""

from __future__ import annotations

from relay.events import CancelTimer, CollectDigits, DigitsCollected, StartTimer
from relay.keypad import LATE_POUND, Keypad
from relay.listening import EARLY, Listening
from relay.quiet import spoken_until
from relay.speaking import Outbox, Speaking
from relay.toolbox import DigitsWanted, Keyed
from relay.turns import Turns

LONGEST = 300.0  # seconds it lasts at most, however slowly keys come
TIMER = "digits"


class Collecting:
    """At most one at a time. ``key``: of the tool that waits, None for none; ``keys``: what it was given so far."""

    def __init__(self, outbox: Outbox, speaking: Speaking, listening: Listening, turns: Turns) -> None:
        self.key: int | None = None
        self.keys = ""
        self._outbox = outbox
        self._speaking = speaking
        self._listening = listening
        self._turns = turns
        self._wanted = DigitsWanted(1)
        self._begun = 0.0
        self._since = 0.0  # since when nothing was said or pressed, or will have been
        self._due: float | None = None  # when the timer fires
        self._late: tuple[float, str] | None = None  # when the last one ended without its terminator, and that

    @property
    def active(self) -> bool:
        return self.key is not None

    def asked(self, event: CollectDigits, keypad: Keypad) -> str:
        """A tool waits for keys, or does not any more. Keys pressed just before are taken for the first: the caller was
        asked for them while the turn went on. Returns those of them that were too many."""
        if event.wanted is None:
            if self.key == event.key:
                self._drop()
        elif self.active:
            self._outbox.add(DigitsCollected(event.key, None))
        elif not self._turns.waits_for(event.key):
            self._outbox.add(DigitsCollected(event.key, Keyed()))
        else:
            self.key, self.keys, self._wanted = event.key, "", event.wanted
            self._begun = self._since = self._outbox.now
            self._due = None
            self._turns.keys_wanted()
            if keypad.digits:
                self._outbox.add(CancelTimer("interdigit"))
                return self._press_all(keypad.withdraw())
        return ""

    def _press_all(self, keys: str) -> str:
        for at, key in enumerate(keys):
            if not self.active:
                return keys[at:]
            self.press(key)
        return ""

    def press(self, digit: str) -> None:
        """A key for the tool."""
        self._since = self._outbox.now
        if digit == self._wanted.terminator:
            self._finish(complete=bool(self.keys), ended=True)
            return
        self.keys += digit
        if len(self.keys) >= self._wanted.count:
            self._finish(complete=True)

    def belongs_to_last(self, digit: str) -> bool:
        """Whether this is the terminator of a collection that was over without it. One is; the next is meant."""
        if self._late is None or self.keys:
            return False
        ended, terminator = self._late
        if digit != terminator or self._outbox.now - ended >= LATE_POUND:
            return False
        self._late = None
        return True

    def watch(self) -> None:
        """Something has happened, or the timer ``digits`` has fired: ends the collection when its time is up."""
        if not self._waited_for:
            self._drop()
        self._turns.collecting = self.active
        if not self.active:
            return
        now = self._outbox.now
        spoken = spoken_until(self._speaking)
        if spoken > now:
            self._since = spoken
        elif self._since > now:
            self._since = now
        due = max(self._since + self._wanted.timeout, now + self._listening.left(now))
        due = min(due, self._begun + LONGEST)
        if due <= now + EARLY:
            self._finish(complete=False)
        elif due != self._due:
            self._due = due
            self._outbox.add(StartTimer(TIMER, due - now))

    def spoken_over(self) -> None:
        """The caller has spoken. Where that does not supersede the turn it waits for its end: the tool gets what there
        is."""
        if self._waited_for:
            self._finish(complete=False)

    @property
    def _waited_for(self) -> bool:
        return self.key is not None and self._turns.waits_for(self.key)

    def _drop(self) -> None:
        """The tool is over, or its turn is: what was pressed for it is forgotten."""
        if self.key is not None:
            self.keys = ""
            self._finish(complete=False)

    def _finish(self, *, complete: bool, ended: bool = False) -> None:
        assert self.key is not None
        self._late = (self._outbox.now, self._wanted.terminator or "#") if self.keys and not ended else None
        self._outbox.add(CancelTimer(TIMER), DigitsCollected(self.key, Keyed(self.keys, complete)))
        self.key, self.keys = None, ""
        self._turns.collecting = False
