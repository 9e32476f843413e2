"""The figures of the dashboard: what is counted of a process, and what is told of the counts of all of them.

A *tally* is counts by name, of which those of several processes and minutes add up:

    turns  interrupts  ghosts  errors  fallbacks  tokens:<kind>  cost:<kind>
    lag:<bound>                                         observations up to a bound, in s, above the next lower one
    first:<channel>:<bound>  segment:<name>:<bound>  tool:<name>:<bound>
    lag:sum ...                                         their sum
    tool:<name>:failed
    max:lag  max:calls:<process>                        what is greatest, and does not add up

Percentiles are taken from summed buckets, never averaged: within a bucket observations count as spread evenly, and what
is beyond the last bound counts as that bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from relay.telemetry import (
    KINDS,
    SEGMENT_BUCKETS,
    SEGMENTS,
    SHORT_BUCKETS,
    TEXT_BUCKETS,
    TOOL_BUCKETS,
    Telemetry,
    samples,
    total,
)

Tally = dict[str, float]
Buckets = Mapping[float, float]
"""Observations by the upper bound of their bucket."""

UNHARMED = ("ok", "cancelled")  # outcomes of a tool that has not failed
_GREATEST = "max:"


# -- of a process


def count(telemetry: Telemetry) -> Tally:
    """What has been counted since the process began. Takes a fraction of a millisecond."""
    tally: Tally = {
        "turns": total(telemetry.turns),
        "interrupts": total(telemetry.interrupts),
        "ghosts": total(telemetry.ghosts),
        "errors": total(telemetry.turn_failures) + total(telemetry.peer_errors),
        "fallbacks": total(telemetry.fallbacks),
    }
    for name, counter in (("tokens", telemetry.tokens), ("cost", telemetry.cost)):
        for _, labels, value in samples(counter):
            tally[f"{name}:{labels['kind']}"] = value
    for name, histogram, label in (
        ("first", telemetry.first_text, "channel"),
        ("segment", telemetry.segment, "segment"),
        ("lag", telemetry.lag, ""),
        ("tool", telemetry.tool, "tool"),
    ):
        lower = 0.0  # the buckets of Prometheus count what is in the lower ones too
        for what, labels, value in samples(histogram):
            of = f"{name}:{labels[label]}" if label else name
            if what == "bucket":
                _add(tally, f"{of}:{labels['le']}", value - lower)
                lower = value
                continue
            lower = 0.0
            if what == "sum":
                _add(tally, f"{of}:sum", value)
            elif name == "tool" and labels["outcome"] not in UNHARMED:
                _add(tally, f"{of}:failed", value)
    return tally


def grown(now: Tally, before: Tally) -> Tally:
    """What has been added since."""
    return {name: more for name, value in now.items() if (more := value - before.get(name, 0.0))}


def merge(into: Tally, tally: Mapping[str, float]) -> None:
    known = into.get
    for name, value in tally.items():
        if name[:4] == _GREATEST:
            into[name] = max(known(name, 0.0), value)
        else:
            into[name] = known(name, 0.0) + value


def _add(tally: Tally, name: str, value: float) -> None:
    tally[name] = tally.get(name, 0.0) + value


# -- of all


def percentile(buckets: Buckets, share: float, bounds: Iterable[float] = ()) -> float | None:
    """``bounds``: of buckets that may be empty. None where nothing was observed."""
    rank = share * sum(buckets.values())
    if rank <= 0:
        return None
    lower = below = 0.0
    for upper in sorted({*bounds, *buckets}):
        inside = buckets.get(upper, 0.0)
        if below + inside >= rank and inside > 0:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / inside
        below += inside
        lower = upper
    return lower


def parts(tally: Tally) -> dict[str, Tally]:
    """A tally by what its names begin with: ``tool:book:0.5`` is ``0.5`` of ``tool:book``."""
    found: dict[str, Tally] = {}
    for name, value in tally.items():
        of, _, part = name.rpartition(":")
        found.setdefault(of, {})[part] = value
    return found


class Observed:
    """The observations of one kind, in milliseconds."""

    def __init__(self, part: Tally, bounds: Sequence[float] = ()) -> None:
        self._bounds = bounds
        self._sum = part.get("sum", 0.0)
        self._buckets = {float(bound): value for bound, value in part.items() if bound not in ("sum", "failed")}
        self.count = round(sum(self._buckets.values()))

    def ms(self, share: float, longest: float | None = None) -> float | None:
        """``longest``: what none of them exceeds, where that is known; its bucket may."""
        found = percentile(self._buckets, share, self._bounds)
        return None if found is None else min(round(found * 1000, 2), math.inf if longest is None else longest)

    @property
    def mean_ms(self) -> float | None:
        return round(self._sum * 1000 / self.count, 2) if self.count else None

    @property
    def sum_ms(self) -> float:
        return round(self._sum * 1000, 2)


def _of_channels(by: dict[str, Tally]) -> dict[str, Tally]:
    """First words by channel."""
    return {name.removeprefix("first:"): part for name, part in by.items() if name.startswith("first:")}


def _first(by: dict[str, Tally]) -> Observed:
    """First words, whatever the channel."""
    whole: Tally = {}
    for part in _of_channels(by).values():
        merge(whole, part)
    return Observed(whole, TEXT_BUCKETS)


def _percentiles(seen: Observed) -> dict[str, float | None]:
    return {"p50": seen.ms(0.5), "p95": seen.ms(0.95), "p99": seen.ms(0.99)}


def point(at: int, tally: Tally, *, priced: bool) -> dict[str, Any]:
    """One entry of the series. ``at``: when it begins, ms since 1970."""
    by = parts(tally)
    tokens = _tokens(by)
    return {
        "at": at,
        "turns": _whole(tally, "turns"),
        **_percentiles(_first(by)),
        "interrupts": _whole(tally, "interrupts"),
        "errors": _whole(tally, "errors"),
        "calls": round(sum(by.get("max:calls", {}).values())),
        "segments_ms": {name: Observed(by.get(f"segment:{name}", {}), SEGMENT_BUCKETS).mean_ms for name in SEGMENTS},
        "tokens": tokens["input"] + tokens["output"],
        "cost": _cost(by)["total"] if priced else None,
    }


def overview(tally: Tally, *, minutes: float, priced: bool) -> dict[str, Any]:
    """What is told of a whole time. ``minutes``: how long that was. ``priced``: there are prices."""
    by = parts(tally)
    channels = {name: Observed(part, TEXT_BUCKETS) for name, part in sorted(_of_channels(by).items())}
    lag = Observed(by.get("lag", {}), SHORT_BUCKETS)
    segments = {name: Observed(by.get(f"segment:{name}", {}), SEGMENT_BUCKETS) for name in SEGMENTS}
    longest = round(by["max"]["lag"] * 1000, 2) if "max" in by else None
    return {
        "turns_per_minute": round(tally.get("turns", 0.0) / minutes, 2),
        "first_text_ms": _percentiles(_first(by)),
        "channels": {
            name: {"answers": seen.count, "first_text_ms": _percentiles(seen)}
            for name, seen in channels.items()
            if seen.count
        },
        "segments_ms": {
            name: {"p50": each.ms(0.5), "p95": each.ms(0.95), "mean": each.mean_ms} for name, each in segments.items()
        },
        "interrupts": _whole(tally, "interrupts"),
        "ghost_frames": _whole(tally, "ghosts"),
        "errors": _whole(tally, "errors"),
        "fallbacks": _whole(tally, "fallbacks"),
        "tools": _tools(by),
        "tokens": _tokens(by),
        "cost": _cost(by) if priced else None,
        "loop_lag_ms": {"p50": lag.ms(0.5, longest), "p99": lag.ms(0.99, longest), "max": longest},
    }


def _tools(by: dict[str, Tally]) -> list[dict[str, Any]]:
    """Those that have taken the most time first."""
    of = {name.removeprefix("tool:"): part for name, part in by.items() if name.startswith("tool:")}
    timed = sorted(
        ((name, part, Observed(part, TOOL_BUCKETS)) for name, part in of.items()), key=lambda each: -each[2].sum_ms
    )
    return [
        {
            "name": name,
            "count": seen.count,
            "p50_ms": seen.ms(0.5),
            "p95_ms": seen.ms(0.95),
            "failed": _whole(part, "failed"),
        }
        for name, part, seen in timed
    ]


def _tokens(by: dict[str, Tally]) -> dict[str, int]:
    return {kind: _whole(by.get("tokens", {}), kind) for kind in KINDS}


def _cost(by: dict[str, Tally]) -> dict[str, float]:
    money = {kind: by.get("cost", {}).get(kind, 0.0) for kind in KINDS}
    return {name: round(value, 6) for name, value in {"total": sum(money.values()), **money}.items()}


def _whole(tally: Tally, name: str) -> int:
    return round(tally.get(name, 0.0))
