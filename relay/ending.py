"""The end of a call from our side: it waits for the words of farewell to be heard, and for the caller's last; pure.

``end`` makes Twilio drop what it has not played. So it is sent when the cursor has reached the end of the words; where
nothing proves what was played, when the agent fell silent after speech that began after them, or when they must have
been spoken by the clock; and in any case at the limit. An interrupt is given the time a prompt needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.events import CancelTimer, End, StartTimer
from relay.listening import EARLY, Listening
from relay.rules import CallRules
from relay.speaking import Outbox, Speaking
from relay.toolbox import Effect, Transfer

PAUSE = 0.2  # seconds between the last word heard and `end`
SLACK = 1.5  # seconds added to the estimate of the words' length
CLOSE_AFTER_END = 5.0  # seconds Twilio is given to close the socket after `end`


@dataclass(slots=True)
class _Farewell:
    """``since``: when the end was decided. ``first_frame``: when its words began to be sent. ``cut``: the caller spoke
    over them."""

    end: End
    since: float
    first_frame: float
    cut: bool = False


class Ending:
    def __init__(self, rules: CallRules, outbox: Outbox, speaking: Speaking, listening: Listening) -> None:
        self.done = False  # `end` was sent, or the socket is gone
        self._rules = rules
        self._outbox = outbox
        self._speaking = speaking
        self._listening = listening
        self._farewell: _Farewell | None = None

    @property
    def under_way(self) -> bool:
        return self._farewell is not None

    def begin(self, effect: Effect, said: bool) -> None:
        """The call is to end, or to be handed over. ``said``: the words for it have been sent."""
        if isinstance(effect, Transfer):
            name = "bridge"
            handoff = {"reasonCode": "live-agent-handoff", "reason": effect.reason, "summary": effect.summary}
            end = End(handoff, "transferred")
        else:
            name, end = "goodbye", End(None, "agent")
        if not said:
            self._speaking.line(name)
        now, utterances = self._outbox.now, self._speaking.ledger.utterances
        self._farewell = _Farewell(end, now, utterances[-1].started if utterances else now)
        self.heard_more()

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
            self._send(farewell)

    def interrupted(self) -> None:
        """The caller spoke over the words: a prompt may follow."""
        if self._farewell is not None:
            self._farewell.cut = True
            self._outbox.add(StartTimer("goodbye", self._rules.after_interrupt))

    def due(self) -> None:
        """The timer ``goodbye`` fired."""
        farewell = self._farewell
        if farewell is None:
            return
        left = self._left(farewell)
        if farewell.cut and left > EARLY and self._listening.left(self._outbox.now):
            self._outbox.add(StartTimer("goodbye", min(left, self._rules.after_interrupt)))
        else:
            self._send(farewell)

    def _left(self, farewell: _Farewell) -> float:
        return farewell.since + self._rules.goodbye_limit - self._outbox.now

    def _send(self, farewell: _Farewell) -> None:
        self.call_off()
        self.done = True
        self._outbox.add(farewell.end, StartTimer("close", CLOSE_AFTER_END))
