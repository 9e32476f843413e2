"""Where a reply that broke off is joined to the one that takes it up: nothing said twice, no word in two halves. Pure.

The new request carries the words that were said and asks to go on. Models do as they like: one goes on, one begins the
sentence again, one the whole reply. So the beginning of what comes is compared with what was said, word by word (by
letters and digits, without case), and left out as far as it repeats the last words said.

A word that may not have been whole when the reply broke off is not said, and the new request does not carry it. Nearly
always the answer says it again, as its next word. Where it goes on behind it instead, which shows in the white space it
begins with, or says nothing more at all, the word was whole and is put before what comes.
"""

from __future__ import annotations

import re
from dataclasses import replace

from relay.heard import words
from relay.items import AssistantItem, NoteItem
from relay.models.base import ModelRequest
from relay.speech import MAX_WORD, UNSPACED

GO_ON = (
    "A technical fault cut your last answer off. The person has got exactly the words of it that stand above. Go on "
    "with the very next word: repeat nothing, and do not mention the fault. If the answer was complete, write nothing."
)

_WHOLE = re.compile(rf".*[\s{UNSPACED}]", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…。！？؟]['\"”’)\]]*$")


def going_on(request: ModelRequest, said: str) -> ModelRequest:
    """The same round once more, to be answered from where ``said`` ends; as it was where nothing was said."""
    if not said.strip():
        return request
    return replace(request, items=[*request.items, AssistantItem(said.strip()), NoteItem(GO_ON)])


class WholeWords:
    """Lets text go word by word: what was handed on when a stream breaks never ends within a word."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """All but the word that may still grow."""
        text = self._held + text
        cut = text.rfind(" ") + 1
        if not text.isascii() or not cut:
            found = _WHOLE.match(text)
            cut = found.end() if found else 0
        if not cut and len(text) > MAX_WORD:
            cut = len(text)
        self._held = text[cut:]
        return text[:cut]

    def rest(self) -> str:
        """The last word, at the end of the text."""
        rest, self._held = self._held, ""
        return rest

    def broken_off(self) -> tuple[str, str]:
        """The last word where the text breaks off: what can be told to be whole of it, as it ends a sentence, and what
        cannot."""
        rest = self.rest()
        return (rest, "") if _SENTENCE_END.search(rest) else ("", rest)


class Seam:
    """Takes the pieces (whole words) of an answer that goes on after ``said``; gives what is new of them.

    ``unfinished``: the word after ``said`` with which the reply broke off.

    What may be a repetition is held until it is known: until a word differs, or the end of what was said is reached.
    Of several ways to read it the longest repetition is taken. One equal letter or number is none: "5" may well follow
    "5".
    """

    __slots__ = ("_alive", "_count", "_gap", "_held", "_new", "_open", "_said", "_unfinished", "spaced")

    def __init__(self, said: str, unfinished: str = "") -> None:
        self.spaced: bool | None = None  # whether the answer begins with white space, once it has begun
        self._unfinished = unfinished
        self._said = [word for word, _ in words(said)]
        self._open = bool(self._said)
        self._alive = set(range(len(self._said)))  # where in what was said the answer may have begun
        self._count = 0  # words of the answer that have been compared
        self._held = ""
        self._new = 0  # where in the held text the new words begin, as far as is known
        # White space that is to stand between the two; scripts without any have none at the end of what was said.
        self._gap: str | None = " " if said and said[-1].isascii() and not said[-1].isspace() else ""

    def feed(self, text: str) -> str:
        if self.spaced is None:
            self.spaced = text[0].isspace()
        if not self._open:
            return self._joined(text)
        before = len(self._held)
        self._held += text
        for word, end in words(text):
            self._alive = {start for start in self._alive if self._said[start + self._count] == word}
            self._count += 1
            for start in [start for start in self._alive if start + self._count == len(self._said)]:
                self._alive.remove(start)
                if self._repeats(start):
                    self._new = before + end
            if not self._alive:
                return self._decided()
        return ""

    def finish(self) -> str:
        """The answer has ended: what was held of it. One that ends within what was said has repeated it."""
        if self._open and self._alive and self._count:
            self._open, self._held, self._unfinished = False, "", ""
        rest = self._decided() if self._open else ""
        if self._gap is not None and self._unfinished and self._said:
            rest, self._gap = self._gap + self._unfinished, None
        return rest

    @property
    def passed(self) -> bool:
        """Whether words of the answer have been given."""
        return self._gap is None

    def _repeats(self, start: int) -> bool:
        repeated = "".join(self._said[start:])
        return self._count > 1 or (len(repeated) > 1 and not repeated.isdigit())

    def _decided(self) -> str:
        self._open = False
        new, self._held = self._held[self._new :], ""
        return self._joined(new)

    def _joined(self, text: str) -> str:
        """The first new words get the white space that belongs between."""
        if self._gap is None or not text.strip():
            return text if self._gap is None else ""
        gap, self._gap = self._gap, None
        return gap + self._whole_after_all(text) + text.lstrip()

    def _whole_after_all(self, text: str) -> str:
        """The unfinished word, if ``text``, the first that is new, goes on behind it."""
        (unfinished, _), (first, _) = (next(words(each), ("", 0)) for each in (self._unfinished, text))
        goes_on = self.spaced and not self._new and not first.startswith(unfinished)
        return f"{self._unfinished} " if unfinished and goes_on else ""
