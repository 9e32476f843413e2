"""How a call is told to a tracing system, where there is one: as spans of the call, its turns, requests and tools.

No such system is named here; who has one satisfies ``Spans`` (``handlers/otel/``). What is over is told with its
times, so that nothing of this happens while a caller waits for words. A tool alone is told of as it begins, for what it
asks of others is to say where it comes from.

Times are seconds of the session's clock. Nothing here waits, and nothing raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay.masks import Masks
from relay.models.base import ToolCall
from relay.toolbox import ToolOutcome

if TYPE_CHECKING:
    from relay.trace import Round


@dataclass(frozen=True, slots=True)
class TurnOver:
    """A turn from its beginning to its end. ``closed``: it ended with its socket. ``first_text``: seconds to the first
    words, and ``segments`` what they consist of. ``said``: characters that were sent of its last round."""

    number: int
    agent: str
    begun: float
    ended: float
    outcome: str
    closed: bool
    rounds: Sequence[Round]
    first_text: float | None
    segments: Mapping[str, float] | None
    said: int


class ToolSpan(Protocol):
    @property
    def headers(self) -> Mapping[str, str]:
        """What a request made for the tool carries, so that whoever answers it can tell of it as part of this."""
        ...

    def inside(self) -> AbstractContextManager[object]:
        """Tasks that are made in it belong to the tool."""
        ...

    def end(self, at: float, outcome: ToolOutcome | None) -> None:
        """The tool is over; None: it was interrupted. Only the first end counts."""
        ...


class CallSpans(Protocol):
    """Of one session of a call."""

    @property
    def captures(self) -> bool:
        """Whether words, arguments and results are to be kept for it."""
        ...

    def inside(self) -> AbstractContextManager[object]:
        """The session as a whole: what is logged in it names its trace, and behind it the span is over."""
        ...

    def begun(self, at: float) -> None:
        """What the session's clock showed at its beginning."""
        ...

    def tool(self, key: int, call: ToolCall, at: float, *, turn: int, agent: str, turn_begun: float) -> ToolSpan:
        """A tool begins. ``key``: the position of its item."""
        ...

    def turn(self, turn: TurnOver) -> None: ...

    def wasted(self, request: Round) -> None:
        """A request made ahead is over, and no turn has come of it."""
        ...

    def ended(self, reason: str, turns: int) -> None: ...


class Spans(Protocol):
    """Of a process."""

    def call(
        self, conversation: str, *, channel: str, agent: str, direction: str, epoch: int, resumed: bool, masks: Masks
    ) -> CallSpans:
        """A session begins, at ``epoch`` (ms since 1970). ``masks``: of what callers key in, for whatever is kept.
        ``resumed``: an earlier one of the call was cut off."""
        ...

    async def close(self) -> None:
        """Hands over what is left, within a few seconds."""
        ...


class NoToolSpan:
    headers: Mapping[str, str] = {}

    def inside(self) -> AbstractContextManager[object]:
        return nullcontext()

    def end(self, at: float, outcome: ToolOutcome | None) -> None:
        pass


class NoCallSpans:
    captures = False

    def inside(self) -> AbstractContextManager[object]:
        return nullcontext()

    def begun(self, at: float) -> None:
        pass

    def tool(self, key: int, call: ToolCall, at: float, *, turn: int, agent: str, turn_begun: float) -> ToolSpan:
        return _NO_TOOL

    def turn(self, turn: TurnOver) -> None:
        pass

    def wasted(self, request: Round) -> None:
        pass

    def ended(self, reason: str, turns: int) -> None:
        pass


class NoSpans:
    """For a relay that has no tracing system."""

    def call(
        self, conversation: str, *, channel: str, agent: str, direction: str, epoch: int, resumed: bool, masks: Masks
    ) -> CallSpans:
        return _NO_CALL

    async def close(self) -> None:
        pass


_NO_TOOL, _NO_CALL = NoToolSpan(), NoCallSpans()
