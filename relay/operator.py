"""What somebody who watches a call has it do: say a line, pass it to another agent, hand it to a person, end it; pure.

A line is said when nobody else speaks: behind the reply that is being sent, and not while the caller has the floor.
Then it is speech like any other, and the agent's own words to the model. One that still waits when the session ends, or
the call is about to, is not said any more. Another agent has the call from the next
request on. What ends the call ends it whatever the caller says.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, assert_never

from relay.changes import Changes
from relay.ending import Ending, handover
from relay.events import End, Order, SayLine, StartTimer
from relay.items import OPERATOR
from relay.listening import EARLY, Listening
from relay.rules import CallRules
from relay.speaking import SETTLE_GRACE, Outbox, Speaking
from relay.toolbox import EndCall, SwitchAgent, Transfer
from relay.turns import Turns

MOST_LINES = 5  # that wait to be said

Refusal = Literal["", "not_begun", "ending", "ended", "unknown_agent", "no_transfer", "too_many_lines", "not_possible"]
"""Why an order is not carried out, "" where it is."""


class Operating:
    def __init__(
        self,
        rules: CallRules,
        outbox: Outbox,
        speaking: Speaking,
        listening: Listening,
        turns: Turns,
        ending: Ending,
        changes: Changes,
    ) -> None:
        self._rules = rules
        self._out = outbox
        self._speaking = speaking
        self._listening = listening
        self._turns = turns
        self._ending = ending
        self._changes = changes
        self._lines: deque[str] = deque()  # to be said
        self._agent = ""  # who is to have the call
        turns.before_asking = self._switch

    @property
    def waiting(self) -> int:
        """Lines that have not been said."""
        return len(self._lines)

    def refusal(self, order: Order) -> Refusal:
        """Of a call that has been set up."""
        if self._ending.done:
            return "ended"
        if self._ending.under_way:
            return "ending"
        match order:
            case SayLine() if len(self._lines) >= MOST_LINES:
                return "too_many_lines"
            case SwitchAgent(agent) if self._rules.manners(agent) is None:
                return "unknown_agent"
            case Transfer() if not self._rules.can_transfer:
                return "no_transfer"
        return ""

    def take(self, order: Order) -> None:
        """Nothing happens where it is refused."""
        if self.refusal(order):
            return
        match order:
            case SayLine(text):
                self._lines.append(text)
            case SwitchAgent(agent):
                self._agent = agent
            case Transfer(reason, summary):
                self._turns.cease()
                self._ending.after("bridge", handover(reason, summary, self._speaking.language), final=True)
            case EndCall():
                self._turns.cease()
                self._ending.after("goodbye", End(None, OPERATOR), final=True)
            case _:
                assert_never(order)

    def due(self) -> bool:
        """Something has happened: does what need not wait any more. Returns whether a line was said."""
        if not (self._lines or self._agent) or self._ending.under_way or self._ending.done:
            return False
        turn = self._turns.current
        if turn is None or turn.part != "generating":
            self._switch()
        said = False
        while self._lines and self._may_speak():
            self._say(self._lines.popleft())
            said = True
        return said

    def _switch(self) -> None:
        agent, self._agent = self._agent, ""
        if agent:
            self._changes.make(SwitchAgent(agent))

    def _may_speak(self) -> bool:
        """Looks again by itself where only time tells."""
        if self._speaking.open or not self._turns.floor_free or self._listening.left(self._out.now):
            return False
        if not self._rules.preemptible or not self._speaking.busy:
            return True
        # Our next words would cut what is being said. Proof of it may never come to an end: then the clock tells.
        latest = self._speaking.ledger.expected_end() + SETTLE_GRACE
        left = min(self._speaking.end() or latest, latest) - self._out.now
        if left > EARLY:
            self._out.add(StartTimer("operator", left))
        return left <= EARLY

    def _say(self, text: str) -> None:
        self._speaking.aside(0, text, OPERATOR, self._speaking.tongue(self._speaking.language))
