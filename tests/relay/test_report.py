"""When a call is over, how it ended, and what is reported of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.report import Waits, outcome, over_at, report
from relay.store.archive import Kept
from relay.summary import NOTHING, Summary

BEGUN = 1_700_000_000_000
ENDED = BEGUN + 60_000
WAITS = Waits(settle=2, lost=90, transfer=180, look=60, abandoned=900)


def kept(reason: str = "", *answers: str, answered: int = ENDED, ended: int = ENDED, **state: object) -> Kept:
    """A call whose session ended for this reason, or goes on without one; and what the webhooks answered."""
    fields: dict[str, object] = {"epoch": BEGUN, "begun": BEGUN, "seen": ENDED - 5000}
    if reason:
        fields |= {"left": BEGUN, "ended": ended, "reason": reason}
    after = {f"told:{answer}": str(answered) for answer in answers}
    return Kept("CA1", {name: str(value) for name, value in (fields | state).items()}, after)


@pytest.mark.parametrize(
    ("call", "wait"),
    [
        (kept("completed"), 2),
        (kept("agent"), 2),
        (kept("trouble", "hangup"), 2),
        (kept("dropped"), 90),
        (kept("error"), 90),
        (kept("switched"), 90),
        (kept("flood"), 90),
        (kept("handed_on"), 90),
        (kept("handed_on", "resume"), 90),
        (kept("handed_on", "completed"), 2),
        (kept("dropped", "resume", answered=ENDED + 1000), 91),
        (kept("dropped", "completed"), 2),
        (kept("slow", "given_up"), 2),
        (kept("transferred"), 180),
        (kept("transferred", "transfer"), 180),
        (kept("transferred", "transfer", "nobody"), 2),
        (kept("transferred", "transfer", "transferred"), 2),
        (kept("transferred", "transfer", "returned", answered=ENDED + 1000), 91),
        (kept("dropped", "given_up", "completed"), 2),
        # The webhook may be faster than what the session writes.
        (kept("", "completed"), 90),
        (kept("", "no-answer"), 90),
        # What was answered before this session began is about another one.
        (kept("dropped", "completed", answered=BEGUN - 1), 90),
    ],
)
def test_when_a_call_is_over(call: Kept, wait: int) -> None:
    """Soon after what ended it for good; later where somebody may take it up again, or it may come back."""
    assert over_at(call, ENDED, WAITS) == ENDED + wait * 1000


def test_a_call_that_goes_on_is_looked_at_again() -> None:
    """Every so often, and after a silence that no call has it has no process any more."""
    call, sign = kept(), ENDED - 5000
    assert over_at(call, ENDED, WAITS) == ENDED + 60_000
    assert over_at(call, sign + 880_000, WAITS) == sign + 900_000
    assert over_at(call, sign + 900_000, WAITS) <= sign + 900_000


def test_a_call_that_was_taken_up_again_goes_on() -> None:
    """The end that an earlier session told is not the newest one's."""
    call = kept("dropped", epoch=ENDED + 4000)
    assert over_at(call, ENDED + 200_000, WAITS) > ENDED + 200_000


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (kept("completed", "completed"), "completed"),
        (kept("agent", "hangup"), "ended"),
        (kept("silence"), "ended"),
        (kept("time_up"), "ended"),
        (kept("transferred", "transfer"), "transferred"),
        (kept("transferred", "transfer", "transferred", "completed"), "transferred"),
        (kept("transferred", "transfer", "nobody", "completed"), "ended"),
        (kept("completed", "voicemail", "completed"), "voicemail"),
        (kept("completed", "machine"), "ended"),
        (kept("trouble", "hangup"), "failed"),
        (kept("dropped", "given_up"), "failed"),
        (kept("dropped", "given_up", "completed"), "failed"),
        (kept("dropped", "completed"), "completed"),
        (kept("dropped", "resume"), "lost"),
        (kept("handed_on", "resume"), "lost"),
        (kept("handed_on", "completed"), "completed"),
        (kept("error"), "lost"),
        (kept(), "lost"),
        (kept("", "completed"), "completed"),
    ],
)
def test_how_a_call_ended(call: Kept, word: str) -> None:
    """One word, from what the session knew and what the telephone told."""
    assert outcome(call) == word


def told(call: Kept, items: list[Item], summary: Summary = NOTHING) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(report(call, items, summary))
    return data


def test_what_is_reported() -> None:
    """Exactly these fields; what was sent and what was heard apart."""
    call = kept(
        "completed",
        agent="desk",
        channel="voice",
        **{"from": "+15550001111", "to": "+15550002222"},
        turns=2,
        tokens_in=120,
        tokens_cached=100,
        tokens_out=30,
    )
    items: list[Item] = [
        AssistantItem("Hello.", origin="greeting"),
        UserItem("A table", "en-US"),
        AssistantItem("Let me", "interrupted", sent="Let me look. "),
        ToolItem("c1", "book", '{"seats": 2}', '{"booked": true}'),
        ToolItem("c2", "odd", "not json", "{}", "running"),
        NoteItem("The caller pressed 1."),
    ]
    assert told(call, items, Summary("A table.", ("Call back",))) == {
        "call_sid": "CA1",
        "agent": "desk",
        "channel": "voice",
        "from": "+15550001111",
        "to": "+15550002222",
        "started": "2023-11-14T22:13:20.000Z",
        "ended": "2023-11-14T22:14:20.000Z",
        "outcome": "completed",
        "transcript": [
            {"role": "assistant", "text": "Hello.", "heard": "Hello."},
            {"role": "user", "text": "A table", "heard": "A table"},
            {"role": "assistant", "text": "Let me look. ", "heard": "Let me"},
            {"role": "tool", "text": "book", "heard": ""},
            {"role": "tool", "text": "odd", "heard": ""},
            {"role": "note", "text": "The caller pressed 1.", "heard": ""},
        ],
        "tools": [
            {"name": "book", "status": "done", "arguments": {"seats": 2}},
            {"name": "odd", "status": "unknown", "arguments": {}},
        ],
        "turns": 2,
        "tokens": {"input": 120, "cached": 100, "output": 30},
        "summary": "A table.",
        "follow_ups": ["Call back"],
    }


def test_a_reply_that_was_being_played_when_the_process_died() -> None:
    """What of it was heard is as far as is known; the call ended with its last sign of life."""
    call = kept()
    found = told(call, [UserItem("Hi"), AssistantItem("One fox came by", "open", heard=2)])
    assert found["transcript"][1] == {"role": "assistant", "text": "One fox came by", "heard": "One fox"}
    assert found["ended"] == "2023-11-14T22:14:15.000Z"
    assert found["outcome"] == "lost"
