"""What tools change of a call that goes on: the agent, its tools and keys, the language; pure.

The call goes by a change at once: the next key and the next request of the model find it, also in the turn whose tool
has made it. What is left to do outside of the call, each ``Carry`` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from config.languages import language_name
from relay.events import Carry
from relay.rules import CallRules
from relay.speaking import Outbox, Speaking
from relay.toolbox import (
    Change,
    ChangeKeys,
    ChangeTools,
    Effect,
    PersonChanged,
    SendDigits,
    SwitchAgent,
    SwitchLanguage,
)


class Changes:
    """``made``: how many there were of those that make an answer asked for before another one."""

    def __init__(self, rules: CallRules, outbox: Outbox, speaking: Speaking) -> None:
        self.made = 0
        self._rules = rules
        self._out = outbox
        self._speaking = speaking

    def missing(self, effects: Iterable[Effect]) -> str:
        """What there is not any more for these effects, for the model; "" where all can be done. A tool was told that
        there was: another one of the same round may have passed the call on since."""
        manner = self._speaking.manner
        for effect in effects:
            if isinstance(effect, SwitchAgent):
                other = self._rules.manners(effect.agent)
                if other is None:
                    return f"There is no agent named {effect.agent[:64]!r} any more."
                manner = other
            elif isinstance(effect, SwitchLanguage) and not manner.declared(effect.language):
                return f"The agent that has the call now does not speak {language_name(effect.language[:35])}."
        return ""

    def make(self, change: Change) -> None:
        """Nothing happens where nothing would change, nor for names nobody has: whoever asks a tool is told by it."""
        speaking = self._speaking
        manner = speaking.manner
        match change:
            case SwitchAgent(agent):
                other = self._rules.manners(agent)
                if other is None or agent == manner.agent:
                    return
                # Before the language: what carries it out is to know who speaks.
                self._out.add(Carry(change))
                speaking.become(other)
            case SwitchLanguage(language):
                tag = manner.declared(language)
                if not tag:
                    return
                self._out.add(Carry(SwitchLanguage(tag)))
                speaking.speak(tag)
            case ChangeTools():
                speaking.manner = manner.with_tools(change)
                self._out.add(Carry(change))
            case ChangeKeys():
                speaking.manner = manner.with_keys(change)
                self._out.add(Carry(change))
            case PersonChanged():
                self._out.add(Carry(change))
            case SendDigits(digits):
                speaking.tones(digits)
                self._out.add(Carry(change))
                return
            case _:
                assert_never(change)
        self.made += 1
