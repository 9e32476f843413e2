"""What an agent is: the contents of its folder, read and checked (``agents.py`` does that)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.hours import Hours
from config.says import Says

OPENAI, DIALOGFLOW = "openai", "dialogflow"
ENGINES = (OPENAI, DIALOGFLOW)
"""What answers for an agent. Dialogflow keeps the conversation itself: it is asked nothing twice, and nothing ahead."""


@dataclass(frozen=True, slots=True)
class KeyAction:
    """What a key of the phone does at once: say a line, run a tool with these arguments, or both. ``says``: the line in
    other languages, by tag in lower case."""

    say: str = ""
    tool: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class AgentDefinition:
    """One agent. ``model`` "" is the setting ``OPENAI_MODEL``; ``greeting`` "" means that the caller speaks first.

    ``relay``: attributes of ``<ConversationRelay>`` by the names TwiML gives them, values as text (``welcomeGreeting``
    is never among them: that is ``greeting``). ``languages``: the same for its ``<Language>`` children.
    ``limits``: what replaces a setting for this agent, by the setting's name in lower case. ``prompt`` still has its
    placeholders (``prompts.render_prompt``). ``rehearsal``: the script of the rehearsal model, if there is one.

    ``reasoning``: the effort of a model that thinks before it speaks, "" for the setting's. ``speculation``: None for
    the setting's. ``hold_sound``: the URL of what is played while a long tool runs, "" for nothing. ``second``:
    attributes that take the place of those in ``relay`` where the first provider of speech fails.

    ``hours``: when the business is open, None for always; outside them ``closed_greeting`` takes the greeting's place,
    and where there is none the call goes to a person. ``voicemail``: what is said to an answering machine on a call we
    placed, "" to hang up. ``record``: the call is recorded, and the caller told so. ``follow_language``: it answers in
    the language of what was said last. ``unlisted``: no caller is offered it, nor passed on to it.
    """

    name: str
    title: str
    prompt: str
    description: str = ""
    model: str = ""
    greeting: str = ""
    timezone: str = "UTC"
    tools: tuple[str, ...] = ()
    engine: str = OPENAI
    reasoning: str = ""
    speculation: bool | None = None
    hold_sound: str = ""
    relay: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[Mapping[str, str], ...] = ()
    keys: Mapping[str, KeyAction] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    says: Says = field(default_factory=Says)
    rehearsal: Path | None = None
    hours: Hours | None = None
    closed_greeting: str = ""
    voicemail: str = ""
    record: bool = False
    follow_language: bool = False
    unlisted: bool = False

    @property
    def language(self) -> str:
        """The tag of the language it speaks unless told otherwise."""
        return self.relay.get("ttsLanguage") or self.relay.get("language") or "en-US"

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Every tool it may run: those its model is shown and those its keys start."""
        return tuple(dict.fromkeys([*self.tools, *(key.tool for key in self.keys.values() if key.tool)]))
