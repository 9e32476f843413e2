"""The rules of an agent's ``rehearsal.toml``: what a model says when there is none.

    first = "..."                    said once a conversation, before the first other words
    otherwise = ["...", "..."]       when no rule applies, one after the other
    told = 'topic: (?P<topic>.+)'    a regular expression on the instructions: what it takes is known to all rules

    [[rules]]                        the first rule that applies is played
    hear = "my name is {first_name}" words in what was said last ({name} takes one word), or a list of such
    match = '(?P<city>\\w+) weather'  or a regular expression, or a list
    note = 'key (?P<key>[0-9*#])'    a regular expression on what the model was told that nobody said, or a list
    result = "save_name"             the result of this tool came back; ``match`` then looks into the result's text
    asked = 'your name'              and only if the last words of the model contain this regular expression
    say = ["...", "..."]             words; of a list the next one each time the rule applies
    tool = "save_name"               a tool to call after the words, with ``args = {first_name = "{first_name}"}``
    tools = [{name = "", args = {}}] or several at once
    after = "{message} What else?"   words once the results are there; ``message`` is the results' own

Case does not matter. What a rule took from earlier words or results stays known; a rule that needs a name nobody gave
does not apply. ``{name:title}`` starts words with a capital, ``{name:spell}`` separates the letters. Nothing is kept
between requests: everything is read from the conversation in the request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from phone.endpoint.dialog import Entry

_PLACE = re.compile(r"\{(\w+)(?::(title|spell))?\}")
_KEYS = {"hear", "match", "note", "result", "asked", "say", "tool", "args", "tools", "after"}


class ScriptError(ValueError):
    """A rehearsal file is wrong; ``problems`` lists everything, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; patterns are compiled, ``tools`` are (name, arguments with places to fill)."""

    hear: tuple[re.Pattern[str], ...] = ()
    note: tuple[re.Pattern[str], ...] = ()
    result: str = ""
    asked: re.Pattern[str] | None = None
    say: tuple[str, ...] = ()
    tools: tuple[tuple[str, Any], ...] = ()
    after: str = "{message}"
    needs: frozenset[str] = field(default_factory=frozenset)

    def applies(self, entry: Entry, asked: str, known: Mapping[str, str]) -> dict[str, str] | None:
        """What the rule took from the entry, or None if it does not apply."""
        if self.asked is not None and not self.asked.search(asked):
            return None
        patterns = self.note if entry.kind == "note" else self.hear
        if entry.kind == "result":
            if entry.name != self.result:
                return None
            patterns = self.hear or (re.compile(""),)
        elif self.result:
            return None
        for pattern in patterns:
            if found := pattern.search(entry.text):
                taken = {name: value for name, value in found.groupdict().items() if value}
                if self.needs <= known.keys() | taken.keys():
                    return taken
        return None


def parse_rule(data: Any) -> Rule:
    if not isinstance(data, dict):
        raise ValueError("must be a table")
    if unknown := data.keys() - _KEYS:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    hear = tuple(_words(text) for text in strings(data.get("hear", [])))
    hear += tuple(pattern_of(text) for text in strings(data.get("match", [])))
    note = tuple(pattern_of(text) for text in strings(data.get("note", [])))
    result, say, after = data.get("result", ""), strings(data.get("say", [])), data.get("after", "{message}")
    tools = [
        *data.get("tools", []),
        *([{"name": data["tool"], "args": data.get("args", {})}] if "tool" in data else []),
    ]
    if not (hear or note or result):
        raise ValueError("needs one of hear, match, note, result")
    if not (say or tools):
        raise ValueError("needs say or tool")
    if not isinstance(result, str) or not isinstance(after, str):
        raise ValueError("result and after are words")
    if not all(isinstance(tool, dict) and isinstance(tool.get("name"), str) for tool in tools):
        raise ValueError("a tool needs a name")
    calls = tuple((tool["name"], tool.get("args", {})) for tool in tools)
    return Rule(
        hear=hear,
        note=note,
        result=result,
        asked=pattern_of(data["asked"]) if "asked" in data else None,
        say=say,
        tools=calls,
        after=after,
        needs=frozenset(_places([say, [arguments for _, arguments in calls]]) - ({"message"} if result else set())),
    )


def fill(words: str, values: Mapping[str, str]) -> str:
    def place(found: re.Match[str]) -> str:
        value = values.get(found[1], found[0])
        if found[2] == "title":
            return " ".join(word[:1].upper() + word[1:] for word in value.split())
        return ", ".join(value.replace(" ", "").upper()) if found[2] == "spell" else value

    return _PLACE.sub(place, words)


def fill_all(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return {key: fill_all(part, values) for key, part in value.items()}
    return [fill_all(part, values) for part in value] if isinstance(value, list) else value


def strings(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(part, str) for part in values):
        raise ValueError("expected words or a list of words")
    return tuple(values)


def pattern_of(text: str) -> re.Pattern[str]:
    """Raises ValueError."""
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"bad regular expression {text!r}: {error}") from error


def _words(text: str) -> re.Pattern[str]:
    """Plain words as a pattern: whole words, whatever stands between them; ``{name}`` takes one word."""
    parts = re.findall(r"\{\w+\}|[\w'’-]+", text)
    if not parts:
        raise ValueError(f"no words in {text!r}")
    parts = [rf"(?P<{part[1:-1]}>[\w'’-]+)" if part[0] == "{" else re.escape(part) for part in parts]
    return pattern_of(r"(?<!\w)" + r"[^\w]+".join(parts) + r"(?!\w)")


def _places(value: Any) -> set[str]:
    return {found[0] for found in _PLACE.findall(orjson.dumps(value).decode())}
