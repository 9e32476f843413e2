"""A reply of so many words at the most: ended behind a sentence while it is being written; pure.

Words go on at once as long as there is room for a sentence behind them. From then on only whole sentences do, so that
what has been shown never has to be taken back. Where one sentence is longer than all the room, it is cut behind a word.
"""

from __future__ import annotations

import re

ROOM = 40  # words before the limit from which on only whole sentences are let through

_CLOSING = r"[\"'”’»」』）)\]]*"
_SENTENCE = re.compile(rf"[.!?…]{_CLOSING}(?=\s)|[。！？]{_CLOSING}")
_ENDED = re.compile(rf"[.!?…。！？]{_CLOSING}$")
_WORD = re.compile(r"\S+")
# Written without spaces: two of these are counted as a word.
_WIDE = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")


def count_words(text: str) -> int:
    """What stands between spaces; in scripts that have none, two characters a word."""
    if text.isascii() or not _WIDE.search(text):
        return len(text.split())
    return sum(max(1, (len(_WIDE.findall(word)) + 1) // 2) for word in text.split())


class WordLimit:
    """``most``: words. ``text``: what was let through so far, which never ends in space. ``full``: nothing more will
    be."""

    __slots__ = ("_free", "_held", "_most", "full", "text")

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most - min(ROOM, most // 2)
        self._held = ""
        self.text = ""
        self.full = False

    def feed(self, delta: str) -> str:
        """What may be shown now that this has been written."""
        if self.full or not delta:
            return ""
        self._held += delta
        shown = self.text + self._held
        words = count_words(shown)
        if words <= self._free:
            return self._let(len(self._held.rstrip()))
        if words <= self._most:
            ends = [found.end() for found in _SENTENCE.finditer(self._held)]
            return self._let(ends[-1]) if ends else ""
        return self._cut()

    def end(self) -> str:
        """The rest, once nothing more is written."""
        if self.full:
            return ""
        rest = self._let(len(self._held.rstrip()))
        self.full = True
        return rest

    def _let(self, length: int) -> str:
        piece, self._held = self._held[:length], self._held[length:]
        if not self.text:
            piece = piece.lstrip()
        self.text += piece
        return piece

    def _cut(self) -> str:
        """There are more words than may be."""
        self.full = True
        fits = [
            found.end()
            for found in _SENTENCE.finditer(self._held)
            if count_words(self.text + self._held[: found.end()]) <= self._most
        ]
        if fits:
            return self._let(fits[-1])
        if _ENDED.search(self.text):
            return ""
        return self._let(self._words_that_fit()) + self._close()

    def _words_that_fit(self) -> int:
        last = 0
        for found in _WORD.finditer(self._held):
            if count_words(self.text + self._held[: found.end()]) > self._most:
                break
            last = found.end()
        if not last and not self.text:  # one word that is longer than all: it has no spaces
            while last < len(self._held) and count_words(self._held[: last + 1]) <= self._most:
                last += 1
        return last

    def _close(self) -> str:
        self.text += "…"
        return "…"


__all__ = ["WordLimit", "count_words"]
