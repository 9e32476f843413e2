"""What a conversation consists of: engine-neutral items, the same for every model API and every channel.

A tool's call and its result are one item, so no prefix of a conversation can hold a call without a result. Items are
frozen; a change (a reply cut to what was heard, a placeholder replaced by a result) is a new item at the same position.

Stored form: one JSON object with the version ``v``, e.g. ``{"v":1,"type":"user","text":"Hi","lang":"en-US"}``. How it
may change is told in ``versions.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from relay import versions

VERSION = 1

AssistantStatus = Literal["open", "done", "interrupted", "superseded"]
ToolStatus = Literal["running", "done", "failed", "interrupted", "unknown"]
MOVING = "moving"  # the line that bridges the way to another process
OPERATOR = "operator"  # words of somebody who watches the call
ASIDES = ("filler", "progress", "repeat", MOVING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """``more``: fields of a newer version, which mean nothing here and are written back as they were."""

    more: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class UserItem(_Stored):
    """What a person said or wrote in one turn."""

    text: str
    lang: str = ""

    def __repr__(self) -> str:
        return f"UserItem({len(self.text)} chars, lang={self.lang!r})"


@dataclass(frozen=True, slots=True)
class AssistantItem(_Stored):
    """What was said to the person; ``text`` is what was sent, or the part of it that was heard once that is known.

    ``open``: still being sent or played. ``heard`` (with ``open``): number of leading words known to be played.
    ``started``: epoch milliseconds of the first frame, 0 if unknown. ``origin``: "" for the model's words, otherwise
    "greeting", "keypad", "filler", "progress", "repeat", "operator", or the name of the line: "apology", "moving" ...
    ``sent``: all that was sent, where not all of it was heard; for reports, a model is never shown it.
    """

    text: str
    status: AssistantStatus = "done"
    heard: int = 0
    started: int = 0
    origin: str = ""
    sent: str = field(default="", compare=False)

    @property
    def aside(self) -> bool:
        """Said while something else took its time: the transcript has it, a model is not shown it."""
        return self.origin in ASIDES

    def __repr__(self) -> str:
        return f"AssistantItem({len(self.text)} chars, {self.status})"


@dataclass(frozen=True, slots=True)
class ToolItem(_Stored):
    """A tool call with its result. ``arguments`` and ``output`` are JSON text; ``round`` groups parallel calls."""

    call_id: str
    name: str
    arguments: str
    output: str
    status: ToolStatus = "done"
    round: int = 0

    def __repr__(self) -> str:
        return f"ToolItem({self.name}, {self.status})"


@dataclass(frozen=True, slots=True)
class NoteItem(_Stored):
    """Something the model is told about the conversation that nobody said: a key press, a reply that was cut."""

    text: str

    def __repr__(self) -> str:
        return f"NoteItem({len(self.text)} chars)"


Item = UserItem | AssistantItem | ToolItem | NoteItem


def last_of(items: Sequence[Item]) -> Item | None:
    """The last that is no aside."""
    return next((each for each in reversed(items) if not (isinstance(each, AssistantItem) and each.aside)), None)


_TYPES: dict[str, type[Item]] = {
    "user": UserItem,
    "assistant": AssistantItem,
    "tool": ToolItem,
    "note": NoteItem,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def dump_item(item: Item) -> bytes:
    fields = {name: getattr(item, name) for name in item.__dataclass_fields__ if name != "more"}
    return versions.dump({"type": _NAMES[type(item)], **fields, **(item.more or {})}, VERSION)


def load_item(raw: bytes | str) -> Item | None:
    """The item, or None for one this program cannot read (a newer version's): the rest of a history stays usable."""
    data = versions.load(raw, VERSION)
    cls = _TYPES.get(str(data.pop("type", ""))) if data is not None else None
    if data is None or cls is None:
        return None
    data.pop("p", None)  # its position, which the store writes
    known = {}
    for name, each in cls.__dataclass_fields__.items():
        if name != "more" and name in data:
            known[name] = data.pop(name)
            if type(known[name]) is not (int if each.type == "int" else str):
                return None
    try:
        return cls(**known, more=data or None)
    except TypeError:
        return None  # something is missing


__all__ = ["AssistantItem", "Item", "NoteItem", "ToolItem", "UserItem", "dump_item", "last_of", "load_item", "replace"]
