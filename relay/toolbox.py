"""What the conversation asks of tools; ``tools/registry.py`` satisfies it.

A tool never holds a session: it gets a ``ToolContext``, returns words for the model, and asks for things to happen to
the conversation by effects, which the conversation carries out when and if it still wants to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.keypad import Key
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


@dataclass(frozen=True, slots=True)
class SwitchAgent:
    """From now on another agent talks: prompt, tools, keys, fixed lines and language are its own."""

    agent: str


@dataclass(frozen=True, slots=True)
class SwitchLanguage:
    """The caller's language from now on, as a tag such as ``es-US``: what is spoken, what is understood, what lines
    are said in."""

    language: str


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Tones for the other end of the line: ``0-9 * # w`` (half a second's pause)."""

    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChangeTools:
    """The model has these tools besides, or not any more, for the rest of the call."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeKeys:
    """Keys that do something else from now on (``relay.keypad.Key``), or nothing of their own any more."""

    add: Mapping[str, Key] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PersonChanged:
    """More is known of the person: the instructions of the running call are made anew."""


Ends = EndCall | Transfer
Change = SwitchAgent | SwitchLanguage | SendDigits | ChangeTools | ChangeKeys | PersonChanged
"""What changes the call that goes on: carried out as soon as the tool is over."""

Effect = Ends | Change


@dataclass(frozen=True, slots=True)
class DigitsWanted:
    """What a tool waits for: so many keys, or fewer and then the terminator ("" for none), within ``timeout`` seconds
    of quiet after the agent's words."""

    count: int
    terminator: str = "#"
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Keyed:
    """The keys a tool was given, without the terminator. ``complete``: all that were wanted, or the caller has ended
    them; otherwise the time was up, or the caller went on, and there may be none."""

    digits: str = field(default="", repr=False)
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """``output``: JSON text for the model. ``ok`` is False when the tool failed, timed out, or was called wrongly.
    ``certain`` is False where nobody knows whether it had its effect before it failed. ``play``: the address of a sound
    the caller is to hear before the reply, "" for none. ``offers``: calls of tools that ask before they act, as (name,
    JSON arguments), which ``output`` has the model offer: what the caller says then is their answer."""

    output: str
    ok: bool = True
    effects: tuple[Effect, ...] = ()
    certain: bool = True
    play: str = field(default="", repr=False)
    offers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return f"ToolOutcome(ok={self.ok}, effects={self.effects})"


def _to_nobody(text: str) -> None:
    pass


async def _no_keypad(wanted: DigitsWanted) -> Keyed:
    return Keyed()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Whom and what a call of a tool is about. ``person`` is a key of the people store, "" for nobody. ``language``:
    tag of the language the person speaks, as far as it is known. ``address``: where the person is reached on this
    channel (a telephone number; "" where it is withheld), ``own_address``: ours, at which they reach us.

    ``headers``: what ``trace_headers`` returns. ``report``, ``note``, ``keypad``: what carries ``progress``, ``tell``
    and ``collect`` out."""

    conversation: str
    channel: str
    agent: str
    person: str = field(default="", repr=False)
    language: str = ""
    address: str = field(default="", repr=False)
    own_address: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    report: Callable[[str], None] = field(default=_to_nobody, repr=False, compare=False)
    note: Callable[[str], None] = field(default=_to_nobody, repr=False, compare=False)
    keypad: Callable[[DigitsWanted], Awaitable[Keyed]] = field(default=_no_keypad, repr=False, compare=False)

    def progress(self, text: str) -> None:
        """Tells the caller how far the tool is: a short sentence in ``language``.

        It is said when the caller and the agent are silent, every few seconds at most, the latest first; never if the
        tool ends or the caller goes on before. The model does not learn of it. Never waits; only from the tool's task.
        """
        self.report(text)

    def tell(self, text: str) -> None:
        """Tells the model something in a turn of its own, as soon as the line is free: what became known when the tool
        was over already. Nothing happens once the conversation has ended. Never waits."""
        self.note(text)

    def trace_headers(self) -> dict[str, str]:
        """For requests the tool makes to services of one's own: with them (``traceparent``, W3C) what happens there is
        told as part of this call. None where calls are not traced. Not for strangers: it names the trace."""
        return dict(self.headers)

    async def collect(self, wanted: DigitsWanted) -> Keyed:
        """Waits for the keys the caller presses from now on; none where there is no keypad.

        Only from the tool's task. Raises ToolError while another tool waits for keys. A cancel ends the waiting; what
        was pressed is lost. What is returned is masked in all that is stored and must not be logged.
        """
        return await self.keypad(wanted)


class ToolBox(Protocol):
    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """What the model is shown; the same object for the same names."""
        ...

    def knows(self, name: str) -> bool:
        """Whether there is such a tool."""
        ...

    def policy(self, name: str) -> ToolPolicy:
        """The default policy for a name that does not exist."""
        ...

    def canonical(self, name: str, arguments: str) -> str:
        """The arguments in one spelling (sorted keys, validated values): equal for two calls that ask the same."""
        ...

    def objection(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome | None:
        """Why this call would fail whatever the caller agrees to, as far as that is known without waiting for anything:
        wrong arguments, or what the tool itself objects to. None for no reason."""
        ...

    async def run(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome:
        """Runs the tool within its deadline. Unknown names, bad JSON, wrong arguments, a failure and a timeout become
        outcomes the model can act on; raises nothing but CancelledError."""
        ...
