"""Numbers out of many numbers, and what is kept of them: percentiles, JSON, a picture."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from phone import plots
from phone.figures import median, percentile, ratio
from phone.figures import percentiles as at_shares

__all__ = [
    "curves",
    "median",
    "percentile",
    "percentiles",
    "ratio",
    "sample",
    "samples",
    "save",
    "segment_sums",
    "verdict",
]


RESULTS = Path(__file__).resolve().parent / "results"


def percentiles(values: Sequence[float]) -> dict[str, float]:
    return at_shares(values, (50, 90, 99))


def verdict(value: float, limit: float) -> str:
    """``0.41 (<= 0.5 reached)``."""
    if math.isnan(value):
        return "not measured"
    return f"{value:.3g} ({'<=' if value <= limit else '>'} {limit:g}, {'reached' if value <= limit else 'missed'})"


def segment_sums(metrics: str) -> dict[str, tuple[float, float]]:
    """(sum of seconds, count) of each ``relay_turn_segment_seconds`` in a Prometheus text."""
    found: dict[str, list[float]] = {}
    for kind, segment, value in re.findall(
        r'^relay_turn_segment_seconds_(sum|count)\{segment="(\w+)"\} (\S+)$', metrics, re.MULTILINE
    ):
        found.setdefault(segment, [0.0, 0.0])[kind == "count"] = float(value)
    return {segment: (total, count) for segment, (total, count) in found.items()}


def sample(metrics: str, name: str) -> float:
    """The value of a metric without labels; NaN if it is not there."""
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else math.nan


def samples(metrics: str, name: str) -> dict[str, float]:
    """The values of a metric with one label, by that label's value."""
    return {label: float(value) for label, value in re.findall(rf'^{name}\{{\w+="(\w*)"\}} (\S+)$', metrics, re.M)}


def save(name: str, figures: Mapping[str, Any], picture: str = "") -> Path:
    """Writes ``results/<name>.json`` and, if there is one, ``<name>.svg``; returns the JSON's path."""
    RESULTS.mkdir(exist_ok=True)
    head = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
    }
    path = RESULTS / f"{name}.json"
    path.write_bytes(orjson.dumps({**head, **figures}, option=orjson.OPT_INDENT_2) + b"\n")
    if picture:
        (RESULTS / f"{name}.svg").write_text(picture, encoding="utf-8")
    return path


def curves(title: str, unit: str, series: Mapping[str, Sequence[float]]) -> str:
    """A picture of each series' percentiles, for ``save``."""
    return plots.curves(title, unit, series, alone=True)
