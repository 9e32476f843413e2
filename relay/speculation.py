"""Asking ahead: the model is asked for an utterance that looks complete before its final prompt has come; pure.

Partial prompts tell the utterance from its beginning, some 300 ms apart, and the final one repeats the last of them.
So the model can be working while the recogniser makes up its mind. What it answers is kept back; no tool of it runs.

*Whether.* Words look complete when they end as a sentence does, in any script. Many recognisers put no marks into what
they are still listening to; then a few words look complete that do not end on one that wants another ("and", "the",
"is"), which is wrong often enough to cost tokens and right often enough to be worth them. Asked only while no turn is
in progress and no side effect running, because only then the history is known that the final prompt will meet. At most
``limit`` times a turn. When the caller goes on, and when nothing follows, it is dropped; a drop is a wasted request.

*The same turn.* What was asked ahead is used if the request the final prompt leads to is the same but for the spelling
of the caller's words: same instructions, same history as the model is shown it, same language, same ``wording``. That
is stricter than ``heard.reduce``, which is made for finding words and not for telling them apart: it holds on to what
changes the meaning (where a word ends, vowel signs, the point in 3.5, the sign in -5, %) and lets go only of what
recognisers put in by guess: case, marks of sentences, quotes, brackets, dashes between words, white space in scripts
that have none.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from relay.events import CancelTimer, DropSpeculation, Speculate, StartTimer
from relay.heard import words
from relay.items import AssistantItem, Item, UserItem
from relay.models.base import ModelRequest
from relay.speaking import Outbox
from relay.speech import UNSPACED

PATIENCE = 10.0  # seconds for which a final prompt is waited for
FEWEST_WORDS = 3  # of an utterance without a mark at its end,
FEWEST_SETTLED = 2  # and of one that was told twice

_ENDS = tuple(".!?。！？｡．؟۔।॥።፧։။។៕\u037e")
_GOES_ON = ("..", "…", "。。")
_CLOSING = "\"'”’»›」』)]） \t"
_WANT_MORE = {
    "en": """and or but because if so than as when while the a an my your his her our their this these those some any to
        of for with without from at in on by about into like is are was were be am can could would should will shall
        may might must do does did has have had i you we they he she who which whose not very""",
    "es": """y e o u pero porque que si como cuando mientras el la los las un una unos unas mi tu su nuestro nuestra
        este esta estos estas a al de del en con sin por para sobre es son está están era soy estoy hay he ha puedo
        puede podría quiero quiere debo debe yo nosotros ellos ellas él ella quien cual muy no""",
}
_WANTS_MORE = frozenset(word for listed in _WANT_MORE.values() for word in listed.split())
_SPOKEN = "%‰&@#*/\\"  # punctuation by Unicode's account, a word to a speaker
_UNWANTED_SPACE = re.compile(f"(?<=[{UNSPACED}]) (?=[{UNSPACED}])")


def looks_complete(text: str, *, settled: bool) -> bool:
    """Whether an utterance is likely to be at its end. ``settled``: it was told twice in a row without a change."""
    said = [word for word, _ in words(text)]
    end = text.rstrip(_CLOSING)
    if not said or end.endswith(_GOES_ON):
        return False
    if end.endswith(_ENDS):
        return True
    fewest = FEWEST_SETTLED if settled else FEWEST_WORDS
    # After a comma, a colon or a dash there is more to come.
    return len(said) >= fewest and _stands(end, len(end) - 1) and said[-1] not in _WANTS_MORE


def wording(text: str) -> str:
    """The words alone: equal for two texts that say the same, whatever their spelling."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(
        character if _stands(text, at) else "" if unicodedata.category(character) == "Cf" else " "
        for at, character in enumerate(text)
    )
    return _UNWANTED_SPACE.sub("", " ".join(kept.split()))


def _stands(text: str, at: int) -> bool:
    """Whether this character is part of a word."""
    character = text[at]
    if character.isalnum() or character in _SPOKEN or unicodedata.category(character)[0] in "MS":
        return True
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if character == "'":
        return before.isalnum() and after.isalnum()
    return (before.isdigit() or (character == "-" and not before.isalnum())) and after.isdigit()


def same_turn(ahead: ModelRequest, final: ModelRequest) -> bool:
    """Whether the answer to what was asked ahead is an answer to this request."""
    if len(ahead.items) != len(final.items) or replace(ahead, items=()) != replace(final, items=()):
        return False
    *before, guessed = ahead.items
    *history, said = final.items
    if not (isinstance(guessed, UserItem) and isinstance(said, UserItem)):
        return False
    if (wording(guessed.text), guessed.lang) != (wording(said.text), said.lang):
        return False
    return [_shown(item) for item in before] == [_shown(item) for item in history]


def _shown(item: Item) -> Item | str:
    """What a model is shown of an item: of an agent's words neither how far they were heard nor when."""
    return item.text if isinstance(item, AssistantItem) else item


class Speculation:
    """Watches the partial prompts of a call. ``limit``: requests ahead of one turn, 0 for none at all."""

    def __init__(self, limit: int, outbox: Outbox) -> None:
        self._limit = self._left = limit
        self._out = outbox
        self._told: tuple[str, str] | None = None  # what the last partial prompt said
        self._asked: tuple[str, str] | None = None  # what is being asked ahead

    def partial(self, said: UserItem, *, free: bool) -> None:
        """Words that are still being recognised. ``free``: the final prompt would be answered with no history but that
        of now."""
        if not self._limit:
            return
        told = wording(said.text), said.lang
        settled, self._told = told == self._told, told
        if told == self._asked:
            return
        self.drop()
        if free and self._left and looks_complete(said.text, settled=settled):
            self._left -= 1
            self._asked = told
            self._out.add(Speculate(said), StartTimer("speculation", PATIENCE))

    def final(self) -> None:
        """The final prompt: with the turn that follows it is seen whether what was asked ahead is used."""
        self._left, self._told = self._limit, None
        if self._asked is not None:
            self._asked = None
            self._out.add(CancelTimer("speculation"))

    def drop(self) -> None:
        """What was asked ahead, if anything was, is not what the caller says, or not said to what they heard."""
        if self._asked is not None:
            self._asked = None
            self._out.add(CancelTimer("speculation"), DropSpeculation())
