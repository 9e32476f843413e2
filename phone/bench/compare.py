"""Two results side by side: by how much they differ, and whether that is more than the noise of measuring.

A file holds what ``--json`` printed, once or several times, one behind the other. Several runs tell their own noise: a
difference counts when no run of one side is as good as a run of the other. Of a single run it is estimated: a
percentile is as sure as the number of turns beyond it allows, and is never trusted to better than a tenth; counts of
rare things vary by their square root.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import orjson

from phone.bench.failed import BenchFailed
from phone.bench.result import Result
from phone.figures import median, ratio
from phone.progress import table

STEADY = 0.10  # what a figure of an unchanged program varies by, from run to run
LEAST = 0.02  # also of several runs: nobody needs to know of less

FIGURES = {
    **{f"first_words_ms {p}": ("first_words_ms", p) for p in ("p50", "p95", "p99")},
    **{f"added_ms {p}": ("added_ms", p) for p in ("p50", "p95", "p99")},
    "cpu_us_per_token": ("cpu_us_per_token", ""),
    "rss_kb_per_call": ("rss_kb_per_call", ""),
}
COUNTS = ("errors", "ghost_frames")
NAMES = tuple(each.name for each in fields(Result))

Run = dict[str, Any]
Verdict = Literal["B is better", "A is better", "no difference", "unknown"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both; NaN where a side does not know it. ``noise``: the share by which B may differ for nothing."""

    name: str
    a: float
    b: float
    noise: float
    verdict: Verdict

    def row(self) -> list[str]:
        by = ratio(self.b, self.a)
        change = "-" if math.isnan(by) else f"{by - 1:+.0%}"
        noise = "-" if math.isnan(self.noise) else f"{self.noise:.0%}"
        return [self.name, _show(self.a), _show(self.b), _show(by), change, noise, self.verdict]


def read(path: Path) -> list[Run]:
    """The runs of a file. Raises BenchFailed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchFailed(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}.") from error
    try:
        whole = orjson.loads(text)
        runs = whole if isinstance(whole, list) else [whole]
    except orjson.JSONDecodeError:
        try:
            runs = [orjson.loads(line) for line in text.splitlines() if line.strip()]
        except orjson.JSONDecodeError as error:
            raise BenchFailed(f"{path} is no result of relay bench --json: it is not JSON.") from error
    if not runs:
        raise BenchFailed(f"{path} is no result of relay bench --json: it is empty.")
    for run in runs:
        _check(path, run)
    return runs


def _check(path: Path, run: object) -> None:
    if not isinstance(run, dict) or any(name not in run for name in NAMES):
        missing = [name for name in NAMES if not isinstance(run, dict) or name not in run]
        raise BenchFailed(f"{path} is no result of relay bench --json: it has no {missing[0]}.")
    for name, (group, share) in FIGURES.items():
        value = _value(run, group, share)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BenchFailed(f"{path} is no result of relay bench --json: its {name} is no number.")
    if any(not isinstance(run[name], int) for name in ("calls", "turns", *COUNTS)):
        raise BenchFailed(f"{path} is no result of relay bench --json: a count in it is no number.")


def _value(run: Run, group: str, share: str) -> Any:
    """NaN for null."""
    value = run[group]
    if share and isinstance(value, dict):
        value = value.get(share)
    return math.nan if value is None else value


def compare(a: Sequence[Run], b: Sequence[Run]) -> list[Compared]:
    return [
        *(_figure(name, a, b) for name in FIGURES),
        *(_count(name, a, b) for name in COUNTS),
    ]


def _figure(name: str, a: Sequence[Run], b: Sequence[Run]) -> Compared:
    group, share = FIGURES[name]
    of_a, of_b = ([_value(run, group, share) for run in runs] for runs in (a, b))
    if any(map(math.isnan, (*of_a, *of_b))):
        return Compared(name, _middle(of_a), _middle(of_b), math.nan, "unknown")
    at, bt = median(of_a), median(of_b)
    if min(len(a), len(b)) > 1:
        noise = max(LEAST, *(_spread(values) for values in (of_a, of_b)))
        apart = max(of_a) < min(of_b) or max(of_b) < min(of_a)
        different = apart and abs(bt - at) > LEAST * abs(at)
    else:
        beyond = 1 - int(share[1:]) / 100 if share else 1.0
        noise = max(STEADY, *(1 / math.sqrt(max(1, _turns(runs) * beyond)) for runs in (a, b)))
        different = abs(bt - at) > noise * abs(at)
    return Compared(name, at, bt, noise, _verdict(at, bt) if different else "no difference")


def _count(name: str, a: Sequence[Run], b: Sequence[Run]) -> Compared:
    """By turns: runs are not equally long."""
    of_a, of_b = (sum(run[name] for run in runs) for runs in (a, b))
    turns_a, turns_b = max(1, _turns(a)), max(1, _turns(b))
    at, bt = of_a / turns_a * 1000, of_b / turns_b * 1000
    sure = 2 * math.sqrt(of_a / turns_a**2 + of_b / turns_b**2) * 1000
    verdict = _verdict(at, bt) if abs(bt - at) > sure else "no difference"
    return Compared(f"{name}, 1000 turns", at, bt, ratio(sure, at), verdict)


def _verdict(a: float, b: float) -> Verdict:
    return "B is better" if b < a else "A is better"


def _spread(values: Sequence[float]) -> float:
    return ratio(max(values) - min(values), abs(median(values)))


def _middle(values: Sequence[float]) -> float:
    return median([value for value in values if not math.isnan(value)])


def _turns(runs: Sequence[Run]) -> int:
    return sum(run["turns"] for run in runs)


def _show(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def report(a: Sequence[Run], b: Sequence[Run], names: tuple[str, str]) -> str:
    """What to print: loads, figures, and a sentence that says which is better."""
    found = compare(a, b)
    loads = [[letter, name, *_load(runs)] for letter, name, runs in (("A", names[0], a), ("B", names[1], b))]
    lines = [
        table(["", "file", "runs", "calls", "turns"], loads),
        "",
        table(["lower is better", "A", "B", "B/A", "change", "noise", ""], [each.row() for each in found]),
        "",
    ]
    if len({run["calls"] for run in (*a, *b)}) > 1:
        lines.append("The loads differ: that explains differences too.")
    knows = {letter: all(_knows_its_model(run) for run in runs) for letter, runs in (("A", a), ("B", b))}
    if knows["A"] != knows["B"]:
        one, other = sorted(knows, key=lambda letter: not knows[letter])
        lines.append(
            f"Only {one} has added_ms: {other} ran without the endpoint, or never reached it and has apologised, which "
            "is fast. Take this for no comparison before you know which."
        )
    return "\n".join([*lines, _sentence(found)])


def _knows_its_model(run: Run) -> bool:
    return not math.isnan(_value(run, "added_ms", "p50"))


def _load(runs: Sequence[Run]) -> list[str]:
    calls = sorted({run["calls"] for run in runs})
    return [str(len(runs)), "-".join(dict.fromkeys((str(calls[0]), str(calls[-1])))), str(_turns(runs))]


def _sentence(found: Sequence[Compared]) -> str:
    better = {side: [each.name for each in found if each.verdict == f"{side} is better"] for side in "AB"}
    if better["A"] and better["B"]:
        return f"Neither is better: A in {', '.join(better['A'])}; B in {', '.join(better['B'])}."
    for side in "AB":
        if better[side]:
            return f"{side} is better, in {', '.join(better[side])}; the rest is within the noise or unknown."
    return "There is no difference beyond the noise."
