"""What a live chat tells of what does not work: a code, a sentence for who writes clients, and whether the same may
work when it is tried again. Where a model has failed, the sentence is the agent's own line for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Problem(NamedTuple):
    message: str
    retryable: bool


PROBLEMS: Mapping[str, Problem] = {
    "bad_frame": Problem("This is no frame of the protocol.", False),
    "empty": Problem("The message is empty.", False),
    "too_long": Problem("The message is too long.", False),
    "busy": Problem("Too many messages of this conversation wait to be answered.", True),
    "rate": Problem("Too many messages in a minute.", True),
    "store": Problem("The conversation cannot be reached just now.", True),
    "lost": Problem("The answer was lost.", True),
    "leaving": Problem("This server is leaving; connect again.", True),
    "forgotten": Problem("The conversation is not kept any more.", False),
    "error": Problem("Something went wrong here.", True),
}

FINAL = frozenset({"model_rejected", "model_quota", "unknown_agent"})
"""Codes of failed turns that fail again until somebody has mended something."""
