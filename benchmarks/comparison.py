"""What the latency benchmark holds on to, and how it is shown: runs, ratios, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import figures
from phone.progress import say, table

TO_PEER = {"p50": 0.5, "p99": 0.6, "cpu": 0.4}
TO_FLOOR = {"p50": 1.5, "cpu": 1.5}


@dataclass(frozen=True, slots=True)
class Load:
    calls: int = 100
    turns: int = 6
    runs: int = 3
    first: str = "0.25:0.6"
    pace: str = "0.02"
    tokens: int = 60
    seed: int = 1


@dataclass(slots=True)
class Run:
    """One system under the load once. Seconds; ``token``: added to the model's first piece, ``word``: to its first
    whole word; ``waited``: for the core while others used it, the sign that a run is not to be quoted."""

    system: str
    token: list[float] = field(default_factory=list)
    word: list[float] = field(default_factory=list)
    request: list[float] = field(default_factory=list)
    tokens: int = 0
    frames: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    redis_cpu: float = 0.0
    waited: float = 0.0
    memory: int = 0
    lost: int = 0
    messages: tuple[int, int] = (0, 0)
    tools: tuple[int, int] = (0, 0)
    size: float = 0.0
    by_socket: int = 0
    connections: int = 0
    segments: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_a_token(self) -> float:
        return self.cpu / self.tokens if self.tokens else 0.0

    def figures(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "turns": len(self.token),
            "lost": self.lost,
            "added_to_first_token_ms": _ms(self.token),
            "added_to_first_word_ms": _ms(self.word),
            "until_request_ms": _ms(self.request),
            "cpu_us_a_token": self.cpu_a_token * 1e6,
            "redis_cpu_us_a_token": self.redis_cpu / max(1, self.tokens) * 1e6,
            "core_busy": self.cpu / self.seconds if self.seconds else 0.0,
            "core_waited_for": self.waited / self.seconds if self.seconds else 0.0,
            "tokens": self.tokens,
            "frames": self.frames,
            "memory_mb": self.memory / 1e6,
            "history_items": list(self.messages),
            "tools": list(self.tools),
            "request_bytes_median": self.size,
            "requests_by_websocket": self.by_socket,
            "connections": self.connections,
            "segments_ms": {name: seconds * 1e3 for name, seconds in self.segments.items()},
        }


def _ms(values: Sequence[float]) -> dict[str, float]:
    return {name: value * 1e3 for name, value in figures.percentiles(values).items()}


def line(run: Run) -> str:
    token, word = _ms(run.token), _ms(run.word)
    return (
        f"first token +{token['p50']:.2f}/{token['p90']:.2f}/{token['p99']:.2f} ms, "
        f"first word +{word['p50']:.2f}/{word['p90']:.2f}/{word['p99']:.2f} ms (p50/p90/p99), "
        f"{run.cpu_a_token * 1e6:.1f} us a token, core {run.cpu / run.seconds:.0%} busy, "
        f"waited for {run.waited / run.seconds:.0%}, {run.memory / 1e6:.0f} MB"
        + (f", {run.lost} LOST" if run.lost else "")
    )


def report(runs: Sequence[Run], names: Sequence[str], versions: dict[str, str], load: Load, cores: str) -> bool:
    """Prints the tables and saves them; True if all targets that could be looked at were reached."""
    of = {name: [run for run in runs if run.system == name] for name in names}
    token = {name: _ms([value for run in of[name] for value in run.token]) for name in names}
    word = {name: _ms([value for run in of[name] for value in run.word]) for name in names}
    cpu = {name: figures.median([run.cpu_a_token for run in of[name]]) * 1e6 for name in names}
    rows = []
    for name in names:
        last = of[name][-1]
        redis = figures.median([run.redis_cpu / max(1, run.tokens) for run in of[name]]) * 1e6
        rows.append(
            [
                name,
                *(f"{token[name][p]:.2f}" for p in token[name]),
                *(f"{word[name][p]:.2f}" for p in word[name]),
                f"{cpu[name]:.1f}" + (f" +{redis:.1f}" if redis else ""),
                f"{last.memory / 1e6:.0f}",
                f"{last.messages[0]}-{last.messages[1]}",
                f"{last.tools[0]}",
                f"{last.size:.0f}",
            ]
        )
    say(
        "Added to the model's first token and to its first whole word, ms, all runs together; CPU a token (+ Redis), us"
    )
    heads = ["", "token p50", "p90", "p99", "word p50", "p90", "p99", "us/token", "MB", "items", "tools", "bytes"]
    say(table(heads, rows))
    say()
    targets: list[list[str]] = []
    met: list[bool] = []
    ratios: dict[str, dict[str, float]] = {}

    def target(label: str, value: float, limit: float, counts: bool = True) -> None:
        targets.append([label, figures.verdict(value, limit)])
        if counts:
            met.append(value <= limit)

    if "ours" in names:
        for other, limits in (("peer", TO_PEER), ("floor", TO_FLOOR)):
            if other not in names:
                continue
            ratios[other] = {}
            for p in ("p50", "p99"):
                if p in limits:
                    ratios[other][f"first_token_{p}"] = figures.ratio(token["ours"][p], token[other][p])
                    ratios[other][f"first_word_{p}"] = figures.ratio(word["ours"][p], word[other][p])
                    target(f"first token {p}, to the {other}", ratios[other][f"first_token_{p}"], limits[p])
                    target(f"first whole word {p}, to the {other}", ratios[other][f"first_word_{p}"], limits[p])
            ratios[other]["cpu"] = figures.ratio(cpu["ours"], cpu[other])
            target(f"CPU a token, to the {other}", ratios[other]["cpu"], limits["cpu"])
        say(table(["ours to", "ratio"], targets))
        segments = of["ours"][-1].segments
        say("segments of our turns, mean of the last run, ms: " + _segments(segments))
    path = figures.save(
        "latency",
        {
            "load": {name: getattr(load, name) for name in Load.__slots__},
            "cores": cores,
            "peer": versions,
            "runs": [run.figures() for run in runs],
            "ratios": ratios,
        },
        figures.curves(
            "Added to the model's first whole word",
            "ms",
            {name: [value * 1e3 for run in of[name] for value in run.word] for name in names},
        ),
    )
    say(f"saved {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return all(met)


def _segments(segments: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in segments.items()) or "none"
