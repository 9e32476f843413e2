"""What both shapes of an answer are made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

from phone.endpoint.checks import Ask
from phone.endpoint.reply import Reply, ToolUse, as_pieces

_PADDING = "oBfUsCaTiOnPaD"


@dataclass(slots=True)
class Frames:
    """A stream: ``head`` is sent at once, then the steps at their pace, then ``tail`` with the terminal event.

    ``whole`` is the same answer in one piece, made only for a request that did not ask for a stream.
    ``reasoned``: id of a function call item -> id of the reasoning item it needs beside it from now on.
    """

    head: bytes
    steps: list[bytes]
    tail: bytes
    whole: bytes = b""
    reasoned: dict[str, str] = field(default_factory=dict)


def estimate(text_bytes: int) -> int:
    """Tokens, roughly."""
    return max(1, text_bytes // 4)


def padding(ask: Ask, index: int) -> dict[str, str]:
    return {"obfuscation": _PADDING[: index % len(_PADDING) + 1]} if ask.obfuscated else {}


def with_ids(reply: Reply) -> list[ToolUse]:
    return [
        use if use.call_id else ToolUse(use.name, use.arguments, f"call_{uuid4().hex[:24]}", use.fragment)
        for use in reply.tools
    ]


def tokens(ask: Ask, reply: Reply) -> tuple[int, int, int]:
    if reply.usage is not None:
        return reply.usage
    fragments = sum(estimate(len(use.arguments)) + 4 for use in reply.tools)
    return estimate(ask.size), 0, len(as_pieces(reply.text)) + len(as_pieces(reply.refusal)) + fragments
