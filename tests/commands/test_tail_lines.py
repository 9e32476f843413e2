"""What happens to calls, a line each, and which of it is shown."""

from __future__ import annotations

import time
from typing import Any

import pytest

from commands.tail_lines import MOST_CALLS, Lines, Wanted

AT = int(time.mktime((2026, 11, 30, 14, 3, 9, 0, 0, -1)) * 1000) + 42  # in this machine's zone
CALL = "CA0123456789abcdef0123456789abcdef"
STARTED = {"event": "call_started", "id": CALL, "agent": "sales", "channel": "voice", "resumed": False, "at": AT}
TURN = {
    "event": "turn",
    "id": CALL,
    "agent": "sales",
    "turn": 3,
    "outcome": "done",
    "first_text_ms": 412.4,
    "segments_ms": {"queue": 0.1, "history": 1.2, "request": 0.9, "model": 398.0, "holdback": 12.2, "send": 0.0},
    "tools": ["look_up", "book"],
    "tokens": {"input": 812, "cached": 600, "output": 9},
    "at": AT,
}
ENDED = {"event": "call_ended", "id": CALL, "reason": "completed", "seconds": 62.34, "turns": 7, "at": AT}


def shown(*events: dict[str, Any], colour: bool = False, **wanted: Any) -> list[str]:
    lines = Lines(Wanted(**wanted), colour=colour)
    return [lines.line(event) for event in events if lines.wants(event)]


def test_a_call_from_its_beginning_to_its_end() -> None:
    """Columns stand below each other, whoever tells of what."""
    assert shown(STARTED, TURN, {**TURN, "turn": 12, "first_text_ms": None, "segments_ms": None}, ENDED) == [
        "14:03:09.042  89abcdef  sales         started",
        "14:03:09.042  89abcdef  sales         turn   3     412 ms  done         "
        "history 1 request 1 model 398 holdback 12  [look_up, book]  812 in (600 cached) 9 out",
        "14:03:09.042  89abcdef  sales         turn  12       - ms  done         "
        "[look_up, book]  812 in (600 cached) 9 out",
        "14:03:09.042  89abcdef  sales         ended    completed, 62.3 s, 7 turns",
    ]


def test_an_operators_line_that_was_not_said() -> None:
    """The call was over before: whoever gave it to say learns so."""
    (line,) = shown({**ENDED, "unsaid": 2})
    assert line.endswith("ended    completed, 62.3 s, 7 turns, not said: 2 of an operator's lines")


def test_little_is_told_of_a_turn_that_came_to_nothing() -> None:
    """What there is not leaves no trace."""
    nothing = {"first_text_ms": None, "segments_ms": None, "tools": [], "tokens": {"input": 0, "output": 0}}
    assert shown({**TURN, "outcome": "superseded", **nothing}) == [
        "14:03:09.042  89abcdef  sales         turn   3       - ms  superseded"
    ]


def test_only_one_agents_calls() -> None:
    """Their ends too, which do not name an agent; a call that is passed on is the other's from then on."""
    other = {**STARTED, "id": "CA2", "agent": "bar"}
    assert len(shown(STARTED, other, TURN, ENDED, {**ENDED, "id": "CA2"}, agent="sales")) == 3
    assert len(shown(STARTED, {**TURN, "agent": "bar"}, ENDED, agent="bar")) == 2


@pytest.mark.parametrize(("call", "count"), [(CALL, 3), ("89abcdef", 3), ("CA9", 0)])
def test_only_one_call(call: str, count: int) -> None:
    """By its id, or by the end of it that the lines show."""
    assert len(shown(STARTED, TURN, ENDED, call=call)) == count


def test_only_slow_turns() -> None:
    """Those that have begun at all, and nothing else."""
    late = {**TURN, "first_text_ms": 900.0}
    silent = {**TURN, "first_text_ms": None}
    assert len(shown(STARTED, TURN, late, silent, ENDED, slow_ms=900.0)) == 1
    assert len(shown(STARTED, TURN, late, silent, ENDED, slow_ms=0.0)) == 2


def test_what_is_about_the_stream_is_no_line() -> None:
    """Nor is what a newer server tells."""
    assert shown({"event": "status", "others": True}, {"event": "dropped", "missed": 3}, {"event": "weather"}, {}) == []


def test_colours_tell_what_to_look_at() -> None:
    """A late turn, one that failed; where there is no terminal there is none of it."""
    (late,) = shown({**TURN, "first_text_ms": 1200.0, "outcome": "failed"}, colour=True)
    assert "\x1b[33m  1200 ms\x1b[0m" in late and "\x1b[31mfailed" in late
    (later,) = shown({**TURN, "first_text_ms": 2500.0}, colour=True)
    assert "\x1b[31m  2500 ms\x1b[0m" in later and "\x1b[32mdone" in later
    assert "\x1b" not in "".join(shown(STARTED, TURN, ENDED))


def test_nothing_steers_the_terminal() -> None:
    """Names come from somewhere else."""
    (line,) = shown({**TURN, "agent": "a\x1b[2J", "tools": ["x\n\x07y"], "outcome": "do\rne"})
    assert line.isprintable()


def test_agents_of_many_calls_are_not_remembered_for_ever() -> None:
    """Those told of longest ago are forgotten first."""
    lines = Lines(Wanted(), colour=False)
    for number in range(MOST_CALLS + 5):
        lines.wants({**STARTED, "id": f"CA{number}"})
    assert len(lines._agents) == MOST_CALLS
