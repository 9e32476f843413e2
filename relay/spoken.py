"""One written word, as it is to be spoken: no Markdown, no emoji, addresses in words. Pure.

- a bare address of the web is its host: ``https://www.example.com/menu?x=1`` -> ``example dot com``;
- an e-mail address is ``anna underscore b at example dot com`` (dots, dashes, underscores and plus signs in words);
- emoji go, with skin tones, joined families, flags, keycaps and variation selectors; text signs (``™``, ``→``) stay;
- ``*``, ``_``, ``~~`` and back quotes go where they are marks. They stay where they mean something: ``2 * 3``, ``2*3``,
  ``snake_case``, the star key (``*``, ``"*"``) and codes dialled with it (``*67``). ``#1`` and ``C#`` are left alone;
- a backslash before a punctuation mark goes, the mark stays.

A "word" is what stands between white space, or a run between characters of a script that is written without spaces.
"""

from __future__ import annotations

import re

_NOT_IN_URL = r"\s<>\"'`*|\\“”‘’«»"
_ADDRESS = re.compile(
    r"<?(?:(?:[hH][tT][tT][pP][sS]?|[fF][tT][pP])://|(?<!\w)www\.)"
    rf"(?P<url>[^{_NOT_IN_URL}]*[^{_NOT_IN_URL}.,;:!?)\]}}_~])>?"
    r"|<?(?:mailto:)?(?P<local>[^\W_][\w.+%-]*)@(?P<domain>(?:[^\W_]|-)+(?:\.(?:[^\W_]|-)*[^\W_])+)>?"
)
_HOST = re.compile(r"(?:[^/?#@]*@)?(?:www\.)?([^/?#:@]*)", re.IGNORECASE)
_SIGNS = re.compile(r"[._+-]")
_SIGN_NAMES = {".": " dot ", "_": " underscore ", "-": " dash ", "+": " plus "}

# Pictures by default; signs that are text unless U+FE0F follows (a heart on a card suit is a picture either way).
# Circled digits (U+2776-2793) and accidentals (U+266D-266F) inside these blocks are text and carry meaning.
_PICTURE = (
    "\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25aa\u25ab\u25fb-\u25fe\u2600-\u266c\u2670-\u26ff"
    "\u2700-\u2775\u2794-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff"
)
_SIGN = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u24c2\u25b6\u25c0"
    "\u2934\u2935\u3030\u303d\u3297\u3299"
)
_JOINED = "\u200d\ufe0e\ufe0f\U000e0020-\U000e007f"
_EMOJI = re.compile(
    f"(?:[0-9#*]\ufe0f?\u20e3|[{_PICTURE}][{_JOINED}]*|[{_SIGN}]\ufe0f\u200d?|[\ufe0e\ufe0f])+",
)
_MARKS = re.compile(r"(?<!\\)(?:\*+|_+)")
_KEY_OR_CODE = re.compile(r"[^\w*]*(?:[*_]|\*\d+(?:[*#]\d+)*#?)[^\w*]*")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ANYTHING = re.compile(f"[*_`~\\\\@/\ufe0e\ufe0f\u20e3{_PICTURE}]|www\\.")
_CLOSING = frozenset(".,;:!?)]}…”’»")


def address_in_words(address: str) -> str:
    """A host or one half of an e-mail address: ``my-shop.example.com`` -> ``my dash shop dot example dot com``."""
    return _SIGNS.sub(lambda sign: _SIGN_NAMES[sign[0]], address)


def _speak_address(match: re.Match[str]) -> str:
    if match["local"]:
        return f"{address_in_words(match['local'])} at {address_in_words(match['domain'])}"
    host = _HOST.match(match["url"])
    return address_in_words(host[1].strip(".")) if host else ""


def _leave_out_picture(match: re.Match[str]) -> str:
    """Nothing, or one space where the picture was all that kept two words apart."""
    text, (start, end) = match.string, match.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    return " " if after.isalnum() and (before.isalnum() or (before and before in _CLOSING)) else ""


class Emphasis:
    """Takes ``*`` and ``_`` marks off words and remembers which are open, because bold text may span words.

    An opening mark is taken off when it is seen, not when its closing mark is: holding the words in between back
    would cost time. A mark that is never closed is therefore lost, and no word ever is.
    """

    def __init__(self) -> None:
        self._open = {"*": 0, "_": 0}

    def reset(self) -> None:
        """Emphasis ends with its paragraph."""
        self._open = {"*": 0, "_": 0}

    def take_off(self, word: str, glued: bool = False) -> str:
        """``glued``: the word touches a character of a script without spaces, so even bare marks may be marks."""
        if _KEY_OR_CODE.fullmatch(word) or (not glued and not word.strip("*_")):
            return word
        return _MARKS.sub(lambda match: self._mark(match, glued), word)

    def _mark(self, match: re.Match[str], glued: bool) -> str:
        text, (start, end) = match.string, match.span()
        before, after = text[start - 1 : start], text[end : end + 1]
        kind, size, held = match[0][0], end - start, self._open[match[0][0]]
        inside = before.isalnum() and after.isalnum()
        if inside and (kind == "_" or (size == 1 and (not held or before.isdigit())) or (before + after).isdigit()):
            return match[0]
        if held and (glued or before) and (inside or not after.isalnum()):
            self._open[kind] = max(0, held - size)
            return match[0][held:]
        opens = bool(after) and after not in _CLOSING and (not inside or match[0] in text[end:])
        if opens or (glued and not after and size > 1):
            self._open[kind] += size
            return ""
        return match[0]


def spoken_word(word: str, emphasis: Emphasis, glued: bool = False) -> str:
    """The word as it is spoken, possibly several words, possibly nothing."""
    if not _ANYTHING.search(word):
        return word
    if "@" in word or "://" in word or "www." in word:
        word = _ADDRESS.sub(_speak_address, word)
    word = _EMOJI.sub(_leave_out_picture, word).replace("`", "").replace("~~", "")
    if "*" in word or "_" in word:
        word = emphasis.take_off(word, glued)
    return _ESCAPE.sub(r"\1", word) if "\\" in word else word
