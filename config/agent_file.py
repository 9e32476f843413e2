"""One ``agent.toml``: each part is read and checked by itself, and what is wrong is told with its line.

What may stand in it: ``agents.py``, and docs/agents.md.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.definition import DIALOGFLOW, ENGINES, OPENAI, AgentDefinition, KeyAction
from config.hours import Hours, parse_hours
from config.prompts import zone
from config.relay_attributes import ATTRIBUTES, DEFAULTS, LANGUAGE_ATTRIBUTES, attribute_text
from config.says import BUILT_IN, Says, in_language

REASONING = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
FILLER_WORDS = 6
WHOLE = ("tool_rounds", "history_tokens", "reply_max_chars", "silence_prompts", "speculation_limit")
OR_NONE = ("side_effect_wait", "silence_prompts", "speculation_limit")
LIMITS = (
    *("turn_deadline", "after_interrupt", "prepare_deadline", "goodbye_limit", "interdigit", "side_effect_wait"),
    *("first_token_deadline", "stall_deadline", "filler_after", "silence_after", "max_call_seconds"),
    *WHOLE,
)

_TEXTS = (
    *("title", "description", "model", "greeting", "timezone", "engine", "reasoning", "hold_sound"),
    *("closed_greeting", "voicemail"),
)
_FLAGS = ("record", "follow_language", "unlisted")
_TOP = (*_TEXTS, *_FLAGS, "hours", "speculation", "tools", "relay", "languages", "keys", "limits", "says")
_HEADER = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?\s*(?:#.*)?")

ToolCheck = Callable[[str, Mapping[str, Any] | None], str]
"""(tool, arguments of a key or None) -> what is wrong with that, "" for nothing. Whoever has the tools passes it in."""
EngineCheck = Callable[[str], str]
"""The same for an engine: what it lacks here."""


@dataclass(slots=True)
class AgentFile:
    """One ``agent.toml``. Each method reads a part; what is wrong goes to ``problems`` and is left out."""

    path: Path
    text: str
    data: dict[str, Any]
    problems: list[str]
    check_tool: ToolCheck
    check_engine: EngineCheck

    def agent(self, name: str, prompt: str, rehearsal: Path | None) -> AgentDefinition:
        self._only(self.data, _TOP, "there is no setting")
        texts = {key: self._string(self.data, key) for key in _TEXTS}
        attributes = self._table("relay")
        greeting, relay = texts["greeting"].strip(), self._relay(attributes)
        if "welcomeGreeting" in relay:
            if greeting:
                self._wrong("the greeting is given twice, here and as greeting.", "relay", "welcomeGreeting")
            greeting = relay.pop("welcomeGreeting")
        timezone = texts["timezone"] or "UTC"
        if not _is_zone(timezone):
            hint = "names look like 'America/New_York', and the machine needs its time zone files (package tzdata)"
            self._wrong(f"timezone {timezone!r} is not known; {hint}.", "timezone")
        engine = texts["engine"] or OPENAI
        if engine not in ENGINES:
            self._wrong(f"engine must be one of {', '.join(ENGINES)}.", "engine")
        elif complaint := self.check_engine(engine):
            self._wrong(complaint, "engine")
        if texts["reasoning"] not in ("", *REASONING):
            self._wrong(f"reasoning must be one of {', '.join(REASONING)}.", "reasoning")
        language = relay.get("ttsLanguage") or relay.get("language") or "en-US"
        return AgentDefinition(
            name=name,
            title=texts["title"] or name,
            prompt=prompt,
            description=texts["description"],
            model=texts["model"],
            greeting=greeting,
            timezone=timezone,
            tools=self._tools(),
            engine=engine,
            reasoning=texts["reasoning"],
            speculation=self._speculation(engine),
            hold_sound=self._hold_sound(texts["hold_sound"]),
            relay=relay,
            second=self._second(attributes),
            languages=self._languages(),
            keys=self._keys(),
            limits=self._limits(),
            says=self._says(language),
            rehearsal=rehearsal,
            hours=self._hours(),
            closed_greeting=texts["closed_greeting"].strip(),
            voicemail=texts["voicemail"].strip(),
            record=self._flag("record"),
            follow_language=self._flag("follow_language"),
            unlisted=self._flag("unlisted"),
        )

    def _tools(self) -> tuple[str, ...]:
        tools = self.data.get("tools", [])
        if not isinstance(tools, list) or not all(isinstance(each, str) and each for each in tools):
            self._wrong('tools must be a list of names, such as ["end_call"].', "tools")
            return ()
        if len(set(tools)) < len(tools):
            self._wrong("tools names a tool twice.", "tools")
        for tool in tools:
            if complaint := self.check_tool(tool, None):
                self._wrong(complaint, "tools")
        return tuple(tools)

    def _relay(self, table: Mapping[str, Any]) -> dict[str, str]:
        own = {key: value for key, value in table.items() if key != "second"}
        return {**DEFAULTS, **self._relay_attributes(own, "relay")}

    def _second(self, relay: Mapping[str, Any]) -> dict[str, str]:
        """What replaces attributes of ``[relay]`` once a provider of speech has failed."""
        table = relay.get("second", {})
        if not isinstance(table, dict):
            self._wrong("second is a section: [relay.second].", "relay", "second")
            return {}
        if "welcomeGreeting" in table:
            self._wrong("a call that goes on is not greeted again.", "relay", "second", "welcomeGreeting")
        return self._relay_attributes(table, "relay", "second")

    def _relay_attributes(self, table: Mapping[str, Any], *place: str) -> dict[str, str]:
        if "url" in table:
            self._wrong("url is set by the relay itself.", *place, "url")
            table = {key: value for key, value in table.items() if key != "url"}
        self._only(table, ATTRIBUTES, "ConversationRelay has no attribute", *place)
        return self._attributes(table, ATTRIBUTES, *place)

    def _speculation(self, engine: str) -> bool | None:
        value = self.data.get("speculation")
        if value is not None and not isinstance(value, bool) and value not in ("on", "off"):
            self._wrong('speculation must be "on" or "off".', "speculation")
        wanted = value is True or value == "on"
        if wanted and engine == DIALOGFLOW:
            self._wrong("speculation cannot be on: what Dialogflow is asked ahead, it takes for said.", "speculation")
        return None if value is None else wanted

    def _hours(self) -> Hours | None:
        if "hours" not in self.data:
            return None
        try:
            return parse_hours(self.data["hours"])
        except ValueError as problem:
            self._wrong(f"{problem}.", "hours")
            return None

    def _flag(self, name: str) -> bool:
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            self._wrong(f"{name} must be true or false.", name)
        return value is True

    def _languages(self) -> tuple[dict[str, str], ...]:
        entries = self.data.get("languages", [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            self._wrong("each language is a [[languages]] section of its own.", "languages")
            return ()
        languages: list[dict[str, str]] = []
        for number, entry in enumerate(entries):
            self._only(entry, LANGUAGE_ATTRIBUTES, "a language has no attribute", "languages", number)
            language = self._attributes(entry, LANGUAGE_ATTRIBUTES, "languages", number)
            if "code" not in entry:
                self._wrong("a language needs its code, such as 'es-US'.", "languages", number)
            elif language.get("code") in [each.get("code") for each in languages]:
                self._wrong(f"the language {language.get('code')!r} is given twice.", "languages", number, "code")
            languages.append(language)
        return tuple(languages)

    def _attributes(self, table: Mapping[str, Any], known: Mapping[str, Any], *place: str | int) -> dict[str, str]:
        attributes = {}
        for name in known.keys() & table.keys():
            text = attribute_text(name, table[name])
            expected = "must be text, a number or true or false" if text is None else known[name](text)
            if expected:
                self._wrong(f"{name} {expected}.", *place, name)
            elif text is not None:
                attributes[name] = text
        return {name: attributes[name] for name in table if name in attributes}

    def _keys(self) -> dict[str, KeyAction]:
        keys = {}
        for digit, entry in self._table("keys").items():
            place = ("keys", digit)
            if digit not in tuple("0123456789*#ABCD"):
                self._wrong(f"{digit!r} is not a key of a phone.", *place)
            elif not isinstance(entry, dict):
                self._wrong(f'the key {digit} is a section: [keys."{digit}"].', *place)
            else:
                self._only(entry, ("say", "tool", "args"), "a key has no setting", *place)
                say, says = self._key_line(entry, *place)
                action = KeyAction(say, self._string(entry, "tool", *place), entry.get("args", {}), says)
                if not action.say and not action.tool:
                    self._wrong(f"the key {digit} needs say, tool, or both.", *place)
                if not isinstance(action.args, dict) or not _is_json(action.args):
                    self._wrong(
                        "args must be a table of texts, numbers, true or false, lists and tables.", *place, "args"
                    )
                elif action.args and not action.tool:
                    self._wrong("args are given but no tool.", *place, "args")
                elif action.tool and (complaint := self.check_tool(action.tool, action.args)):
                    self._wrong(complaint, *place, "tool")
                keys[digit] = action
        return keys

    def _key_line(self, entry: Mapping[str, Any], *place: str) -> tuple[str, dict[str, str]]:
        """The line in the agent's language, or the first there is, and in all of them where it has several."""
        texts = entry.get("say")
        if not isinstance(texts, dict):
            return self._string(entry, "say", *place), {}
        if not texts or not all(isinstance(text, str) and text for text in texts.values()):
            self._wrong('say must be text, or texts by language: {en = "..."}.', *place, "say")
            return "", {}
        says = {tag.casefold(): text for tag, text in texts.items()}
        relay = self.data.get("relay")
        own = relay.get("ttsLanguage") or relay.get("language") if isinstance(relay, dict) else ""
        return in_language(says, str(own or "en")) or next(iter(says.values())), says

    def _limits(self) -> dict[str, float]:
        limits = {}
        table = self._table("limits")
        self._only(table, LIMITS, "there is no limit", "limits")
        for name in [each for each in table if each in LIMITS]:
            value = table[name]
            lowest = 0 if name in OR_NONE else 1 if name in WHOLE else 0.001
            number = isinstance(value, int if name in WHOLE else int | float) and not isinstance(value, bool)
            if number and lowest <= value < float("inf"):
                limits[name] = value
            else:
                kind = "whole number" if name in WHOLE else "number of seconds"
                self._wrong(f"{name} must be a {kind}, {'more than 0' if lowest else '0 or more'}.", "limits", name)
        return limits

    def _says(self, language: str) -> Says:
        own: dict[str, dict[str, str]] = {}
        table = self._table("says")
        self._only(table, (*BUILT_IN, "fillers", "hold_sound"), "there is no line", "says")
        for name in [each for each in table if each in BUILT_IN]:
            texts = table[name] if isinstance(table[name], dict) else {language: table[name]}
            if name == "apology" and any(text == "" for text in texts.values()):
                self._wrong("the apology cannot be empty: a failed turn would be silent.", "says", name)
            elif all(isinstance(text, str) for text in texts.values()):
                own[name] = {tag.casefold(): text for tag, text in texts.items()}
            else:
                self._wrong(f'{name} must be text, or texts by language: {{en = "..."}}.', "says", name)
        return Says(language, own, self._fillers(table.get("fillers"), language))

    def _fillers(self, value: object, language: str) -> dict[str, tuple[str, ...]] | None:
        if value is None:
            return None
        fillers: dict[str, tuple[str, ...]] = {}
        for tag, phrases in (value if isinstance(value, dict) else {language: value}).items():
            place = ("says", "fillers", tag)
            if not isinstance(phrases, list) or not all(isinstance(each, str) and each.strip() for each in phrases):
                self._wrong('fillers must be a list of phrases, or such lists by language: {en = ["..."]}.', *place)
                continue
            for long in [each for each in phrases if len(each.split()) > FILLER_WORDS]:
                self._wrong(f"the filler {long!r} has more than {FILLER_WORDS} words.", *place, near=long)
            fillers[tag.casefold()] = tuple(each.strip() for each in phrases)
        return fillers

    def _hold_sound(self, sound: str) -> str:
        place: tuple[str, ...] = ("hold_sound",)
        says = self.data.get("says")
        if isinstance(says, dict) and "hold_sound" in says:
            place = ("says", "hold_sound")
            if sound:
                self._wrong("hold_sound is given twice, here and at the top.", *place)
            sound = self._string(says, "hold_sound", "says")
        if sound and not _is_sound(sound):
            self._wrong("hold_sound must be the address of a sound, https://...", *place)
        return sound

    # -- what all parts use

    def _table(self, name: str) -> dict[str, Any]:
        table = self.data.get(name, {})
        if isinstance(table, dict):
            return table
        self._wrong(f"{name} is a section: [{name}].", name)
        return {}

    def _string(self, table: Mapping[str, Any], key: str, *place: str | int) -> str:
        value = table.get(key, "")
        if isinstance(value, str):
            return value
        self._wrong(f"{key} must be text in quotes.", *place, key)
        return ""

    def _only(self, table: Mapping[str, Any], known: Iterable[str], complaint: str, *place: str | int) -> None:
        names = {name.casefold(): name for name in known}
        for key in table:
            if key not in names.values():
                near = difflib.get_close_matches(key.casefold(), names, n=1)
                hint = f"; did you mean {names[near[0]]!r}?" if near else "."
                self._wrong(f"{complaint} {key!r}{hint}", *place, key)

    def _wrong(self, sentence: str, *place: str | int, near: str = "") -> None:
        """``near``: the first line with these words, from that of the place on."""
        line = _line(self.text, place)
        rest = enumerate(self.text.splitlines()[line - 1 :], line)
        line = next((number for number, text in rest if near in text), line)
        self.problems.append(f"{self.path}:{line}: {sentence}")


def _line(text: str, place: tuple[str | int, ...]) -> int:
    """The line of a key, found by its section and name, since the parser tells no positions; 1 if it is not found."""
    names = [part for part in place if isinstance(part, str)]
    which = next((part for part in place if isinstance(part, int)), 0)
    lines = text.splitlines()
    headers = [(number, _plain(found[1])) for number, line in enumerate(lines) if (found := _HEADER.fullmatch(line))]
    for depth in range(len(names), -1, -1):
        section = ".".join(names[:depth])
        starts = [number + 1 for number, name in headers if name == section] if section else [0]
        if not starts:
            continue
        start = starts[min(which, len(starts) - 1)]
        if depth == len(names):
            return start
        end = next((number for number, _ in headers if number >= start), len(lines))
        key = re.compile(rf"\s*[\"']?{re.escape(names[depth])}[\"']?\s*[=.]")
        for number in range(start, end):
            if key.match(lines[number]):
                return number + 1
    return 1


def _plain(header: str) -> str:
    return re.sub(r"[\s\"']", "", header)


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder of names
        return False
    return True


def _is_sound(address: str) -> bool:
    return re.fullmatch(r"https?://[^\s/]+/\S*", address) is not None


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_json(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_json(each) for each in value)
    if isinstance(value, int | float):
        return abs(value) < 2**63 and math.isfinite(value)
    return isinstance(value, str)
