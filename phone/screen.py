"""What a call looks like: the agent's words as they are heard above a line for typing, or plain lines in a pipe.

A ``Screen`` only ever writes text to a stream; control codes appear only when it is ``live``, colours only when
``colour``. Nothing it draws is wider than the terminal, so nothing wraps by itself.
"""

from __future__ import annotations

import shutil
import unicodedata
from typing import TextIO

from phone.record import Event, Notice, Said, Silence, Turn, Word

AGENT = "agent> "
YOU = "you> "
_UP, _CLEAR_LINE = "\x1b[A", "\r\x1b[K"
_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def width_of(text: str) -> int:
    """Columns a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def printable(text: str) -> str:
    """The text on one line, without anything that could steer a terminal."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


class Screen:
    """live: the last row is the line being typed, redrawn below everything else. columns: a fixed width; the
    terminal's by default, and no limit when not live."""

    def __init__(self, out: TextIO, *, live: bool = False, colour: bool = False, columns: int = 0) -> None:
        self._out = out
        self._live = live
        self._colour = colour
        self._columns = columns
        self._column = 0
        self._typed = ""
        self._typing = False
        self._row_open = False
        self._timed: Turn | None = None  # whose time to the first words has been shown

    @property
    def columns(self) -> int:
        if self._columns:
            return self._columns
        # One column is left free: a full row moves some terminals to the next.
        return max(8, shutil.get_terminal_size().columns - 1) if self._live else 1_000_000

    def show(self, event: Event) -> None:
        """Draws what a call reports; to be given to ``Caller`` as ``listen``."""
        match event:
            case Word(text, _, opens):
                self.agent_words(text, opens)
            case Silence(turn, cut):
                self.agent_silent(turn, cut)
            case Said(text):
                self.caller_line(text)
            case Notice(text):
                self.note(text)

    def agent_words(self, text: str, opens: bool = False) -> None:
        if not self._row_open:
            self._row(AGENT, _BOLD)
            text = text.lstrip()
        elif opens and not text[:1].isspace():
            text = " " + text
        self._flow(text)

    def agent_silent(self, turn: Turn, cut: bool = False) -> None:
        if not self._row_open:
            return
        if cut:
            self._flow(" --")
        if turn.first_words_s is not None and turn.said and turn is not self._timed:
            self._flow(f" ({turn.first_words_s:.2f} s)", _DIM)
            self._timed = turn
        self._end_row()

    def caller_line(self, text: str) -> None:
        """What the caller said."""
        self._row(YOU, _BOLD)
        self._flow(printable(text))
        self._end_row()

    def note(self, text: str) -> None:
        """A remark about the call on rows of its own."""
        self._row("", "")
        self._flow("* " + printable(text), _DIM)
        self._end_row()

    def typing(self, text: str) -> None:
        """The line being typed has changed."""
        self._typed = text
        if self._live:
            if not self._typing and self._row_open:
                self._write("\n")
            self._typing = True
            self._write(_CLEAR_LINE + self._prompt())

    def stop_typing(self) -> None:
        """Takes the typing line away: the call is over."""
        if self._typing:
            self._write(_CLEAR_LINE)
            self._row_open = False
        self._typing = False

    def _prompt(self) -> str:
        typed = printable(self._typed) + (" " if self._typed.endswith(" ") else "")
        while typed and width_of(YOU + typed) >= self.columns:
            typed = typed[1:]
        return self._dyed(YOU, _BOLD) + typed

    def _dyed(self, text: str, dye: str) -> str:
        return f"{dye}{text}{_PLAIN}" if self._colour and dye and text.strip() else text

    def _row(self, mark: str, dye: str) -> None:
        """Begins a row above the typing line."""
        if self._row_open:
            self._end_row()
        self._row_open = True
        self._column = width_of(mark)
        self._draw(self._dyed(mark, dye), new=True)

    def _end_row(self) -> None:
        self._row_open = False
        if not self._typing:
            self._write("\n")

    def _flow(self, text: str, dye: str = "") -> None:
        """Goes on in the open row, and in rows below it where words do not fit."""
        lead = " " if text[:1].isspace() else ""
        for word in text.split():
            word = printable(word)
            if self._column + width_of(lead + word) > self.columns and self._column:
                self._next_row()
                lead = ""
            while width_of(word) > self.columns:
                taken = 1
                while width_of(word[: taken + 1]) <= self.columns:
                    taken += 1
                self._put(word[:taken], dye)
                self._next_row()
                word = word[taken:]
            self._put(lead + word, dye)
            lead = " "

    def _put(self, text: str, dye: str) -> None:
        before, self._column = self._column, self._column + width_of(text)
        self._draw(self._dyed(text, dye), at=before)

    def _next_row(self) -> None:
        if not self._typing:
            self._write("\n")
        self._column = 0
        self._draw("", new=True)

    def _draw(self, text: str, *, new: bool = False, at: int = 0) -> None:
        if not self._typing:
            self._write(text)
        elif new:
            self._write(f"{_CLEAR_LINE}{text}\n{self._prompt()}")
        else:
            self._write(f"{_CLEAR_LINE}{_UP}\x1b[{at + 1}G{text}\n{self._prompt()}")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
