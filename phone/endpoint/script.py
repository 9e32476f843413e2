"""Plays an agent's rehearsal script against the conversation a request shows; the file's form is in ``rules.py``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from phone.endpoint.checks import Ask
from phone.endpoint.dialog import Entry
from phone.endpoint.reply import Reply, ToolUse
from phone.endpoint.rules import Rule, ScriptError, fill, fill_all, parse_rule, pattern_of, strings

FIRST = "No model is connected, so you hear rehearsed words."
OTHERWISE = (
    "I have no line rehearsed for that.",
    "That is not in my script either.",
    "With a real model connected I could answer that.",
)
FIRST_DELAY = 0.25
PACE = 0.03

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_RULE = re.compile(r"\s*\[\[\s*rules\s*\]\]")
_OPENING = 3


class Rehearsal:
    """One agent's script. Called with a request it gives the reply; safe for any number of conversations at once."""

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        first: str = FIRST,
        otherwise: Sequence[str] = OTHERWISE,
        told: re.Pattern[str] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.told = told
        self.first = first
        self.otherwise = tuple(otherwise)
        spoken = [first, *otherwise, *(words for rule in rules for words in (*rule.say, rule.after))]
        self._openings = {opening for words in spoken if (opening := _opening(words))}

    @classmethod
    def load(cls, path: Path) -> Rehearsal:
        """Reads a ``rehearsal.toml``. Raises ScriptError with all that is wrong in it."""
        text = ""
        try:
            text = path.read_text(encoding="utf-8-sig")
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = _AT_LINE.search(str(error))
            line = int(found[1]) if found else text.count("\n") + 1
            raise ScriptError([f"{path}:{line}: {_AT_LINE.sub('', str(error))}"]) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ScriptError([f"{path} cannot be read: {type(error).__name__}"]) from error
        return cls.parse(data, name=str(path), text=text)

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, name: str = "rehearsal", text: str = "") -> Rehearsal:
        """From a file's contents; ``text`` is the file, from which the lines of mistakes are told."""
        problems: list[str] = []
        headers = [number for number, line in enumerate(text.splitlines(), 1) if _RULE.match(line)]

        def at(key: str) -> str:
            pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
            lines = enumerate(text.splitlines(), 1)
            return next((f"{name}:{number}" for number, line in lines if pattern.match(line)), name)

        for key in data.keys() - {"first", "otherwise", "rules", "told"}:
            problems.append(f"{at(key)}: unknown key {key!r}")
        rules = []
        raw = data.get("rules", [])
        if not isinstance(raw, list):
            problems.append(f"{at('rules')}: rules must be written as [[rules]]")
            raw = []
        for number, entry in enumerate(raw, start=1):
            try:
                rules.append(parse_rule(entry))
            except (ValueError, TypeError) as error:
                where = f"{name}:{headers[number - 1]}" if number <= len(headers) else name
                problems.append(f"{where}: rule {number}: {error}")
        try:
            first = "".join(strings(data.get("first", FIRST)))
            otherwise = strings(data.get("otherwise", list(OTHERWISE))) or OTHERWISE
            told = pattern_of("".join(strings(data["told"]))) if "told" in data else None
        except ValueError as error:
            problems.append(f"{name}: {error}")
        if problems:
            raise ScriptError(problems)
        return cls(rules, first=first, otherwise=otherwise, told=told)

    def __call__(self, ask: Ask) -> Reply:
        told = self._told(ask)
        at = self._cue(ask.entries, told)
        known = self._known(ask.entries[: max(at, 0)], told)
        words, tools = self._line(ask, at, known, told)
        words = _rest(words, [entry.text for entry in ask.entries[at + 1 :] if entry.kind == "assistant"])
        if words and not self._spoken(ask.entries):
            words = f"{self.first} {words}".strip()
        return Reply(text=words, tools=tools, first=FIRST_DELAY, pace=PACE)

    def _told(self, ask: Ask) -> dict[str, str]:
        """What the script takes from the instructions."""
        found = self.told.search(ask.instructions) if self.told is not None else None
        return {name: value for name, value in found.groupdict().items() if value} if found else {}

    def _cue(self, entries: Sequence[Entry], told: Mapping[str, str]) -> int:
        """Index of what is to be answered: the latest words, results, or note that a rule knows; -1 if none."""
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            if entry.kind in ("user", "result") or (
                entry.kind == "note" and self._find(entries, index, self._known(entries[:index], told))
            ):
                return index
        return -1

    def _line(
        self, ask: Ask, at: int, known: Mapping[str, str], told: Mapping[str, str]
    ) -> tuple[str, tuple[ToolUse, ...]]:
        """Words and calls for the cue."""
        entries = ask.entries
        if at < 0:
            return self.otherwise[0], ()
        found = self._find(entries, at, known)
        if entries[at].kind == "result" and found is None:
            return self._after(entries, at, told), ()
        if found is None:
            missed = sum(1 for i in range(at) if entries[i].kind == "user" and not self._find(entries, i, known))
            return self.otherwise[missed % len(self.otherwise)], ()
        rule, taken = found
        values = {**known, **taken}
        if entries[at].kind == "result":
            values |= {"message": _message(entries[at].text)}
        say = ""
        if rule.say:
            before = sum(1 for i in range(at) if (hit := self._find(entries, i, values)) and hit[0] is rule)
            say = fill(rule.say[before % len(rule.say)], values)
        tools = tuple(
            ToolUse(name, orjson.dumps(fill_all(arguments, values)).decode())
            for name, arguments in rule.tools
            if name in ask.tools and ask.tool_choice != "none"
        )
        if not say and not tools:
            say = self.otherwise[0]
        return say, tools

    def _after(self, entries: Sequence[Entry], at: int, told: Mapping[str, str]) -> str:
        """Words for results that came back: of the rule that made the calls, with the results' own message."""
        first = at
        while first > 0 and entries[first - 1].kind in ("result", "call"):
            first -= 1
        messages = [_message(entry.text) for entry in entries[first : at + 1] if entry.kind == "result"]
        values = {"message": " ".join(dict.fromkeys(filter(None, messages))) or "Done."}
        cue = next((i for i in range(first - 1, -1, -1) if entries[i].kind in ("user", "note")), -1)
        known = self._known(entries[: max(cue, 0)], told)
        found = self._find(entries, cue, known) if cue >= 0 else None
        called = {entry.name for entry in entries[first : at + 1]}
        if found and any(name in called for name, _ in found[0].tools):
            return fill(found[0].after, {**known, **found[1], **values})
        return values["message"]

    def _find(self, entries: Sequence[Entry], at: int, known: Mapping[str, str]) -> tuple[Rule, dict[str, str]] | None:
        if entries[at].kind not in ("user", "note", "result"):
            return None
        asked = next((entries[i].text for i in range(at - 1, -1, -1) if entries[i].kind == "assistant"), "")
        for rule in self.rules:
            taken = rule.applies(entries[at], asked, known)
            if taken is not None:
                return rule, taken
        return None

    def _known(self, entries: Sequence[Entry], told: Mapping[str, str]) -> dict[str, str]:
        known = dict(told)
        for index, entry in enumerate(entries):
            if entry.kind in ("user", "result") and (found := self._find(entries, index, known)):
                known |= found[1]
        return known

    def _spoken(self, entries: Sequence[Entry]) -> bool:
        """Whether words of this script were heard before: some that begin as one of its lines does. What stands before
        the other side's first words is a greeting."""
        begun = next((i for i, entry in enumerate(entries) if entry.kind != "assistant"), len(entries))
        heard = [
            opening for entry in entries[begun:] if entry.kind == "assistant" and (opening := _opening(entry.text))
        ]
        return any(_same_start(opening, line) for opening in heard for line in self._openings)


class Rehearsals:
    """The scripts of all agents, chosen by the request's model name: ``rehearsal:<agent>``, or ``rehearsal`` for the
    default agent. An agent without a ``rehearsal.toml`` has a script that only says there is none."""

    def __init__(self, scripts: Mapping[str, Rehearsal], *, default: str = "default") -> None:
        self.scripts = dict(scripts)
        self._scripts = {f"rehearsal:{agent}": script for agent, script in scripts.items()}
        self._scripts["rehearsal"] = scripts.get(default, Rehearsal())

    @classmethod
    def load(cls, agents: Path, *, default: str = "default") -> Rehearsals:
        """Reads every agent's script below the folder. Raises ScriptError with all that is wrong in any of them."""
        scripts: dict[str, Rehearsal] = {}
        problems: list[str] = []
        for folder in sorted(path for path in agents.iterdir() if path.is_dir()):
            path = folder / "rehearsal.toml"
            try:
                scripts[folder.name] = Rehearsal.load(path) if path.exists() else Rehearsal()
            except ScriptError as error:
                problems += error.problems
        if problems:
            raise ScriptError(problems)
        return cls(scripts, default=default)

    @property
    def models(self) -> frozenset[str]:
        return frozenset(self._scripts)

    def __call__(self, ask: Ask) -> Reply:
        return self._scripts[ask.model](ask)


def _opening(text: str) -> tuple[str, ...]:
    """The first words, reduced, up to a place that is filled in."""
    return tuple(re.findall(r"\w+", text.partition("{")[0].casefold())[:_OPENING])


def _same_start(heard: tuple[str, ...], line: tuple[str, ...]) -> bool:
    """Whether one begins as the other: a line may have been cut at its first word, or be shorter than what was said."""
    return heard == line[: len(heard)] or (len(line) > 1 and line == heard[: len(line)])


def _rest(words: str, said: Iterable[str]) -> str:
    """What is left of a line after a part of it was said and cut; the whole line if that was another one's part."""
    parts = words.split()
    for text in said:
        done = text.split()
        for skip in range(len(done)):
            tail = done[skip:]
            if len(tail) < len(parts) and parts[: len(tail)] == tail:
                return " ".join(parts[len(tail) :])
    return words


def _message(output: str) -> str:
    """The sentence in a tool's result that may be spoken."""
    try:
        data = orjson.loads(output)
    except orjson.JSONDecodeError:
        return output.strip()
    if isinstance(data, dict):
        return next((value for key in ("message", "error") if isinstance(value := data.get(key), str)), "")
    return data if isinstance(data, str) else ""
