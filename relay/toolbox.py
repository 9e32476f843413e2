"""What the conversation asks of tools; ``tools/registry.py`` satisfies it.

A tool never holds a session: it gets a ``ToolContext``, returns words for the model, and asks for things to happen to
the conversation by effects, which the conversation carries out when and if it still wants to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.models.base import ToolSpec


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """How a tool may be run.

    side_effect: changes something outside the conversation; once begun it belongs to the process, not to the turn.
    terminal: ends the call or hands it over; runs after its siblings and only if none of them failed.
    deadline: seconds, None for the setting TOOL_DEADLINE.
    confirm: a model's first call of it is not carried out: the model is told to ask the caller, and the same call made
    again after the caller has answered is.
    expected: seconds it announces to take; the caller of one that takes long hears the agent's hold sound.
    """

    side_effect: bool = False
    terminal: bool = False
    deadline: float | None = None
    confirm: bool = False
    expected: float = 0.0


@dataclass(frozen=True, slots=True)
class EndCall:
    """The goodbye (the model's own words or the agent's line) is heard to its end, then the call ends."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """The bridging words are heard to their end, then the call is handed to a person."""

    reason: str = field(repr=False)
    summary: str = field(repr=False)


Effect = EndCall | Transfer


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """``output``: JSON text for the model. ``ok`` is False when the tool failed, timed out, or was called wrongly.
    ``certain`` is False where nobody knows whether it had its effect before it failed. ``play``: the address of a sound
    the caller is to hear before the reply, "" for none."""

    output: str
    ok: bool = True
    effects: tuple[Effect, ...] = ()
    certain: bool = True
    play: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return f"ToolOutcome(ok={self.ok}, effects={self.effects})"


def _to_nobody(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Whom and what a call of a tool is about. ``person`` is a key of the people store, "" for nobody. ``language``:
    tag of the language the person speaks, as far as it is known. ``report``: takes what ``progress`` is given."""

    conversation: str
    channel: str
    agent: str
    person: str = field(default="", repr=False)
    language: str = ""
    report: Callable[[str], None] = field(default=_to_nobody, repr=False, compare=False)

    def progress(self, text: str) -> None:
        """Tells the caller how far the tool is: a short sentence in ``language``.

        It is said when the caller and the agent are silent, every few seconds at most, the latest first; never if the
        tool ends or the caller goes on before. The model does not learn of it. Never waits; only from the tool's task.
        """
        self.report(text)


class ToolBox(Protocol):
    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """What the model is shown; the same object for the same names."""
        ...

    def policy(self, name: str) -> ToolPolicy:
        """The default policy for a name that does not exist."""
        ...

    def canonical(self, name: str, arguments: str) -> str:
        """The arguments in one spelling (sorted keys, validated values): equal for two calls that ask the same."""
        ...

    async def run(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome:
        """Runs the tool within its deadline. Unknown names, bad JSON, wrong arguments, a failure and a timeout become
        outcomes the model can act on; raises nothing but CancelledError."""
        ...
