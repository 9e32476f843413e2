"""The segments of a turn: each mark of its way ends one of them, and together they are all of it."""

from __future__ import annotations

import pytest

from relay.telemetry import SEGMENTS, Telemetry
from relay.timing import TurnTiming


def count(telemetry: Telemetry, segment: str) -> float | None:
    return telemetry.registry.get_sample_value("relay_turn_segment_seconds_count", {"segment": segment})


def observed(timing: TurnTiming, written: float) -> dict[str, float]:
    """The segments, once the first words are written; they sum to the time that took, and each is counted once."""
    telemetry = Telemetry()
    assert timing.written(written) and not timing.written(written + 1)
    first_text, segments = timing.observe(telemetry)
    assert tuple(segments) == SEGMENTS
    assert sum(segments.values()) == pytest.approx(first_text)
    assert all(count(telemetry, name) == 1 for name in SEGMENTS)
    return {name: round(seconds, 6) for name, seconds in segments.items() if seconds}


def asked() -> TurnTiming:
    """A turn whose prompt was read at 10.0, and that has written its first request by 10.7."""
    timing = TurnTiming(10.0)
    timing.begun(10.1)
    timing.items(10.3)
    timing.sent(10.7)
    return timing


def test_without_tools() -> None:
    """What the first request brings is the model's time; there is none of tools."""
    timing = asked()
    timing.sent(10.9)  # of a second request for the same round
    timing.delta(12.0)
    timing.word(12.5)
    assert observed(timing, 12.6) == {
        "queue": 0.1,
        "history": 0.2,
        "request": 0.4,
        "model": 1.3,
        "holdback": 0.5,
        "send": 0.1,
    }


def test_after_tools() -> None:
    """From the first request written to the one that brought the first words: the rounds before it and their tools.
    What an earlier round brought is not taken for what the caller waited for."""
    timing = asked()
    timing.delta(11.0)
    timing.word(11.1)  # white space, which is not sent
    for start in (13.0, 15.0):
        timing.later_round(start)
        timing.items(start)
        timing.sent(start + 0.5)
        timing.delta(start + 1.0)
    timing.word(16.2)
    assert observed(timing, 16.3) == {
        "queue": 0.1,
        "history": 0.2,
        "request": 0.4,
        "tools": 4.8,
        "model": 0.5,
        "holdback": 0.2,
        "send": 0.1,
    }


def test_asked_ahead_and_after_tools() -> None:
    """A first request that was written before the turn takes no time of it; its tools begin where the history ends."""
    timing = TurnTiming(10.0)
    timing.begun(10.1)
    timing.items(10.2)
    timing.later_round(11.9)
    timing.sent(12.0)
    timing.delta(12.5)
    timing.word(12.5)
    assert observed(timing, 12.5) == {"queue": 0.1, "history": 0.1, "tools": 1.8, "model": 0.5}


def test_a_later_request_that_nobody_told_of() -> None:
    """Where it is not known when it was written, what it is made of has begun when the tools were over."""
    timing = asked()
    timing.delta(11.0)
    timing.later_round(14.7)
    timing.delta(15.0)
    timing.word(15.0)
    assert observed(timing, 15.0) == {"queue": 0.1, "history": 0.2, "request": 0.4, "tools": 4.0, "model": 0.3}
