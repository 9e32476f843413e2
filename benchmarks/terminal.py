"""What a benchmark shows: a bar on a terminal, plain lines elsewhere, tables in both."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

WIDTH = 24
EVERY = 0.2  # seconds between two pictures of a bar
LINE_EVERY = 15.0  # seconds between two plain lines


def say(text: str = "") -> None:
    print(text, flush=True)


class Progress:
    """How far a step of known size has come. Used as a context; ``step`` after each part."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = max(1, total)
        self._done = 0
        self._terminal = sys.stdout.isatty()
        self._shown = self._begun = time.monotonic()

    def step(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown >= (EVERY if self._terminal else LINE_EVERY):
            self._shown = now
            self._show()

    def _show(self) -> None:
        share = min(1.0, self._done / self._total)
        if self._terminal:
            filled = round(share * WIDTH)
            print(f"\r{self._label} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}", end="", flush=True)
        else:
            say(f"{self._label}: {share:.0%} after {time.monotonic() - self._begun:.0f} s")

    def __enter__(self) -> Self:
        if self._terminal:
            self._show()
        else:
            say(self._label)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(heads), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])
