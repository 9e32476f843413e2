"""Where a reply that grows too long is ended: behind a sentence, else behind a word; pure."""

from __future__ import annotations

import re

ROOM = 200  # characters before the limit among which the end of a sentence is looked for; half of them if that is less

_CLOSING = r"[\"'”’」』）)\]]*"
_SENTENCE = re.compile(rf"[.!?…]{_CLOSING}(?=\s)|[。！？]{_CLOSING}")
_ENDED = re.compile(rf"[.!?…。！？]{_CLOSING}\s*$")
_LONGEST_END = 8


class Length:
    """``limit``: characters of the longest reply. ``free``: while a reply is no longer than that, nothing is looked
    at."""

    __slots__ = ("_limit", "free")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.free = limit - min(ROOM, limit // 2)

    def fit(self, said: str, text: str, length: int) -> int | None:
        """How many characters of ``text`` end the reply, None if it goes on behind them all. ``said``: what stands
        before it; ``length``: of the whole reply with it."""
        before = length - len(text)
        most, least = self._limit - before, self.free - before
        if least <= 0 and _ENDED.search(said, max(0, len(said) - _LONGEST_END)):
            return 0
        for end in _SENTENCE.finditer(text, max(0, least - _LONGEST_END), max(0, most + 1)):
            if least <= end.end() <= most:
                return end.end()
        if len(text) <= most:
            return None
        if most <= 0:
            return 0
        word = max(text.rfind(" ", 0, most + 1), text.rfind("\n", 0, most + 1))
        # A first word that is longer than a whole reply is cut.
        return word if word > 0 or (word == 0 and before) else most
