"""What somebody sees who waits for figures: a bar on a terminal, plain lines elsewhere, tables in both."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

WIDTH = 24
EVERY = 0.2  # seconds between two pictures of a bar
LINE_EVERY = 15.0  # seconds between two plain lines


def say(text: str = "") -> None:
    print(text, flush=True)


class Progress:
    """How far a step of known size has come. Used as a context; ``step`` after each part, or ``reach`` a part of it.

    ``stream``: where it is shown, standard output if None.
    """

    def __init__(self, label: str, total: float, *, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total or 1
        self._done = 0.0
        self._note = ""
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._shown = self._begun = time.monotonic()

    def step(self, count: float = 1) -> None:
        self.reach(self._done + count)

    def reach(self, done: float, note: str = "") -> None:
        """``note``: shown behind the share."""
        self._done, self._note = done, note
        now = time.monotonic()
        if now - self._shown >= (EVERY if self._terminal else LINE_EVERY):
            self._shown = now
            self._show()

    def _show(self) -> None:
        share = min(1.0, self._done / self._total)
        note = f"  {self._note}" if self._note else ""
        if self._terminal:
            filled = round(share * WIDTH)
            self._say(f"\r{self._label} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}{note}\x1b[K", end="")
        else:
            self._say(f"{self._label}: {share:.0%} after {time.monotonic() - self._begun:.0f} s{note}")

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._stream, flush=True)

    def __enter__(self) -> Self:
        if self._terminal:
            self._show()
        else:
            self._say(self._label)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._say("\r\x1b[K", end="")


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
