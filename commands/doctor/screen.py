"""What the doctor shows: on a terminal which checks are running, and in the end a table."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping

import click

from commands.doctor.finding import Finding, Status

COLOURS: dict[Status, str] = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
NARROW, WIDE = 60, 120
CLEAR = "\r\x1b[K"


class Progress:
    """One line on standard error, where that is a terminal, that names what is being looked at."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._running: list[str] = []

    def news(self, name: str, finding: Finding | None) -> None:
        if finding is None:
            self._running.append(name)
        elif name in self._running:
            self._running.remove(name)
        if self._shown:
            line = f"looking at: {', '.join(self._running)}" if self._running else ""
            sys.stderr.write(CLEAR + line[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()


def table(findings: Mapping[str, Finding]) -> Iterator[str]:
    """Lines, coloured; who prints them takes the colours off where there is no terminal, and there none is broken."""
    width = min(WIDE, max(NARROW, shutil.get_terminal_size().columns)) if sys.stdout.isatty() else 0
    names = max(map(len, findings))
    indent = " " * (names + 13)
    for name, finding in findings.items():
        mark = click.style(f"{finding.status:<8}", fg=COLOURS[finding.status])
        first, *rest = _lines(finding.detail, width - len(indent))
        yield f"  {mark} {name:<{names}}  {first}"
        yield from (indent + line for line in rest)
        if finding.fix:
            first, *rest = _lines(finding.fix, width - len(indent) - 5)
            yield f"{indent}{click.style('fix: ', bold=True)}{first}"
            yield from (indent + "     " + line for line in rest)


def summary(findings: Mapping[str, Finding]) -> str:
    counts = Counter(finding.status for finding in findings.values())
    return ", ".join(f"{counts[status]} {status}" for status in COLOURS if counts[status]) + "."


def _lines(text: str, width: int) -> list[str]:
    lines = text.splitlines()
    if width <= 0:
        return lines
    return [
        part for line in lines for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    ]
