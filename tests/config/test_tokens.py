"""Tokens that open something: which of them are too weak to be left unsaid."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from random import Random

import pytest

from config.settings import load_settings
from config.tokens import LEAST, weak_tokens, weakness

SHORT, PLAIN = f"is shorter than {LEAST} characters", "is easy to guess"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("x", SHORT),
        ("s3cr3t-T0k3n", SHORT),
        ("kT9x0bLq2WzR7vN", SHORT),
        ("a" * 40, PLAIN),
        ("abcabcabcabcabcabcabc", PLAIN),
        ("x7kx7kx7kx7kx7kx7k", PLAIN),
        ("12345678901234567890", PLAIN),
        ("98765432109876543210", PLAIN),
        ("abcdefghijklmnopqrstuvwxyz", PLAIN),
        ("qwertyuiopasdfghjkl", PLAIN),
        ("QWERTZUIOPasdfghjkl", PLAIN),
        ("ChangeMeChangeMe123", PLAIN),
        ("my-dashboard-token-2026", PLAIN),
        ("relay-admin-password1", PLAIN),
        ("0f3b9c61d27ae485", ""),
        ("kT9x0bLq2WzR7vNe", ""),
        ("correct horse battery staple", ""),
        ("drei Wölfe im Garten, um vier", ""),
    ],
)
def test_what_is_weak(token: str, why: str) -> None:
    """Too short, or made of what anybody would try: known words, rows of keys, repetitions."""
    assert weakness(token) == why


@pytest.mark.parametrize("size", [16, 32])
def test_what_is_drawn_is_not_weak(size: int) -> None:
    """No random token is complained of, however it is written."""
    random = Random(size)
    for _ in range(500):
        drawn = random.randbytes(size)
        assert weakness(drawn.hex()) == weakness(urlsafe_b64encode(drawn).decode()) == ""


def test_the_tokens_of_the_settings() -> None:
    """Each that opens a route is looked at, those that are set; no value of one is told."""
    strong, weak = Random(1).randbytes(32).hex(), "tea"
    settings = load_settings(
        None,
        {"DASHBOARD_TOKEN": weak, "METRICS_TOKEN": "0123456789" * 2, "API_TOKEN": strong, "DEBATE_API_KEY": weak},
    )
    assert weak_tokens(settings) == {"DASHBOARD_TOKEN": SHORT, "METRICS_TOKEN": PLAIN, "DEBATE_API_KEY": SHORT}
    assert weak_tokens(load_settings(None, {})) == {}
