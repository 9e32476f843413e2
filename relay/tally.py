"""What a call has come to over all its sessions, noted in its state: for lists of calls, and what is done after it."""

from __future__ import annotations

from collections.abc import Mapping

from relay.rounds import Counted
from relay.trace import SessionTrace
from relay.writer import ConversationWriter, epoch_ms


class Tally:
    """``total``: of this session. Nothing is noted before it is known what earlier sessions have noted."""

    def __init__(self, writer: ConversationWriter, total: Counted, trace: SessionTrace) -> None:
        self._writer = writer
        self._total = total
        self._trace = trace
        self._earlier: Mapping[str, str] | None = None

    def take_up(self, state: Mapping[str, str]) -> None:
        """The conversation's state as earlier sessions left it."""
        self._earlier = state

    def turn_ended(self) -> None:
        """Notes how many turns there were, and how many ms the slowest took to its first words."""
        if self._earlier is not None:
            slowest = max(self._before("slowest"), round(self._trace.slowest * 1000))
            self._writer.note(turns=self._before("turns") + self._total.turns, slowest=slowest)

    def session_ended(self, reason: str) -> None:
        """Notes that this session is over, and what the call has cost so far."""
        if self._earlier is not None:
            self.turn_ended()
            spent = {name: count + self._before(name) for name, count in self._total.fields().items()}
            self._writer.note(left=self._writer.epoch, ended=epoch_ms(), reason=reason, **spent)

    def _before(self, name: str) -> int:
        noted = (self._earlier or {}).get(name, "")
        return int(noted) if noted.isdecimal() else 0
