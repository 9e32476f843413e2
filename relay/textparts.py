"""What a turn of a text conversation is given, and what comes of it (``textturn.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from relay.budget import Budget
from relay.items import Item
from relay.jobs import Jobs
from relay.models.base import LanguageModel, Usage
from relay.spans import NoSpans, Spans
from relay.store.effects import Effects
from relay.telemetry import Telemetry
from relay.texttools import Signal
from relay.toolbox import ToolBox
from relay.trace import NoTrail, Round, Trail

EMPTY = "empty_reply"
LATE = "turn_deadline"

Outcome = Literal["done", "stopped", "failed", "budget"]


@dataclass(frozen=True, slots=True)
class TextRules:
    """Of every turn. ``turn_deadline``: seconds from the words to the first of the answer, and from a tool's end to the
    next. ``tool_rounds``: of one turn. ``history_tokens``: what of the conversation the model is shown, about.
    ``reply_max_chars``: longest answer, ended at a sentence."""

    turn_deadline: float = 15.0
    tool_rounds: int = 6
    history_tokens: int = 12000
    reply_max_chars: int = 4000


@dataclass(frozen=True, slots=True)
class TextParts:
    """What the turns of all text conversations are carried out with. ``trail``: where the trace of a conversation goes,
    by its id, its channel and the person. ``spans``: of a tracing system."""

    model: LanguageModel
    tools: ToolBox
    effects: Effects
    jobs: Jobs
    telemetry: Telemetry
    budget: Budget
    rules: TextRules = field(default_factory=TextRules)
    trail: Callable[[str, str, str], Trail] = lambda conversation, channel, person: NoTrail()
    spans: Spans = field(default_factory=NoSpans)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is about. ``items``: the conversation, what the person has written last. ``number``, ``epoch``: of
    the turn, in its conversation. ``read``: when the words were read, by the loop's clock. ``language``: that of the
    conversation, "" while it is not known: the model finds out, and fixed lines are in the language the person
    ``reads``, if that is known. ``address``: where the person is reached on this channel, for tools. ``before``:
    what the model was asked since the words were read, to find out what the turn is about."""

    conversation: str
    channel: str
    number: int
    epoch: int
    agent: str
    items: Sequence[Item] = field(repr=False)
    read: float
    person: str = field(default="", repr=False)
    language: str = ""
    address: str = field(default="", repr=False)
    reads: str = ""
    before: tuple[Round, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. ``items``: to be put behind the person's words, in order; none where it failed and nothing
    lasting was done. ``text``: all that was written. ``code``: of what failed it. ``signals``: what the engine or a
    tool asks of the channel. ``agent``, ``language``: from here on. ``first_text``: seconds to the first words.
    ``usage``: of all requests, those before the turn too."""

    outcome: Outcome
    items: tuple[Item, ...] = field(default=(), repr=False)
    text: str = field(default="", repr=False)
    code: str = ""
    signals: frozenset[Signal] = frozenset()
    agent: str = ""
    language: str = ""
    first_text: float | None = None
    usage: Usage = field(default_factory=Usage)


__all__ = ["EMPTY", "LATE", "Answer", "Asked", "Outcome", "TextParts", "TextRules"]
