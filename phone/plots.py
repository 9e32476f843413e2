"""Line plots as SVG: small enough to be read on a phone, side by side on a desk, in the colours of the reader's choice
of light or dark. Nothing in them is fetched or run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from phone.figures import percentiles

WIDTH, HEIGHT = 360, 220
LEFT, TOP, RIGHT, BOTTOM = 46, 30, 10, 46
SHARES = (1, 25, 50, 75, 99)
LEAST = 1e-6  # on a logarithmic axis
COLOURS = ("#1f6feb", "#c2374c", "#1d7f74", "#7a4fc9")
IN_THE_DARK = ("#79b0ff", "#ff919d", "#5fd3c4", "#bda4ff")

Points = Sequence[tuple[float, float]]
Tick = tuple[float, str]


def _style() -> str:
    def colours(ink: str, faint: str, lines: Sequence[str]) -> str:
        numbered = "".join(f"--line{number}:{colour};" for number, colour in enumerate(lines))
        return f".plot{{--ink:{ink};--faint:{faint};{numbered}}}"

    lines = "".join(
        f".plot .line{number}{{stroke:var(--line{number})}}.plot .name{number}{{fill:var(--line{number})}}"
        for number in range(len(COLOURS))
    )
    return (
        colours("#4b5563", "#dfe3e8", COLOURS)
        + f"@media (prefers-color-scheme:dark){{{colours('#aab4c0', '#333c47', IN_THE_DARK)}}}"
        + ".plot{display:block;width:100%;height:auto;font:11px system-ui,sans-serif}.plot text{fill:var(--ink)}"
        + ".plot .title{font-size:13px;font-weight:600}.plot .grid{stroke:var(--faint);fill:none}"
        + ".plot polyline{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
        + lines
    )


STYLE = _style()
"""For a page that shows plots."""


def curves(title: str, unit: str, series: Mapping[str, Sequence[float]], *, alone: bool = False) -> str:
    """Each series' percentiles, 1 to 99, over a logarithmic axis of values (which must be above zero)."""
    shares = range(1, 100)
    points = {
        name: [
            (share, max(LEAST, value) if math.isfinite(value) else LEAST)
            for share, value in zip(shares, percentiles(values, shares).values(), strict=True)
        ]
        for name, values in series.items()
    }
    return plot(title, unit, points, ticks=[(share, f"p{share}") for share in SHARES], logarithmic=True, alone=alone)


def plot(
    title: str,
    unit: str,
    series: Mapping[str, Points],
    *,
    ticks: Sequence[Tick],
    logarithmic: bool = False,
    alone: bool = False,
) -> str:
    """A line for each series, from the first of ``ticks`` to the last. ``alone``: a file of its own, style and all."""
    values = [value for points in series.values() for _, value in points] or [1.0]
    marks = _powers(values) if logarithmic else _steps(values)
    scale = math.log10 if logarithmic else float
    low, high = scale(marks[0][0]), scale(marks[-1][0])
    start, end = ticks[0][0], max(ticks[-1][0], ticks[0][0] + 1e-9)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (value - start) / (end - start)))

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (scale(value) - low) / (high - low))

    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    parts = [
        f'{head} aria-label="{escape(title, {chr(34): "&quot;"})}, {escape(unit)}">',
        *([f"<style>{STYLE}</style>"] if alone else []),
        f'<text class="title" x="4" y="14">{escape(title)}, {escape(unit)}</text>',
    ]
    for mark, text in marks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(mark):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{text}</text>')
    for number, (tick, text) in enumerate(ticks):
        anchor = "end" if number == len(ticks) - 1 else "middle"
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{escape(text)}</text>')
    for number, (name, points) in enumerate(series.items()):
        drawn = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        parts.append(f'<polyline class="line{number % len(COLOURS)}" points="{drawn}"/>')
        place = LEFT + (WIDTH - LEFT) * number / len(series)
        parts.append(
            f'<text class="name{number % len(COLOURS)}" x="{place:.1f}" y="{HEIGHT - 8}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def of_time(seconds: float) -> list[Tick]:
    """Ticks of an axis of time."""
    marks = _steps([seconds], count=5)
    inside = [mark for mark in marks if mark[0] < seconds * 0.85]
    return [*inside, (seconds, f"{seconds:.0f} s")]


def _powers(values: Sequence[float]) -> list[Tick]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    step = max(1, math.ceil((high - low) / 6))
    return [(10.0**power, f"{10.0**power:g}") for power in range(low, max(high, low + 1) + step, step)]


def _steps(values: Sequence[float], count: int = 4) -> list[Tick]:
    """From zero to the first round number that no value exceeds."""
    most = max([*values, 0.0]) or 1.0
    power = 10.0 ** math.floor(math.log10(most / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= most)
    last = math.ceil(most / step - 1e-9)
    return [(step * number, f"{step * number:.6g}") for number in range(last + 1)]
