"""The end of a call from our side: it waits for the words of farewell to be heard, and for the caller's last; pure.

``end`` makes Twilio drop what it has not played. So it is sent when the cursor has reached the end of the words; where
nothing proves what was played, when the agent fell silent after speech that began after them, or when they must have
been spoken by the clock; and in any case at the limit. An interrupt is given the time a prompt needs.

The caller's next words take the call back, unless the end is ``final``: the time is up, or nothing works any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.events import CancelTimer, End, StartTimer
from relay.listening import EARLY, Listening
from relay.rules import CallRules
from relay.speaking import Outbox, Speaking
from relay.toolbox import Ends, Transfer

PAUSE = 0.2  # seconds between the last word heard and `end`
SLACK = 1.5  # seconds added to the estimate of the words' length
CLOSE_AFTER_END = 5.0  # seconds Twilio is given to close the socket after `end`


HANDED_ON = {"reasonCode": "resume", "handed": "on"}
"""What a session hands over that leaves a call to another process: its end is no failure, and the caller knows."""


@dataclass(slots=True)
class _Farewell:
    """``until``: when it ends at the latest. ``first_frame``: when its words began to be sent. ``final``: nothing calls
    it off. ``free``: whether the call may be left now. ``cut``: the caller spoke over the words."""

    end: End
    until: float
    first_frame: float
    final: bool
    free: Callable[[], bool]
    cut: bool = False


def handover(reason: str, summary: str, language: str) -> End:
    """The action callback hands the call to a person. ``language``: the caller's."""
    handoff = {"reasonCode": "live-agent-handoff", "reason": reason, "summary": summary, "language": language}
    return End(handoff, "transferred")


class Ending:
    def __init__(self, rules: CallRules, outbox: Outbox, speaking: Speaking, listening: Listening) -> None:
        self.done = False  # `end` was sent, or the socket is gone
        self.goes_on = False  # after `end` in another session
        self._rules = rules
        self._outbox = outbox
        self._speaking = speaking
        self._listening = listening
        self._farewell: _Farewell | None = None

    @property
    def under_way(self) -> bool:
        return self._farewell is not None

    @property
    def final(self) -> bool:
        """Whether the call ends whatever the caller says."""
        return self._farewell is not None and self._farewell.final

    def begin(self, effect: Ends, said: bool) -> None:
        """A tool asked for the end, or for a person. ``said``: the model has found words for it."""
        if isinstance(effect, Transfer):
            line, end = "bridge", handover(effect.reason, effect.summary, self._speaking.language)
        else:
            line, end = "goodbye", End(None, "agent")
        self.after("" if said else line, end)

    def after(self, line: str, end: End, *, final: bool = False, free: Callable[[], bool] = lambda: True) -> None:
        """The call is to end so, when this line has been heard; "": when what was said has been. ``free``: whether
        nothing else is to be waited for."""
        if line:
            self._speaking.line(line)
        now, utterances = self._outbox.now, self._speaking.ledger.utterances
        started = utterances[-1].started if utterances else now
        self._farewell = _Farewell(end, now + self._rules.goodbye_limit, started, final, free)
        self.heard_more()

    def at_once(self, end: End) -> None:
        """Nothing is waited for."""
        self.call_off()
        self.done, self.goes_on = True, (end.handoff or {}).get("reasonCode") == "resume"
        self._outbox.add(end, StartTimer("close", CLOSE_AFTER_END))

    def make_final(self) -> None:
        """From now on nothing calls the end off."""
        if self._farewell is not None:
            self._farewell.final = True

    def hurry(self, limit: float) -> None:
        """Whatever is waited for, the call ends within ``limit`` seconds."""
        if self._farewell is not None and self._outbox.now + limit < self._farewell.until:
            self._farewell.until = self._outbox.now + limit
            self.due() if self._farewell.cut else self.heard_more()

    def call_off(self) -> None:
        """The caller has gone on: the call does too."""
        self._farewell = None
        self._outbox.add(CancelTimer("goodbye"))

    def heard_more(self) -> None:
        """(Re)sets the time at which the words count as heard: proof of more of them moves it."""
        farewell = self._farewell
        if farewell is None or farewell.cut:
            return
        end = self._speaking.end()
        delay = PAUSE if end is None else max(PAUSE, end + SLACK - self._outbox.now)
        self._outbox.add(StartTimer("goodbye", max(0.0, min(delay, self._left(farewell)))))

    def silence(self, began: float | None) -> None:
        """The agent is reported silent, after speech that was reported to begin then."""
        farewell = self._farewell
        if farewell is None or farewell.cut or self._speaking.ledger.proof:
            return
        if began is not None and began > farewell.first_frame:
            self._finish(farewell)

    def interrupted(self) -> None:
        """The caller spoke over the words: a prompt may follow."""
        farewell = self._farewell
        if farewell is not None:
            farewell.cut = True
            left = max(0.0, self._left(farewell))
            self._outbox.add(StartTimer("goodbye", min(left, self._rules.after_interrupt)))

    def due(self) -> None:
        """The timer ``goodbye`` fired."""
        farewell = self._farewell
        if farewell is None:
            return
        left = self._left(farewell)
        if farewell.cut and left > EARLY and self._listening.left(self._outbox.now):
            self._outbox.add(StartTimer("goodbye", min(left, self._rules.after_interrupt)))
        else:
            self._finish(farewell)

    def _finish(self, farewell: _Farewell) -> None:
        """Nothing more is said. What is still being done is waited for: its end leads here again (``heard_more``)."""
        left = self._left(farewell)
        if left > EARLY and not farewell.free():
            self._outbox.add(StartTimer("goodbye", left))
        else:
            self.at_once(farewell.end)

    def _left(self, farewell: _Farewell) -> float:
        return farewell.until - self._outbox.now
