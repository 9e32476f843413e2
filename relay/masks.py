"""What callers key in for a tool never leaves the process: it is masked in whatever is stored.

The model of the running call sees the keys, for it has to hand them to other tools. A call that is taken up again, in
this process or another, sees the mask, and is told to ask anew. Masked is every place where the same keys stand in a
row, whatever is between them ("1234", "1 2 3 4", "1-2-3-4"), and the beginning of them where a text breaks off. Fewer
than ``LEAST`` keys are masked in the result of the tool that got them alone: elsewhere they are anything. Words ("one
two three") are left.
"""

from __future__ import annotations

import json
import re
from typing import Any

from relay.heard import whole_words, words
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem, replace

MASK = "••••"
LEAST = 3  # keys that are masked wherever they stand
NOT_KEPT = "The digits are not kept. If you still need them, ask the caller to key them in again."

_BETWEEN = "[^0-9A-Za-z]{0,3}?"


class Masks:
    """The keys of one session's collections. Lives as long as the session; its repr tells nothing."""

    def __init__(self) -> None:
        self._own: dict[int, str] = {}  # by the position of the tool's item: what it got last
        self._secrets: list[str] = []
        self._pattern: re.Pattern[str] | None = None

    def add(self, position: int, keys: str) -> None:
        """The tool whose item stands at this position has got these keys."""
        if not keys:
            return
        self._own[position] = keys
        if len(keys) >= LEAST and keys not in self._secrets:
            self._secrets.append(keys)
            self._secrets.sort(key=len, reverse=True)
            self._pattern = re.compile("|".join([*map(_whole, self._secrets), *map(_broken_off, self._secrets)]))

    def item(self, position: int, item: Item | None) -> Item | None:
        """The item as it may be stored; the same object where there is nothing to mask."""
        own = self._own.get(position, "")
        if self._pattern is None and not own:
            return item
        match item:
            case UserItem() | NoteItem():
                masked = self.text(item.text)
                return item if masked == item.text else replace(item, text=masked)
            case AssistantItem():
                return self._said(item)
            case ToolItem():
                arguments, output = self.json(item.arguments), self.json(item.output, own)
                if (arguments, output) == (item.arguments, item.output):
                    return item
                return replace(item, arguments=arguments, output=output)
            case None:
                return None

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def json(self, text: str, own: str = "") -> str:
        """JSON text, which stays JSON; what is no JSON is masked as text. ``own``: keys that are masked where they are
        all of a value, few as they may be; then whoever reads it is told."""
        if self._pattern is None and not own:
            return text
        try:
            value = json.loads(text)
            masked = self._value(value, own)
            if masked == value:
                return text
            if own and isinstance(masked, dict):
                masked["not_kept"] = NOT_KEPT
            return json.dumps(masked, ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            return self.text(text)

    def _value(self, value: Any, own: str) -> Any:
        match value:
            case str():
                return MASK if own and value == own else self.text(value)
            case bool() | None:
                return value
            case int() | float():
                return MASK if self._is_number(value, own) else value
            case list():
                return [self._value(each, own) for each in value]
            case dict():
                return {self.text(name): self._value(each, own) for name, each in value.items()}
        return value

    def _is_number(self, value: float, own: str) -> bool:
        """Whether it is a secret, or has one in it. A number has lost the zeros its keys began with."""
        digits = str(value)
        if digits == own or self.text(digits) != digits:
            return True
        return any(len(short := secret.lstrip("0")) >= LEAST and digits == short for secret in self._secrets)

    def _said(self, item: AssistantItem) -> AssistantItem:
        masked, sent = self.text(item.text), self.text(item.sent)
        if (masked, sent) == (item.text, item.sent):
            return item
        heard = sum(1 for _ in words(self.text(whole_words(item.text, item.heard))))
        return replace(item, text=masked, heard=heard, sent=sent)


def _whole(keys: str) -> str:
    return _BETWEEN.join(map(re.escape, keys))


def _broken_off(keys: str) -> str:
    """At the end of a text: the first ``LEAST`` keys, and more of them."""
    more = ""
    for key in reversed(keys[LEAST:]):
        more = f"(?:{_BETWEEN}{re.escape(key)}{more})?"
    return rf"{_whole(keys[:LEAST])}{more}\W*\Z"
