"""The report of ``--html``: one file with the figures, plots and doubts, that fetches nothing and runs nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from phone.bench.result import Percentiles, Result, facts_of
from phone.bench.run import Measured
from phone.figures import percentile
from phone.plots import STYLE, Points, curves, of_time, plot

BINS = 40
SHORTEST_BIN = 1.0  # seconds
CURVE = 5000  # values of a curve at the most: every so many-th of more

_CSS = """
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--ink:#16202b;--soft:#5b6673;--edge:#e1e5ea;--warn:#fff4d6;
--warn-ink:#694a00}
@media (prefers-color-scheme:dark){:root{--page:#10151b;--card:#19212a;--ink:#e8edf2;--soft:#9aa6b3;--edge:#2b3540;
--warn:#3a2f12;--warn-ink:#ffdf94}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:20px 14px 40px;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:20px;margin:0}h2{font-size:15px;margin:22px 0 8px}
.where{color:var(--soft);margin:2px 0 16px;overflow-wrap:anywhere}
.grid{display:grid;gap:10px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.plots{grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr))}
.tables{grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));align-items:start}
.card+.card,.tables+.card{margin-top:10px}.grid>.card{margin:0}
.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:12px 14px}
.tile dl{margin:0}.tile dt{color:var(--soft);font-size:13px}.tile dd{margin:0;font-size:24px;font-weight:650;
font-variant-numeric:tabular-nums}.tile dd small{font-size:13px;font-weight:400;color:var(--soft)}
.tile p{margin:2px 0 0;color:var(--soft);font-size:13px;white-space:pre-line;font-variant-numeric:tabular-nums}
.doubts{background:var(--warn);color:var(--warn-ink);border-color:transparent;margin-bottom:12px}
.doubts ul{margin:4px 0 0;padding-left:20px}
table{border-collapse:collapse;width:100%}td{padding:3px 0;border-top:1px solid var(--edge);vertical-align:top}
tr:first-child td{border-top:0}td:last-child{text-align:right;padding-left:12px;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
pre{overflow:auto;font-size:12px;margin:8px 0 0}summary{cursor:pointer;color:var(--soft)}
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures are of. ``options``: those of the command, as given."""

    url: str
    at: datetime
    options: Mapping[str, str]


def report(measured: Measured, result: Result, doubts: Sequence[str], about: Circumstances) -> str:
    at = f"{about.at:%Y-%m-%d %H:%M:%S %Z}"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>relay bench, {at}</title>\n<style>{_CSS}{STYLE}</style>\n</head>\n<body>",
            f'<h1>relay bench</h1>\n<p class="where">{_safe(about.url)} · {at}</p>',
            _doubts(doubts),
            _tiles(measured, result),
            "<h2>Over time and by share</h2>",
            f'<div class="grid plots">{"".join(map(_card, _plots(measured)))}</div>',
            '<div class="grid tables">',
            f"<section><h2>All figures</h2>{_card(_table(facts_of(measured, result)))}</section>",
            f"<section><h2>The load</h2>{_card(_table(list(about.options.items())))}</section>",
            "</div>",
            _card(f"<details><summary>As JSON</summary><pre>{_safe(_json(result))}</pre></details>"),
            "</body>\n</html>\n",
        ]
    )


def _safe(text: str) -> str:
    return html.escape(text)


def _json(result: Result) -> str:
    return orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2).decode()


def _card(inside: str) -> str:
    return f'<div class="card">{inside}</div>'


def _doubts(doubts: Sequence[str]) -> str:
    if not doubts:
        return ""
    lines = "".join(f"<li>{_safe(doubt)}</li>" for doubt in doubts)
    return f'<div class="card doubts"><b>Read with care</b><ul>{lines}</ul></div>'


def _tiles(measured: Measured, result: Result) -> str:
    def of_three(name: str, figures: Percentiles | None) -> str:
        if figures is None:
            return tile(name, "unknown", "", "no word of the endpoint")
        return tile(name, f"{figures['p50']:.1f}", "ms", f"p95 {figures['p95']:.1f}\np99 {figures['p99']:.1f}")

    def tile(name: str, figure: str, unit: str, below: str) -> str:
        body = f"<dt>{name}</dt><dd>{figure} <small>{unit}</small></dd>"
        return f'<div class="card tile"><dl>{body}</dl><p>{_safe(below)}</p></div>'

    def known(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.1f}"

    tiles = [
        of_three("First words", result.first_words_ms),
        of_three("Added", result.added_ms),
        tile("Turns", f"{result.turns}", "", f"{result.calls} calls, {measured.seconds:.0f} s"),
        tile("Errors", f"{result.errors}", "", "calls, turns, frames"),
        tile("Ghost frames", f"{result.ghost_frames}", "", f"after {measured.tally.interrupts} interrupts"),
        tile("CPU a token", known(result.cpu_us_per_token), "µs", "of the server"),
        tile("Memory a call", known(result.rss_kb_per_call), "kB", "of the server"),
    ]
    return f'<div class="grid">{"".join(tiles)}</div>'


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = "".join(f"<tr><td>{_safe(name)}</td><td>{_safe(figure)}</td></tr>" for name, figure in rows)
    return f"<table>{lines}</table>"


def _plots(measured: Measured) -> list[str]:
    tally, seconds = measured.tally, measured.seconds
    ticks = of_time(seconds)
    bins = _Bins(seconds)
    first = [(turn.at, turn.first * 1e3) for turn in tally.answered]
    added = [(turn.at, turn.added * 1e3) for turn in tally.answered if turn.added is not None]
    plots = [plot("First words", "ms", bins.lines(first), ticks=ticks)]
    if added:
        plots.append(plot("Added by the server", "ms", bins.lines(added), ticks=ticks))
    shares = {"first words": [value for _, value in first]}
    if added:
        shares |= {"added": [value for _, value in added], "a token's way": _thinned(tally.transit)}
    plots.append(curves("By share of the turns", "ms", shares))
    happened = {
        "turns": bins.rates([turn.at for turn in tally.answered]),
        "interrupts": bins.rates([turn.at for turn in tally.answered if turn.interrupted]),
        "errors": bins.rates(tally.failed_at),
    }
    plots.append(plot("What happened", "a second", happened, ticks=ticks))
    if len(measured.watched) > 1:
        pairs = list(zip(measured.watched, measured.watched[1:], strict=False))
        busy = [(late.at, 100 * (late.cpu - early.cpu) / max(1e-3, late.at - early.at)) for early, late in pairs]
        plots.append(plot("CPU", "% of a core", {"the server": busy}, ticks=ticks))
        memory = [(each.at, each.memory / 1e6) for each in measured.watched]
        plots.append(plot("Memory", "MB", {"the server": memory}, ticks=ticks))
    return plots


def _thinned(values: Sequence[float]) -> list[float]:
    return [value * 1e3 for value in values[:: max(1, len(values) // CURVE)]]


class _Bins:
    """The run in equal parts, none shorter than ``SHORTEST_BIN``."""

    def __init__(self, seconds: float) -> None:
        self._count = max(1, min(BINS, int(seconds / SHORTEST_BIN)))
        self._width = seconds / self._count

    def lines(self, values: Points) -> dict[str, Points]:
        """Percentiles of each part."""
        parts = self._parts(values)
        return {f"p{share}": self._line(parts, share / 100) for share in (50, 95)}

    def rates(self, moments: Sequence[float]) -> Points:
        parts = self._parts([(at, 1.0) for at in moments])
        return [((number + 0.5) * self._width, len(part) / self._width) for number, part in enumerate(parts)]

    def _parts(self, values: Points) -> list[list[float]]:
        parts: list[list[float]] = [[] for _ in range(self._count)]
        for at, value in values:
            parts[min(self._count - 1, max(0, int(at / self._width)))].append(value)
        return parts

    def _line(self, parts: Sequence[Sequence[float]], share: float) -> Points:
        return [((number + 0.5) * self._width, percentile(part, share)) for number, part in enumerate(parts) if part]
