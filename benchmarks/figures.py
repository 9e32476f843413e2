"""Numbers out of many numbers, and what is kept of them: percentiles, JSON, a picture."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

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


def lines(title: str, unit: str, points: Sequence[tuple[float, float]]) -> str:
    """An SVG of values over seconds; the axis of values begins at zero, so that a growth looks as large as it is."""
    width, height, left, top, right, bottom = 720, 320, 64, 48, 24, 40
    longest, highest = max((x for x, _ in points), default=1.0) or 1.0, max((y for _, y in points), default=1.0) or 1.0
    across, down = (width - left - right) / longest, (height - top - bottom) / highest
    path = " ".join(f"{left + across * x:.1f},{height - bottom - down * y:.1f}" for x, y in points)
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                'font-family="sans-serif" font-size="12">',
                f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
                f'<text x="{left}" y="24" font-size="15">{escape(title)}</text>',
                f'<text x="{left - 8}" y="{top + 4}" text-anchor="end">{highest:.4g} {escape(unit)}</text>',
                f'<text x="{left - 8}" y="{height - bottom + 4}" text-anchor="end">0</text>',
                f'<text x="{width - right}" y="{height - 12}" text-anchor="end">{longest:.0f} s</text>',
                f'<path d="M{left} {top}V{height - bottom}H{width - right}" fill="none" stroke="#e5e7eb"/>',
                f'<polyline points="{path}" fill="none" stroke="#2563eb" stroke-width="2"/>',
                "</svg>",
            ]
        )
        + "\n"
    )
