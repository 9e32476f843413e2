"""A relay watched from outside while it works: memory, descriptors, sockets, tasks and what it remembers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import figures
from benchmarks.systems import System

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Sample:
    """``at``: seconds since the watch began. ``rss``: resident bytes. ``callers``: connections to the relay's port that
    it has open. ``remembered``: entries of its memories, by name."""

    at: float
    calls: int
    rss: int
    descriptors: int
    callers: int
    threads: int
    tasks: int
    active: int
    remembered: dict[str, int] = field(default_factory=dict)


async def look(system: System, at: float, calls: int) -> Sample:
    """One look; the connection it takes for itself is not counted among the callers'."""
    metrics = await system.metrics()
    pid, port = system.child.pid, int(system.base.rpartition(":")[2])
    folder = Path(f"/proc/{pid}/fd")
    links = [_link(folder / name) for name in os.listdir(folder)]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    return Sample(
        at=at,
        calls=calls,
        rss=system.child.memory_bytes(),
        descriptors=len(links),
        callers=max(0, len(_connected(pid, port) & sockets) - 1),
        threads=len(os.listdir(f"/proc/{pid}/task")),
        tasks=int(figures.sample(metrics, "relay_tasks")),
        active=int(figures.sample(metrics, "relay_calls_active")),
        remembered={name: int(count) for name, count in figures.samples(metrics, "relay_remembered").items()},
    )


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed since it was listed


def _connected(pid: int, port: int) -> set[str]:
    """The inodes of TCP sockets, of whatever process, whose own end is this port and that are no listener's."""
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] != "0A":
            found.add(fields[9])
    return found


def growth(samples: Sequence[Sample]) -> float:
    """By how much memory has grown from the first to the last of the samples, as a share: of the straight line through
    all of them, which no single garbage collection decides. NaN for too few."""
    if len(samples) < 10:
        return float("nan")
    first = samples[0].at
    xs, ys = [each.at - first for each in samples], [float(each.rss) for each in samples]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    return slope * xs[-1] / (mean_y - slope * mean_x)


def sparkline(values: Sequence[float], width: int = 72) -> str:
    """The values as a row of bars, from the lowest to the highest."""
    if not values:
        return ""
    step = max(1.0, len(values) / width)
    shown = [values[int(n * step)] for n in range(min(width, len(values)))]
    low, high = min(shown), max(shown)
    return "".join(_BARS[round((value - low) / (high - low or 1) * (len(_BARS) - 1))] for value in shown)
