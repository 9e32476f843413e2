"""What ``Call`` is told besides frames (events, past tense) and what it wants done (actions, imperative).

Times: ``now`` and all delays are seconds; ``now`` counts from the moment the socket was accepted.
A *position* is a place in the conversation's history, counted by the call from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.frames import Incoming
from relay.items import Item, ToolItem, UserItem
from relay.manner import Manner
from relay.models.base import FinishReason, ToolCall
from relay.toolbox import Change, DigitsWanted, EndCall, Keyed, SwitchAgent, ToolOutcome, Transfer

# events


@dataclass(frozen=True, slots=True)
class Prepared:
    """History, person and tools are ready. ``items``: what was said before, repaired. ``resumed``: an earlier session
    of this call was cut off; ``handed``: it has handed the call on, and told the caller so. ``elapsed``: seconds the
    call had lasted when this session began."""

    items: tuple[Item, ...] = ()
    resumed: bool = False
    elapsed: float = 0.0
    handed: bool = False


@dataclass(frozen=True, slots=True)
class Reconnected:
    """Comes before ``Prepared`` where only the socket of the session was lost: Twilio went on playing what it had been
    given, and the caller may have noticed nothing. ``playing``: the items from the first on that may still be played,
    by their positions (below 0). ``unfinished``: the agent had more to say or do."""

    playing: tuple[tuple[int, Item], ...] = ()
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """Comes before ``Reconnected`` and ``Prepared`` where an earlier session of the call had changed what the call
    began with. ``spoken``: the language the agent was told to speak, ``language``: the caller's; "" if not known."""

    manner: Manner
    spoken: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """Words of the model, made fit for the ear: whole words, spacing kept."""

    turn: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """The model's terminal event, all its text delivered before."""

    turn: int
    reason: FinishReason = "stop"
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The model's side or a bug ended the round. ``code``: of the error tree, or "bug"."""

    turn: int
    code: str


@dataclass(frozen=True, slots=True)
class OutOfBudget:
    """The model is not asked: what may be spent is spent."""

    turn: int


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The tool started by ``StartTool`` with this key is over, whatever became of its turn."""

    key: int
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """The tool started by ``StartTool`` with this key tells the caller how far it is."""

    key: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CollectDigits:
    """The tool started by ``StartTool`` with this key waits for keys of the caller's; None: not any more."""

    key: int
    wanted: DigitsWanted | None


@dataclass(frozen=True, slots=True)
class LateResult:
    """A side effect begun by an earlier session of this conversation is over: this is its item now."""

    item: ToolItem


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the model is to be told, and the caller by it, when the line is free."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drain:
    """The process leaves: the call is to be handed back within ``limit`` seconds, so that another one goes on."""

    limit: float


@dataclass(frozen=True, slots=True)
class SayLine:
    """These words are said by the agent."""

    text: str = field(repr=False)


Order = SayLine | SwitchAgent | Transfer | EndCall


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who watches the call has it do this."""

    order: Order


@dataclass(frozen=True, slots=True)
class TimerFired:
    name: str


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """The socket is gone, whoever closed it. ``plays_on``: only the socket, and another may come for the session."""

    plays_on: bool = False


Event = (
    Incoming
    | Prepared
    | Reconnected
    | Restored
    | Delta
    | RoundEnded
    | TurnFailed
    | OutOfBudget
    | ToolFinished
    | ToolProgress
    | CollectDigits
    | LateResult
    | Noted
    | Drain
    | Operator
    | TimerFired
    | SocketClosed
)

# actions


@dataclass(frozen=True, slots=True)
class Say:
    """Send words. ``turn``: the turn they belong to, 0 for lines that belong to none. ``aside``: they are a talk cycle
    by themselves, and our next words wait for its end whatever the agent's setting."""

    turn: int
    text: str = field(repr=False)
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Close the talk cycle, if one is open."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play the sound at this address. ``preemptible``: our next words cut it."""

    source: str = field(repr=False)
    preemptible: bool = False
    interruptible: bool = True


@dataclass(frozen=True, slots=True)
class StartTurn:
    """Ask the model. ``round`` counts from 0 inside a turn. ``tools``: whether it may call any. ``language``: the tag
    of the one it is to be told to answer in, "" where it goes without saying."""

    turn: int
    round: int = 0
    tools: bool = True
    language: str = ""


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """Stop generating. Nothing of this turn is reported any more but tools begun with a side effect."""

    turn: int


@dataclass(frozen=True, slots=True)
class Speculate:
    """Ask the model as if these were a final prompt's words, in place of what was asked so before. What it answers is
    kept until a ``StartTurn`` asks the same, or another thing."""

    words: UserItem


@dataclass(frozen=True, slots=True)
class DropSpeculation:
    """Nothing will come of what was asked ahead."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """Nothing is left to do for this turn. ``outcome``: done, interrupted, superseded or failed. ``shortened``: the
    model would have gone on."""

    turn: int
    outcome: str
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class StartTool:
    """Run a tool. ``owned``: it has a side effect, so from now on it belongs to the process and is never cancelled."""

    key: int
    call: ToolCall
    turn: int
    owned: bool


@dataclass(frozen=True, slots=True)
class CancelTool:
    key: int


@dataclass(frozen=True, slots=True)
class DigitsCollected:
    """The answer to ``CollectDigits``; None: another tool waits for keys already."""

    key: int
    keyed: Keyed | None


@dataclass(frozen=True, slots=True)
class Carry:
    """A tool has changed this for the rest of the call, which goes by it already: carry out what is not the call's."""

    change: Change


@dataclass(frozen=True, slots=True)
class SetLanguage:
    """From now on this is spoken, and this understood, unless words are marked; "" where it stays as it is."""

    spoken: str = ""
    understood: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Words given to say from here on are in this language; "": in the one that is spoken anyway."""

    language: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Report ``TimerFired(name)`` after ``delay``; replaces a running timer of this name."""

    name: str
    delay: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    name: str


@dataclass(frozen=True, slots=True)
class Put:
    """The item at this position is now this one; None: there is none. ``urgent``: worth a write of its own."""

    position: int
    item: Item | None
    urgent: bool = True


@dataclass(frozen=True, slots=True)
class End:
    """Send ``end``; ``handoff`` becomes its handoffData. Nothing is sent after it."""

    handoff: dict[str, str] | None = field(default=None, repr=False)
    reason: str = "ended"


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Twilio did not close the socket after ``end``: do it."""


Action = (
    Say
    | Close
    | Play
    | StartTurn
    | CancelTurn
    | Speculate
    | DropSpeculation
    | TurnEnded
    | StartTool
    | CancelTool
    | DigitsCollected
    | Carry
    | SetLanguage
    | Mark
    | StartTimer
    | CancelTimer
    | Put
    | End
    | CloseSocket
)
