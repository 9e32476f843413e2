"""What the agent says unasked: into a silence, and when the call's time runs out; pure.

Silence is when nobody does anything: no turn, no speech of the agent's (by its report, else by the clock), none of the
caller's, no keys being collected. The agent asks whether the caller is there, so many times in a row; then it says
goodbye. A noise (speech reported, and no words) puts that off, as words may follow it, but not for ever.

The caller is told some time before the call's time is up, in the next silence; then it ends, whatever is being said.
"""

from __future__ import annotations

from math import inf

from relay.ending import Ending
from relay.events import CancelTimer, End, StartTimer
from relay.listening import EARLY, NOISE_LIMIT, Listening
from relay.rules import CallRules
from relay.speaking import Outbox, Speaking
from relay.turns import Turns

WARNING = 60.0  # seconds before the end of the call's time at which the caller is told; a tenth of it if that is less
SLOW_SPEECH = 2.0  # while the agent is reported speaking its words may take so many times what they should
SPEECH_SLACK = 10.0  # seconds, and so much longer


def spoken_until(speaking: Speaking) -> float:
    """When the agent will have fallen silent; may be past."""
    if speaking.silent:
        return 0.0
    end, began = speaking.end() or 0.0, speaking.agent_on_at
    return end if began is None else began + SLOW_SPEECH * max(0.0, end - began) + SPEECH_SLACK


class Quiet:
    def __init__(
        self,
        rules: CallRules,
        outbox: Outbox,
        speaking: Speaking,
        listening: Listening,
        turns: Turns,
        ending: Ending,
    ) -> None:
        self._rules = rules
        self._outbox = outbox
        self._speaking = speaking
        self._listening = listening
        self._turns = turns
        self._ending = ending
        self._since = inf  # when silence began, or will have begun
        self._noise = 0.0  # until when words may still follow what was heard of the caller
        self._asked = 0  # times in a row
        self._due: float | None = None  # when the timer fires
        self._warning = False  # the caller is to be told of the time
        self._ahead = min(WARNING, rules.max_call_seconds / 10)

    # -- silence

    def caller(self) -> None:
        """The caller has said or pressed something."""
        self._asked = 0

    def watch(self, collecting: bool) -> None:
        """Something has happened, or the timer ``silence`` has fired. ``collecting``: keys are being pressed."""
        if collecting or self._ending.under_way or self._ending.done or not self._turns.at_rest:
            self._since = inf
            self._set(None)
            return
        self._follow()
        soon = self._outbox.now + EARLY
        if self._warning and self._next() <= soon:
            self._warn()
            self._follow()
        if not self._warning and self._next() <= soon and not self._ask():
            self._set(None)
        else:
            self._set(self._next())

    def _follow(self) -> None:
        """Keeps track of when silence began, and of noises in it."""
        now, pause = self._outbox.now, self._rules.after_interrupt
        spoken = spoken_until(self._speaking)
        if spoken > now:
            self._since = spoken
        elif self._since > now:
            self._since = now
        left = self._listening.left(now)
        self._noise = now + left + pause if left else min(self._noise, now + pause)

    def _next(self) -> float:
        """When something is said if nothing else happens; may be past."""
        if self._warning:
            return max(self._since, self._noise)
        due = self._since + self._rules.silence_after
        return min(max(due, self._noise), due + NOISE_LIMIT)

    def _set(self, due: float | None) -> None:
        if due is None and self._due is not None:
            self._outbox.add(CancelTimer("silence"))
        elif due is not None and due != self._due:
            self._outbox.add(StartTimer("silence", max(0.0, due - self._outbox.now)))
        self._due = due

    def _ask(self) -> bool:
        """Asks whether the caller is there; False: that has been asked often enough, and this is goodbye."""
        if self._asked >= self._rules.silence_prompts:
            self._turns.cease()
            self._ending.after("silence_goodbye", End(None, "silence"))
            return False
        self._asked += 1
        self._since = self._outbox.now
        self._speaking.line("still_there")
        self._follow()
        return True

    # -- time

    def begin(self, elapsed: float = 0.0) -> None:
        """The call has lasted so long."""
        left = max(0.0, self._rules.max_call_seconds - elapsed)
        self._outbox.add(StartTimer("time_up", left), StartTimer("time_warning", max(0.0, left - self._ahead)))

    def time_warning(self) -> None:
        """It is time to tell the caller: in the next silence, or, where none has come, now."""
        if self._ending.under_way:
            return
        if self._warning:
            self._warn()
        else:
            self._warning = True
            self._outbox.add(StartTimer("time_warning", self._ahead / 2))

    def _warn(self) -> None:
        self._warning = False
        self._outbox.add(CancelTimer("time_warning"))
        self._speaking.line("time_warning")

    def time_up(self) -> None:
        """The call ends, whatever is being said."""
        if self._ending.under_way:
            self._ending.make_final()
        else:
            self._turns.cease()
            self._ending.after("time_up", End(None, "time_up"), final=True)
