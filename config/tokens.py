"""Bearer tokens that are too weak for what they open: told at the start and by ``relay doctor``, and good all the same.

It is no judge of passwords: a token is to be drawn, not thought of. What it finds is what anybody would try first.
"""

from __future__ import annotations

from itertools import pairwise

from config.settings import Settings

LEAST = 16
"""Characters of a token that is not short."""

BETTER = "openssl rand -hex 32"
"""The command that makes a good one."""

NAMES = ("dashboard_token", "metrics_token", "api_token", "debate_api_key")

_WORDS = (
    *("changeme", "change", "default", "letmein", "welcome", "password", "passwort", "secret", "token", "bearer"),
    *("dashboard", "metrics", "relay", "twilio", "debate", "admin", "root", "example", "test", "demo", "api", "key"),
)
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = frozenset(pair for row in _ROWS for each in pairwise(row) for pair in (each, each[::-1]))
_LEAST_LEFT, _LEAST_DIFFERENT = 8, 5


def weak_tokens(settings: Settings) -> dict[str, str]:
    """By the settings' names, why: the end of a sentence. No value is told."""
    set_ = {name: token for name in NAMES if (token := getattr(settings, name)) is not None}
    found = {name.upper(): weakness(token.get_secret_value()) for name, token in set_.items()}
    return {name: why for name, why in found.items() if why}


def weakness(token: str) -> str:
    """Why it is weak, "" where it is not."""
    if len(token) < LEAST:
        return f"is shorter than {LEAST} characters"
    text = token.casefold()
    for word in _WORDS:
        text = text.replace(word, "")
    # What follows from the character before it is no more to guess.
    left = text[:1] + "".join(
        after for before, after in pairwise(text) if before != after and (before, after) not in _NEIGHBOURS
    )
    return "is easy to guess" if len(left) < _LEAST_LEFT or len(set(left)) < _LEAST_DIFFERENT else ""


__all__ = ["BETTER", "LEAST", "weak_tokens", "weakness"]
