"""What a call is told about its agent and its limits, and the small states it moves through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from relay.heard import Utterance
from relay.manner import Manner
from relay.models.base import ToolCall
from relay.toolbox import Ends, ToolOutcome, ToolPolicy


class Phase(Enum):
    AWAITING_SETUP = "awaiting setup"
    TALKING = "talking"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Numbers an operator sets for all calls and an agent for its own, by their names there; times in seconds."""

    turn_deadline: float = 15.0
    after_interrupt: float = 2.0
    prepare_deadline: float = 1.0
    side_effect_wait: float = 0.4
    tool_rounds: int = 6
    goodbye_limit: float = 15.0
    interdigit: float = 1.2
    history_tokens: int = 12000
    filler_after: float = 0.8
    silence_after: float = 8.0
    silence_prompts: int = 2
    max_call_seconds: float = 3600.0
    reply_max_chars: int = 4000
    speculation_limit: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules(CallLimits):
    """What a call needs to know, and what stays the same in it. ``manner``: of the agent that takes the call;
    ``manners``: of those it may be passed to, by name, None for a name that nobody has. ``epoch``: when the socket was
    accepted, milliseconds since 1970. ``interruptible``: whether speech may stop the agent. ``preemptible``: whether
    its own next words do. ``speculation``: whether partial prompts are asked ahead. ``language``: the caller's, where
    an earlier session has learnt it. ``can_transfer``: there is a number to hand a call to. ``can_switch``: another
    provider of speech takes over if the one in use fails. ``objection``: why a call, in this language of the caller's,
    could not be carried out whatever the caller says; None if it could."""

    manner: Manner
    policy: Callable[[str], ToolPolicy]
    canonical: Callable[[str, str], str]
    objection: Callable[[ToolCall, str], ToolOutcome | None] = lambda call, language: None
    manners: Callable[[str], Manner | None] = lambda name: None
    epoch: int = 0
    greeting: str = ""
    language: str = ""
    interruptible: bool = True
    preemptible: bool = False
    speculation: bool = False
    can_transfer: bool = False
    can_switch: bool = False


@dataclass(slots=True, eq=False)
class Turn:
    number: int
    part: Literal["waiting", "generating", "tools"] = "waiting"
    round: int = 0
    user: int | None = None  # position of the user's words
    utterance: Utterance | None = None  # of the round in progress
    tongue: str = ""  # the language the round in progress is to answer in
    said: bool = False  # anything, in any round
    filled: bool = False  # a filler, or what a tool reported, was said
    last_words: float = 0.0  # when the model last said something
    length: int = 0  # characters of what the model said, in all rounds
    full: bool = False  # it may say no more
    disturbed: bool = False
    settled: bool = False  # the reader has run since the calls of the round were complete
    effect: Ends | None = None
    sounds: list[str] = field(default_factory=list)  # to be played before the next words
