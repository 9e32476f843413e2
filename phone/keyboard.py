"""Lines typed by a person while the screen is being written to."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import termios
import tty
from types import TracebackType
from typing import Self

from phone.screen import Screen

_ENTER, _ERASE, _ERASE_LINE, _END, _ESCAPE = "\r\n", "\x7f\b", "\x15", "\x04", "\x1b"
MOST_LINES = 100


class Keyboard:
    """Reads a terminal, or with ``live=False`` anything that can be waited for, line by line.

    Live: keys arrive one by one and are shown through the screen, so that what the agent says never tears the line
    being typed. Leaving the context gives the terminal back as it was. Ctrl-C stays a signal.
    """

    def __init__(self, fd: int, screen: Screen, *, live: bool) -> None:
        self._fd = fd
        self._screen = screen
        self._live = live
        self._saved: list[int | list[bytes | int]] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._typed = ""
        self._in_escape = False
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(MOST_LINES)

    async def line(self) -> str | None:
        """The next line, None at the end of input. May be cancelled; no line is lost."""
        return await self._lines.get()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._live:
            self._saved = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
            self._screen.typing("")
            loop.add_signal_handler(signal.SIGCONT, self._come_back)
        loop.add_reader(self._fd, self._readable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        self._screen.stop_typing()
        if self._saved is not None:
            loop.remove_signal_handler(signal.SIGCONT)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def _come_back(self) -> None:
        # The shell set the terminal its own way while this process was stopped.
        tty.setcbreak(self._fd)
        self._screen.typing(self._typed)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._enter()
            self._put(None)
            return
        for char in self._decoder.decode(data):
            self._key(char)
        if self._live:
            self._screen.typing(self._typed)

    def _key(self, char: str) -> None:
        if char in _ENTER:
            self._in_escape = False
            self._enter()
        elif self._in_escape:
            # Arrow and function keys: ESC [ ... letter or ~.
            self._in_escape = not (char.isalpha() and char != "O") and char != "~"
        elif not self._live:
            self._typed += char
        elif char == _ESCAPE:
            self._in_escape = True
        elif char in _ERASE:
            self._typed = self._typed[:-1]
        elif char == _ERASE_LINE:
            self._typed = ""
        elif char == _END and not self._typed:
            self._put(None)
        elif char.isprintable():
            self._typed += char

    def _enter(self) -> None:
        typed, self._typed = self._typed, ""
        if typed:
            self._put(typed)

    def _put(self, line: str | None) -> None:
        # A hundred lines nobody has read are a stuck call; what is pasted beyond them is dropped.
        if not self._lines.full():
            self._lines.put_nowait(line)
        elif line is None:
            self._lines.get_nowait()
            self._lines.put_nowait(None)
