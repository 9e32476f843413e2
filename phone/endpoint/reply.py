"""What the scripted model answers: words, tool calls, how it ends, at what pace, and what goes wrong on the way.

A ``Reply`` is sent in *steps*: one a piece of text, one a fragment of a tool's arguments, in that order. Gates and
faults name the step they stand before: 0 is the first, ``len(steps)`` the terminal event, -1 the response headers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Finish = Literal["stop", "length", "filter", "refusal"]
FaultKind = Literal["status", "close", "html", "slow", "stall", "cut", "end", "failed", "error", "garbage"]

_PIECE = re.compile(r"\s*\w{1,7}|\s*[^\w\s]{1,4}|\s+")
_FOREVER = 3600.0


def pieces(text: str) -> tuple[str, ...]:
    """The text as a tokenizer would hand it out: short, most with their leading space; joined they are the text."""
    return tuple(_PIECE.findall(text))


class Gate(asyncio.Event):
    """An event a reply waits for; ``reached`` is set when the reply has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One tool call: ``arguments`` is JSON text, sent in fragments of ``fragment`` characters; "" makes a call id."""

    name: str
    arguments: str = "{}"
    call_id: str = ""
    fragment: int = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, before step ``at``.

    status: an error answer in OpenAI's shape. close: the connection ends before the headers. html: a proxy's page.
    slow, stall: nothing for ``seconds``. cut: the connection ends. end: the body ends properly without terminal event.
    failed, error: the API's own failure inside the stream. garbage: lines that are no event; the stream goes on.
    """

    kind: FaultKind
    at: int = 0
    seconds: float = _FOREVER
    status: int = 500
    message: str = "The server had an error while processing your request. Sorry about that!"
    type: str = "server_error"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def limited(cls, retry_after: float | None = 1) -> Fault:
        """429: too many requests, which may be tried again."""
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        message = "Rate limit reached for requests. Please try again later."
        return cls("status", status=429, message=message, type="requests", code="rate_limit_exceeded", headers=headers)

    @classmethod
    def quota(cls) -> Fault:
        """429: the account is out of money, which no retry helps."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return cls("status", status=429, message=message, type="insufficient_quota", code="insufficient_quota")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model.

    text: pieces to send one by one; a plain string is cut by ``pieces``. refusal: the same, as a refusal.
    tools: called after the words; ``interleave`` mixes the fragments of parallel calls.
    reasoning: a reasoning item stands before the rest (Responses only).
    usage: (input, cached, output) tokens; None estimates them.
    first, pace: seconds before the first step and between steps. late_headers: ``first`` is spent before the headers.
    gate, gate_at, gates: events that hold the reply before a step.
    noise: comments, pings and unknown events between the steps. crlf: lines end in CR LF.
    shred: bytes in one write, 0 for all. stamp: changes the bytes of each step at the moment they are written.
    """

    text: str | Sequence[str] = ()
    tools: Sequence[ToolUse] = ()
    finish: Finish = "stop"
    refusal: str | Sequence[str] = ()
    reasoning: bool = False
    interleave: bool = False
    usage: tuple[int, int, int] | None = None
    first: float = 0.0
    pace: float | Callable[[], float] = 0.0
    late_headers: bool = False
    gate: asyncio.Event | None = None
    gate_at: int = 0
    gates: Mapping[int, asyncio.Event] = field(default_factory=dict)
    fault: Fault | None = None
    noise: bool = False
    crlf: bool = False
    shred: int = 0
    stamp: Callable[[bytes], bytes] | None = None

    def gate_before(self, step: int) -> asyncio.Event | None:
        if self.gate is not None and self.gate_at == step:
            return self.gate
        return self.gates.get(step)

    def fragments(self) -> list[tuple[int, str]]:
        """(index of the call, fragment of its arguments) in the order they are sent; every call has at least one."""
        cut = [
            [use.arguments[i : i + use.fragment] for i in range(0, len(use.arguments), use.fragment)] or [""]
            for use in self.tools
        ]
        if not self.interleave:
            return [(index, part) for index, parts in enumerate(cut) for part in parts]
        longest = max((len(parts) for parts in cut), default=0)
        return [(index, parts[n]) for n in range(longest) for index, parts in enumerate(cut) if n < len(parts)]


def as_pieces(text: str | Sequence[str]) -> tuple[str, ...]:
    return pieces(text) if isinstance(text, str) else tuple(text)
