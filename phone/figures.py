"""Numbers out of many numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def percentiles(values: Sequence[float], shares: Sequence[int] = (50, 95, 99)) -> dict[str, float]:
    """By the names ``p50``, ``p95`` and so on."""
    ordered = sorted(values)
    return {f"p{share}": percentile(ordered, share / 100) for share in shares}


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def ratio(ours: float, other: float) -> float:
    return ours / other if other else math.nan
