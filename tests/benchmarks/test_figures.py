"""Percentiles, metrics read back, verdicts and the picture."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import figures
from relay.telemetry import Telemetry


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """A percentile is one of the values, at least the share of them do not exceed it, and no smaller one will do."""
    found = figures.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert all(sum(value <= low for value in values) < share * len(values) for low in values if low < found)


def test_percentile_of_nothing_is_not_a_number() -> None:
    """No values have no percentile, and no verdict."""
    assert math.isnan(figures.percentile([], 0.5))
    assert figures.verdict(math.nan, 1.0) == "not measured"


def test_segments_are_read_from_the_relays_own_metrics() -> None:
    """The sums and counts of the segments are those the relay's telemetry renders."""
    telemetry = Telemetry()
    telemetry.segments["request"].observe(0.25)
    telemetry.segments["request"].observe(0.5)
    text = telemetry.render().decode()
    assert figures.segment_sums(text)["request"] == (0.75, 2.0)
    assert figures.sample(text, "relay_ghost_frames_total") == 0.0
    assert math.isnan(figures.sample(text, "relay_no_such_metric"))
    telemetry.hedges.labels("second").inc(2)
    telemetry.hedges.labels("none").inc()
    text = telemetry.render().decode()
    assert figures.samples(text, "relay_hedges_total") == {"second": 2.0, "none": 1.0}
    assert figures.samples(text, "relay_speculation_total") == {}


def test_verdict_names_value_limit_and_whether_it_was_reached() -> None:
    """A ratio at its limit is reached, one above it missed."""
    assert "reached" in figures.verdict(0.5, 0.5)
    assert "missed" in figures.verdict(0.51, 0.5)


def test_curves_are_an_svg_with_a_line_for_each_series() -> None:
    """The picture is well-formed and has one line a series, whatever the values."""
    root = ElementTree.fromstring(figures.curves("a < b", "ms", {"ours": [0.1, 5.0], "peer": [], "floor": [0.0]}))
    lines = [each for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 3
