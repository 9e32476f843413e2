"""From what a model writes to what is spoken: whole words, no markup. Pure, streaming, on the path of every token.

Words are let go when the white space after them (or the end) is seen; characters of scripts written without spaces
(Chinese, Japanese, Thai, Lao, Khmer, Burmese) at once, each. White space goes out in front of the word it precedes, as
in a model's own tokens, so joining everything that came out gives the text with its spacing. ``spoken.py`` says what
becomes of a word. This file knows what lines and links mean:

- marks at the start of a line are left out: headings, block quotes, list marks (an ordered list's numbers too, but only
  1 and what counts on from it, so that the answer "42. Anything else?" keeps its number), rules, fences of code;
- a table's cells are joined by commas, its rule is left out;
- ``[text](address)`` and ``[text][note]`` are the text, ``![alt](address)`` is the alternative text.

Nothing waits longer than one unfinished word (at most ``MAX_WORD`` characters) or one bracket that can still become a
link (at most ``MAX_LINK_TEXT`` characters of text, on one line). What comes out does not depend on how the text was cut
into pieces. Code is treated as prose.
"""

from __future__ import annotations

import re

from relay.spoken import Emphasis, spoken_word

MAX_WORD = 1000
MAX_LINK_TEXT = 200
MAX_GAP = 100  # characters of white space between two words
MAX_DEPTH = 3  # brackets within brackets; a picture in a link has two

# Scripts whose words are not set apart by spaces, with their punctuation and full-width forms.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3001-\u312f\u31a0-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"[{UNSPACED}]")
_TOKEN = re.compile(rf"(\s*)(?:([{UNSPACED}])|([^\s{UNSPACED}]+))")
# All that may be in a text which `feed` can let go without a closer look, once a line has begun.
_SPECIAL = re.compile(
    r"[^A-Za-z .,'0-9?!\"#$%&()+\-:;<=>^{}"
    r"\u00a1-\u0dff\u1100-\u11ff\u1e00-\u1fff\u2010-\u2027\u2030-\u203b\u20a0-\u20bf\uac00-\ud7a3]"
)

_RULE = re.compile(r":?-{3,}:?|\*{3,}|_{3,}|={3,}|~{3,}|`{3,}")
_HEADING = re.compile(r"#{1,6}")
_BULLET = re.compile(r"[-*+–•‣◦●○▪·]")
_ORDINAL = re.compile(r"(\d{1,3})[.)]")
_QUOTE = re.compile(r">+(?![\d=])")
_CELL_RULE = re.compile(r":?-{2,}:?|:-+:?|-+:")

_BRACKET = re.compile(r"[\[\]\n]")
_NOTE = re.compile(r"\[[^\[\]\n]{0,200}\]")
_NOTE_BEGUN = re.compile(r"\[[^\[\]\n]{0,200}")
_TARGET = re.compile(r"\([^\s()]{0,1000}(?:\([^\s()]{0,200}\)[^\s()]{0,200})?(?: \"[^\"\n]{0,200}\")?\)")
_TARGET_BEGUN = re.compile(r"\([^\s()]{0,1000}(?:\([^\s()]{0,200}(?:\)[^\s()]{0,200})?)?(?: (?:\"[^\"\n]{0,200}\"?)?)?")
# Takes the place of a picture without a description: a word of which nothing is spoken.
_NOTHING = "\ufe0f"

Link = tuple[int, str, int]
"""Where it begins, what is spoken of it, where it ends."""


class Speech:
    """The spoken form of one utterance. Feed it the model's pieces; say what comes back, unless it is empty."""

    __slots__ = (
        "_cells",
        "_checked",
        "_comma",
        "_emphasis",
        "_gap",
        "_held",
        "_line_start",
        "_number",
        "_plain",
        "_row",
        "_spoken",
    )

    def __init__(self) -> None:
        self._held = ""  # white space and the unfinished word after it
        self._checked = 0  # characters of it in which no link begins
        self._plain = False  # what comes next depends on the held text alone
        self._spoken = False
        self._line_start = True
        self._gap: str | None = None  # white space before something that was left out
        self._number = 0  # of the last item of an ordered list
        self._row = self._cells = self._comma = False  # in a table's row; a cell of it was spoken; a bar came since
        self._emphasis = Emphasis()

    def feed(self, delta: str) -> str:
        """What may be spoken now that ``delta`` is known: whole words, each after its white space; maybe nothing."""
        text = self._held + delta
        if self._plain and not _SPECIAL.search(text) and "  " not in text and "www." not in text:
            cut = text.rfind(" ")
            if cut > 0:
                self._held = text[cut:]
                return text[:cut]
            if len(text) <= MAX_WORD:
                self._held = text
                return ""
        return self._release(text, final=False)

    def finish(self) -> str:
        """The rest. White space at the very end is left out, so an output is never white space alone."""
        return self._release(self._held, final=True)

    def _release(self, text: str, final: bool) -> str:
        out: list[str] = []
        position, checked = 0, self._checked
        while token := _TOKEN.match(text, position):
            start, end = token.end(1), token.end()
            unspaced = token.lastindex == 2
            if "[" in token[0]:
                link = _find_link(text, start, max(start, checked), end, final)
                if not isinstance(link, int):
                    begin, inner, rest = link
                    text = text[:begin] + inner + text[rest:]
                    continue
                checked = link
                if checked < end and checked - start <= MAX_WORD:
                    break
            if end - start > MAX_WORD:
                end = start + MAX_WORD
            elif end == len(text) and not final and not unspaced:
                break
            out.append(self._word(token[1], text[start:end], text[end : end + 1], unspaced))
            position = end
        held = "" if final else text[position:]
        if len(held) > MAX_GAP and (gap := len(held) - len(held.lstrip())) > MAX_GAP:
            held = held[:MAX_GAP] + held[gap:]
            position += gap - MAX_GAP
        self._held = held
        self._checked = max(0, checked - position)
        self._plain = not (self._line_start or self._row or self._gap is not None)
        return "".join(out)

    def _word(self, gap: str, word: str, after: str, unspaced: bool) -> str:
        """What to say for a complete word, its white space in front; "" if it is left out."""
        gap = gap[:MAX_GAP]
        if "\n" in gap:
            self._line_start = True
            self._row = self._cells = self._comma = False
            if gap.count("\n") > 1:
                self._emphasis.reset()
        if self._gap is not None:
            gap = _between(self._gap, gap) if self._spoken else self._gap
        if self._line_start:
            word = self._without_mark(word, after)
            self._line_start = not word
        glued = not unspaced and (_CHARACTER.match(after) is not None or (self._spoken and not gap))
        if self._row or word == "|":
            spoken = self._cells_in(word, gap, glued)
        elif spoken := spoken_word(word, self._emphasis, glued):
            # The full stop of "Hello 😀." goes to the word before.
            spoken = spoken if spoken[0] in ".,!?" and word[0] > "\u00a8" else gap + spoken
        if spoken:
            self._gap, self._spoken = None, True
        else:
            self._gap = gap
        return spoken

    def _without_mark(self, word: str, after: str) -> str:
        """The first word of a line without a mark of Markdown; "" if it was nothing else."""
        if _RULE.fullmatch(word) or (word.startswith(("```", "~~~")) and after in ("\n", "\r")):
            return ""
        if after.isspace():
            ordinal = _ORDINAL.fullmatch(word)
            if ordinal and after not in "\r\n" and int(ordinal[1]) in (1, self._number + 1):
                self._number = int(ordinal[1])
                return ""
            if _BULLET.fullmatch(word) or _QUOTE.fullmatch(word) or (after not in "\r\n" and _HEADING.fullmatch(word)):
                return ""
        quote = _QUOTE.match(word)
        if quote and quote.end() < len(word):
            return self._without_mark(word[quote.end() :], after)
        self._row = word[0] == "|" and word != "||"
        return word

    def _cells_in(self, word: str, gap: str, glued: bool) -> str:
        """A word of a table's row: a bar ends a cell, and the next cell begins with a comma."""
        if not self._row:  # the row did not begin with a bar, so a cell has been spoken
            self._row = self._cells = True
        out = ""
        for number, part in enumerate(word.split("|")):
            if number:
                self._comma = self._cells
            if part and not _CELL_RULE.fullmatch(part) and (spoken := spoken_word(part, self._emphasis, glued)):
                out += ("," if self._comma else "") + (" " if out else gap) + spoken
                self._cells, self._comma = True, False
        return out


def _between(before: str, after: str) -> str:
    """The white space that stays where something between two runs of it was left out: the one with more line ends."""
    return before if before and before.count("\n") >= after.count("\n") else after


def _find_link(text: str, word: int, start: int, end: int, final: bool) -> Link | int:
    """The first link or picture that begins from start to end, in the word that begins at ``word``.

    Else the place before which there is none: ``end``, or the bracket about which more of the text is needed to tell.
    """
    opening = text.find("[", start, end)
    while opening >= 0:
        link = () if text[max(word, opening - 1)] == "\\" else _link_at(text, word, opening, final)
        if link is None:
            return opening
        if link:
            return link
        opening = text.find("[", opening + 1, end)
    return end


def _link_at(text: str, word: int, opening: int, final: bool) -> Link | tuple[()] | None:
    """The link or picture of this bracket, () if it is none, None if that cannot be told yet."""
    unknown = () if final else None
    depth, limit = 1, opening + 1 + MAX_LINK_TEXT
    for bracket in _BRACKET.finditer(text, opening + 1, limit):
        if bracket[0] == "\n" or depth > MAX_DEPTH:
            return ()
        depth += 1 if bracket[0] == "[" else -1
        if not depth:
            break
    else:
        return () if len(text) >= limit else unknown
    target = bracket.end()
    before = text[opening - 1] if opening > word else ""
    if target == len(text):
        return unknown
    if text[target] == "(":
        whole, begun = _TARGET, _TARGET_BEGUN
    elif text[target] == "[" and not before.isalnum():
        whole, begun = _NOTE, _NOTE_BEGUN
    else:
        return ()
    if found := whole.match(text, target):
        return opening - (before == "!"), text[opening + 1 : target - 1].strip() or _NOTHING, found.end()
    return unknown if begun.fullmatch(text, target) else ()
