"""Sentences of tools in the caller's language, English or Spanish; amounts, numbers and lists in them."""

from __future__ import annotations

from collections.abc import Sequence

from config.says import primary
from relay.toolbox import ToolContext


def language_of(context: ToolContext) -> str:
    """``es`` for a caller who speaks Spanish, ``en`` for all others: a model puts English into any language."""
    return "es" if primary(context.language) == "es" else "en"


def said(language: str, english: str, spanish: str) -> str:
    return spanish if language == "es" else english


def listed(parts: Sequence[str], language: str) -> str:
    """``a, b and c``."""
    *first, last = parts or [""]
    return f"{', '.join(first)} {said(language, 'and', 'y')} {last}" if first else last


def dollars(cents: int) -> str:
    """To be read: ``$18.50``."""
    return f"${cents // 100}.{cents % 100:02}"


def dollars_aloud(cents: int, language: str) -> str:
    """To be heard: ``18 dollars and 50 cents``."""
    whole, rest = divmod(cents, 100)
    unit = said(language, "dollar", "dólar") if whole == 1 else said(language, "dollars", "dólares")
    if not rest:
        return f"{whole} {unit}"
    part = said(language, "cent", "centavo") + ("" if rest == 1 else "s")
    return f"{whole} {unit} {said(language, 'and', 'con')} {rest} {part}"


def spaced(number: int | str) -> str:
    """Digit by digit, for the ear: ``4 0 1 7``."""
    return " ".join(str(number))
