"""The dashboard's figures: what is counted of a process, and what is told of counts, against numbers made by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.figures import Tally, count, grown, merge, overview, percentile, point
from relay.models.base import Usage
from relay.prices import Prices
from relay.telemetry import SEGMENTS, TEXT_BUCKETS, Telemetry

# -- percentiles


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.5: 0.0}, 0.5, None),
        ({0.5: 10}, 0.5, 0.45),  # the middle of 0.4 to 0.5
        ({0.5: 10}, 1.0, 0.5),
        ({0.05: 10}, 0.5, 0.025),  # the first bucket begins at 0
        ({0.5: 90, 2.0: 10}, 0.9, 0.5),
        ({0.5: 90, 2.0: 10}, 0.95, 1.75),  # half of 1.5 to 2
        ({10.0: 1, math.inf: 3}, 0.5, 10.0),  # beyond the last bound nothing is known
    ],
)
def test_percentile_by_hand(buckets: dict[float, float], share: float, expected: float | None) -> None:
    """Linear within a bucket, from the next lower bound on, whether anything was there or not."""
    found = percentile(buckets, share, TEXT_BUCKETS)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    """It is wrong by no more than the width of a bucket."""
    telemetry = Telemetry()
    for value in values:
        telemetry.first_texts["voice"].observe(value)
    first = {name.removeprefix("first:voice:"): n for name, n in count(telemetry).items() if "first:voice:" in name}
    found = percentile({float(bound): n for bound, n in first.items() if bound != "sum"}, share, TEXT_BUCKETS)
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    lower = max((bound for bound in (0.0, *TEXT_BUCKETS) if bound < true), default=0.0)
    upper = min((bound for bound in TEXT_BUCKETS if bound >= true), default=TEXT_BUCKETS[-1])
    assert found is not None and lower - 1e-9 <= found <= upper + 1e-9


# -- of a process


def busy() -> Telemetry:
    """Ten turns, one of them failed, with two tools and some tokens."""
    telemetry = Telemetry(prices=Prices(2.0, 0.5, 8.0))
    for _ in range(10):
        telemetry.first_texts["voice"].observe(0.45)
        for name in SEGMENTS:
            telemetry.segments[name].observe(0.4 if name == "model" else 0.01)
        telemetry.spent(Usage(1000, 500, 100))
    telemetry.turns.labels("done").inc(9)
    telemetry.turns.labels("failed").inc()
    telemetry.turn_failures.labels("model_cut").inc()
    telemetry.peer_errors.labels("64105").inc(2)
    telemetry.fallbacks.labels("late").inc(3)
    telemetry.interrupts.inc(4)
    telemetry.tool.labels("book", "ok").observe(2.5)
    telemetry.tool.labels("book", "timeout").observe(2.5)
    telemetry.tool.labels("look", "cancelled").observe(0.002)
    telemetry.lag.observe(0.0008)
    return telemetry


def test_overview_by_hand() -> None:
    """Every number of a known load."""
    tally = count(busy())
    merge(tally, {"max:lag": 0.25})
    told = overview(tally, minutes=5, priced=True)
    assert told == {
        "turns_per_minute": 2.0,
        "first_text_ms": {"p50": 450.0, "p95": 495.0, "p99": 499.0},
        "channels": {"voice": {"answers": 10, "first_text_ms": {"p50": 450.0, "p95": 495.0, "p99": 499.0}}},
        "segments_ms": {
            name: {"p50": 350.0, "p95": 395.0, "mean": 400.0}
            if name == "model"
            else {"p50": 7.5, "p95": 9.75, "mean": 10.0}
            for name in SEGMENTS
        },
        "interrupts": 4,
        "ghost_frames": 0,
        "errors": 3,
        "fallbacks": 3,
        "tools": [
            {"name": "book", "count": 2, "p50_ms": 2500.0, "p95_ms": 2950.0, "failed": 1},
            {"name": "look", "count": 1, "p50_ms": 1.75, "p95_ms": 2.43, "failed": 0},
        ],
        "tokens": {"input": 10_000, "cached": 5_000, "output": 1_000},
        "cost": {"total": 0.0205, "input": 0.01, "cached": 0.0025, "output": 0.008},
        "loop_lag_ms": {"p50": 0.75, "p99": 0.99, "max": 250.0},
    }


def test_no_percentile_of_the_lag_is_above_the_longest() -> None:
    """Within a bucket values count as spread evenly, but the longest lag is known to be shorter than its bucket."""
    telemetry = Telemetry()
    for _ in range(3):
        telemetry.lag.observe(0.0052)
    tally = count(telemetry)
    merge(tally, {"max:lag": 0.0052})
    assert overview(tally, minutes=5, priced=False)["loop_lag_ms"] == {"p50": 5.2, "p99": 5.2, "max": 5.2}


def test_first_words_of_each_channel_and_of_all() -> None:
    """A channel in which nobody was answered is not told of; all together are taken from the sum of the buckets."""
    telemetry = busy()
    for _ in range(10):
        telemetry.first_texts["chat"].observe(0.9)
    told = overview(count(telemetry), minutes=5, priced=False)
    assert {name: (each["answers"], each["first_text_ms"]["p50"]) for name, each in told["channels"].items()} == {
        "chat": (10, 875.0),
        "voice": (10, 450.0),
    }
    assert told["first_text_ms"] == {"p50": 500.0, "p95": 975.0, "p99": 995.0}
    assert point(0, count(telemetry), priced=False)["p95"] == 975.0


def test_overview_of_nothing() -> None:
    """Numbers that count are 0, numbers that measure are not there."""
    told = overview({}, minutes=15, priced=False)
    assert (told["first_text_ms"], told["channels"]) == ({"p50": None, "p95": None, "p99": None}, {})
    assert told["segments_ms"] == {name: {"p50": None, "p95": None, "mean": None} for name in SEGMENTS}
    assert told["loop_lag_ms"] == {"p50": None, "p99": None, "max": None}
    assert (told["turns_per_minute"], told["errors"], told["tools"], told["cost"]) == (0.0, 0, [], None)


def test_point_by_hand() -> None:
    """One point of the series; calls are the most that every process had at once, together."""
    tally = count(busy())
    merge(tally, {"max:calls:a": 7, "max:calls:b": 5})
    merge(tally, {"max:calls:a": 6})
    shown = point(60_000, tally, priced=True)
    assert shown["segments_ms"] == {name: 400.0 if name == "model" else 10.0 for name in SEGMENTS}
    del shown["segments_ms"]
    assert shown == {
        "at": 60_000,
        "turns": 10,
        "p50": 450.0,
        "p95": 495.0,
        "p99": 499.0,
        "interrupts": 4,
        "errors": 3,
        "calls": 12,
        "tokens": 11_000,
        "cost": 0.0205,
    }
    assert point(0, tally, priced=False)["cost"] is None


def test_what_has_grown_adds_up() -> None:
    """The parts that were added one after another are the whole, and what did not grow is in none of them."""
    telemetry = busy()
    first = count(telemetry)
    telemetry.first_texts["voice"].observe(0.7)
    telemetry.interrupts.inc()
    second = count(telemetry)
    more = grown(second, first)
    assert more == {"first:voice:0.75": 1, "first:voice:sum": pytest.approx(0.7), "interrupts": 1}
    both: Tally = {}
    merge(both, grown(first, {}))
    merge(both, more)
    assert both == pytest.approx({name: value for name, value in second.items() if value})
