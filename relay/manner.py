"""How an agent talks and what it may do: what another agent, or a tool, changes while a call goes on; pure.

A call holds one ``Manner`` at a time and puts another in its place; what is the same for all of a call stands in
``rules.CallRules``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import orjson

from config.says import primary
from relay.keypad import Key
from relay.toolbox import ChangeKeys, ChangeTools

MULTI = "multi"
"""In place of a language's tag: the provider finds out which is spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """``line``: fixed words by (name, language); ``line_language``: the language they are in, as there may be none in
    the one asked for. ``fillers``: phrases for the time a tool takes, in a language; ``hold_sound``: the address of
    what is played while a long one runs, "" for nothing. ``keys``: what the phone's keys do at once. ``tools``: those
    its model may use, None for whatever there is.

    ``language``: the tag of what it speaks, and ``transcription`` of what is understood, unless told otherwise.
    ``languages``: tags of all that it may change to. ``follow_language``: it answers in the language of what was said
    last, where that is one of these. ``signals``: tools that its engine calls by itself, without being shown them; it
    is not told either what became of them."""

    line: Callable[[str, str], str]
    line_language: Callable[[str, str], str] = lambda name, language: language
    agent: str = ""
    fillers: Callable[[str], Sequence[str]] = lambda language: ()
    hold_sound: str = ""
    keys: Mapping[str, Key] = field(default_factory=dict)
    tools: tuple[str, ...] | None = None
    language: str = "en-US"
    transcription: str = "en-US"
    languages: tuple[str, ...] = ()
    follow_language: bool = False
    signals: tuple[str, ...] = ()

    def may_use(self, tool: str) -> bool:
        return self.tools is None or tool in self.tools

    def declared(self, language: str) -> str:
        """The tag of its own that is meant by this one: the same, or another of the same language; "" for none."""
        tags = [self.language, *self.languages]
        same = [tag for tag in tags if tag.casefold() == language.casefold()]
        return next(iter(same or [tag for tag in tags if language and primary(tag) == primary(language)]), "")

    def understood(self, spoken: str) -> str:
        """What the recogniser is set to where this is spoken."""
        return self.transcription if MULTI in (self.transcription, spoken) or spoken == self.language else spoken

    def with_tools(self, change: ChangeTools) -> Manner:
        """What is added and removed at once is removed."""
        tools = tuple(dict.fromkeys([*(self.tools or ()), *change.add]))
        return replace(self, tools=tuple(tool for tool in tools if tool not in change.remove))

    def with_keys(self, change: ChangeKeys) -> Manner:
        keys = {**self.keys, **change.add}
        return replace(self, keys={digit: key for digit, key in keys.items() if digit not in change.remove})


def dump_changes(manner: Manner, own: Manner) -> dict[str, str]:
    """What tools have changed of an agent's ``own`` manner, as texts: for another process that takes the call up."""
    keys = None if manner.keys == own.keys else {digit: asdict(key) for digit, key in manner.keys.items()}
    return {
        "tools": "" if manner.tools == own.tools else orjson.dumps(manner.tools).decode(),
        "keys": "" if keys is None else orjson.dumps(keys).decode(),
    }


def load_changes(own: Manner, stored: Mapping[str, str], knows: Callable[[str], bool]) -> Manner:
    """The agent's manner with these changes made anew. What cannot be read, and tools nobody ``knows`` here (another
    release may have stored them), are left out."""
    manner = own
    tools, keys = _read(stored.get("tools", "")), _read(stored.get("keys", ""))
    if isinstance(tools, list):
        manner = replace(manner, tools=tuple(tool for tool in tools if isinstance(tool, str) and knows(tool)))
    if isinstance(keys, dict):
        read = {digit: key for digit, fields in keys.items() if (key := _key(fields)) is not None}
        manner = replace(manner, keys={digit: key for digit, key in read.items() if not key.tool or knows(key.tool)})
    return manner


def _read(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _key(stored: object) -> Key | None:
    if not isinstance(stored, dict):
        return None
    try:
        key = Key(**{name: stored[name] for name in Key.__dataclass_fields__ if name in stored})
    except TypeError:
        return None
    if not isinstance(key.says, dict):
        return None
    texts = (key.say, key.tool, key.arguments, *key.says, *key.says.values())
    return key if all(isinstance(text, str) for text in texts) else None
