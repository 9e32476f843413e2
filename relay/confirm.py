"""Tools that ask before they act: which calls have the caller's consent; pure.

A model's call of such a tool is not carried out: its result tells the model to ask. Consent is what the record shows
after it: words of the agent, then words or keys of the caller. The equal call made then is carried out. So a model
cannot consent by itself, a bare interrupt is no answer, and other arguments are another question. What the caller
answered is the model's to judge, but for a plain "no" in English or Spanish, which is one in any case.

What another tool's result has the model offer ("Would you like it as a text message?") is such a question as well, so
that nobody is asked twice.

On the phone this is known to one session: a resumed call asks again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from relay.items import AssistantItem, Item, NoteItem, UserItem
from relay.keypad import PRESSED
from relay.toolbox import ToolOutcome

ANSWERS = 3  # times the caller may say something until the question is taken to be forgotten

ASK_FIRST = ToolOutcome(
    orjson.dumps(
        {
            "status": "confirmation_needed",
            "message": "Nothing has been done yet. Ask the caller now, in one short question, whether to do this. If "
            "they agree, call the tool again with exactly the same arguments. If they do not, leave it.",
        }
    ).decode(),
    ok=False,  # what is to follow a deed must not follow a question
)

_NO = re.compile(
    r"(?:(?:oh|um|uh|eh) )?(?:no|nope|nah|never mind|not now|please don'?t|don'?t|do not|ahora no|mejor no|para nada)"
    r"(?: (?:no|thanks|thank you|please|not now|it'?s fine|it'?s ok(?:ay)?|that'?s ok(?:ay)?|don'?t|do not"
    r"|gracias|por favor|señor|señora|está bien|ahora no|mejor no))*"
)

Wish = tuple[str, str]
"""A tool and its arguments in one spelling."""


class Confirmations:
    """``items``: the record, by position, as it grows."""

    def __init__(self, items: Mapping[int, Item]) -> None:
        self._items = items
        self._asked: dict[Wish, tuple[int, int]] = {}  # (turn, position of the call)
        self._given: tuple[int, set[Wish]] = (0, set())  # what was begun in this turn

    def given(self, wish: Wish, turn: int) -> bool:
        """Whether the caller has agreed to this, as far as the record can tell."""
        if (turn, True) == (self._given[0], wish in self._given[1]):
            return True
        asked = self._asked.get(wish)
        return asked is not None and 0 < self._answers(asked[1]) <= ANSWERS

    def ask(self, wish: Wish, turn: int, position: int) -> None:
        """The caller is to be asked. Questions of earlier turns about the same tool are void."""
        self._asked = {w: asked for w, asked in self._asked.items() if w[0] != wish[0] or asked[0] == turn}
        self._asked[wish] = turn, position

    def use(self, wish: Wish, turn: int) -> None:
        """It is begun: that uses the consent up, but for trying again in the same turn."""
        self._asked.pop(wish, None)
        if self._given[0] != turn:
            self._given = turn, set()
        self._given[1].add(wish)

    def _answers(self, position: int) -> int:
        """How often the caller has said or keyed something since the agent spoke after this position."""
        spoken, answers = False, 0
        for number, item in sorted(self._items.items()):
            if number > position:
                if spoken and _is_no(item):
                    return 0
                spoken = spoken or (isinstance(item, AssistantItem) and not item.aside)
                answers += spoken and _from_caller(item)
        return answers


def _is_no(item: Item) -> bool:
    """Words that say no and nothing else."""
    if not isinstance(item, UserItem):
        return False
    return _NO.fullmatch(" ".join(re.findall(r"[\w']+", item.text.casefold().replace("’", "'")))) is not None


def _from_caller(item: Item) -> bool:
    return isinstance(item, UserItem) or (isinstance(item, NoteItem) and item.text.startswith(PRESSED))
