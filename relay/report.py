"""A call that is over: when it is, how it ended, and what is reported of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.store.archive import Kept
from relay.store.history import repair
from relay.summary import Summary

TOLD = "told:"
"""What the fields begin with that say what the webhooks answered, and when (``conversation:{id}:after``)."""

LOST = frozenset({"dropped", "error", "slow", "binary", "switched", "handed_on", "flood"})
"""Ways a session ends after which the call may go on in another one."""

OUTCOMES = {
    "completed": "completed",
    "answered": "completed",
    "agent": "ended",
    "operator": "ended",
    "silence": "ended",
    "time_up": "ended",
    "budget": "ended",
    "ended": "ended",
    "transferred": "transferred",
    "trouble": "failed",
}
"""How a session ended -> what is reported; whatever else there is, the call is "lost"."""

TELLING = {
    "given_up": "failed",
    "nobody": "ended",
    "transferred": "transferred",
    "voicemail": "voicemail",
    "machine": "ended",
}
"""What became of the call as the telephone's webhooks answered it (``handlers/``) -> what is reported, where that says
more than the session could know."""

ENDS = frozenset({*OUTCOMES.values(), *TELLING.values(), "lost"})
"""All that ``outcome`` tells."""

HUNG_UP = frozenset({"completed", "hangup"})

GOES_ON = frozenset({"resume", "returned", "transfer"})
"""What the webhooks answer that does not end the call; all else does."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds. ``settle``: for the history to be written, and results that come late. ``lost``: for somebody to take a
    lost session up again. ``transfer``: for a call handed over to come back. ``look``: between two looks at a call that
    goes on. ``abandoned``: a session that has written nothing for so long, and did not tell its end, has none."""

    settle: float = 2.0
    lost: float = 90.0
    transfer: float = 180.0
    look: float = 60.0
    abandoned: float = 900.0


def over_at(kept: Kept, now_ms: int, waits: Waits) -> int:
    """When the call will be over for good if nothing comes between, in ms since 1970: past when it is. A moment to come
    is when to look again."""
    told, reason = _told(kept), kept.state.get("reason", "")
    ended = kept.number("ended")
    over = [at for word, at in told.items() if word not in GOES_ON]
    if over and is_open(kept):  # its end is still to be written, or its process died and another one was asked
        return min(over) + _ms(waits.lost)
    if over:  # whatever the session said
        return ended + _ms(waits.settle)
    if is_open(kept):
        gone = last_sign(kept) + _ms(waits.abandoned)
        return gone if gone <= now_ms else min(gone, now_ms + _ms(waits.look))
    if told.keys() & {"resume", "returned"}:
        return max(ended, *told.values()) + _ms(waits.lost)
    if reason in LOST:
        return ended + _ms(waits.lost)
    return ended + _ms(waits.transfer if reason == "transferred" or told else waits.settle)


def is_open(kept: Kept) -> bool:
    """Whether the newest session has not told its end."""
    return kept.state.get("left") != kept.state.get("epoch")


def last_sign(kept: Kept) -> int:
    return max(kept.number("seen"), kept.number("epoch"))


def outcome(kept: Kept) -> str:
    """In one word."""
    told, reason = _told(kept), kept.state.get("reason", "")
    for word, meaning in TELLING.items():
        if word in told:
            return meaning
    if is_open(kept) or reason in LOST:
        return "completed" if told.keys() & HUNG_UP else "lost"
    return OUTCOMES.get(reason, "lost")


def report(kept: Kept, items: Sequence[Item], summary: Summary) -> bytes:
    """The report's JSON."""
    begun = kept.number("begun") or kept.number("epoch")
    ended = last_sign(kept) if is_open(kept) else kept.number("ended")
    repaired = [item for _, item in repair(list(enumerate(items)), ended)[0]]
    return orjson.dumps(
        {
            "call_sid": kept.conversation,
            "agent": kept.state.get("agent", ""),
            "channel": kept.state.get("channel", ""),
            "from": kept.state.get("from", ""),
            "to": kept.state.get("to", ""),
            "started": _iso(begun),
            "ended": _iso(ended),
            "outcome": outcome(kept),
            "transcript": [_line(item) for item in repaired],
            "tools": [_tool(item) for item in repaired if isinstance(item, ToolItem)],
            "turns": kept.number("turns"),
            "tokens": {
                "input": kept.number("tokens_in"),
                "cached": kept.number("tokens_cached"),
                "output": kept.number("tokens_out"),
            },
            "summary": summary.summary,
            "follow_ups": list(summary.follow_ups),
        }
    )


def _line(item: Item) -> dict[str, str]:
    match item:
        case UserItem(text=text):
            return {"role": "user", "text": text, "heard": text}
        case AssistantItem(text=text):
            return {"role": "assistant", "text": item.sent or text, "heard": text}
        case ToolItem(name=name):
            return {"role": "tool", "text": name, "heard": ""}
        case NoteItem(text=text):
            return {"role": "note", "text": text, "heard": ""}


def _tool(item: ToolItem) -> dict[str, Any]:
    try:
        arguments = orjson.loads(item.arguments)
    except orjson.JSONDecodeError:
        arguments = {}
    return {"name": item.name, "status": item.status, "arguments": arguments if isinstance(arguments, dict) else {}}


def _told(kept: Kept) -> dict[str, int]:
    """What the webhooks answered of the newest session, and when; what was before it is about another one."""
    epoch, words = kept.number("epoch"), (name for name in kept.after if name.startswith(TOLD))
    return {name.removeprefix(TOLD): kept.done(name) for name in words if kept.done(name) >= epoch}


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


__all__ = ["ENDS", "TOLD", "Waits", "is_open", "last_sign", "outcome", "over_at", "report"]
