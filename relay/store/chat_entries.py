"""What the log of a chat holds (``chat_log.py``), and what it says of the frames that somebody has not seen.

    <number of its first frame>-0   ``f``: frames, one a line; ``e`` where the last of them ends a turn
    <number>-1                      ``b``: a turn has begun whose frames count on from the number, and the number of the
                                    last frame before it; another one where the turn before was never ended

Frames are numbered from 1. An entry that is written twice is refused by Redis, for its id is not the greatest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.store.scripts import text

Frame = tuple[int, bytes]
"""Its number, and its JSON."""

UNKNOWN = -1

RawEntry = tuple[Any, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """``after``: the number of the frame before it; ``last``: of its last one, or the one counted on from. ``over``: no
    turn is open behind it."""

    after: int
    last: int
    over: bool
    frames: Sequence[bytes]

    def beyond(self, number: int) -> list[Frame]:
        """Its frames with greater numbers."""
        first = self.last - len(self.frames) + 1
        return [(first + place, frame) for place, frame in enumerate(self.frames) if first + place > number]


def log_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:log"


def entry_id(first: int) -> str:
    return f"{first}-0"


def load_entry(raw: RawEntry) -> Entry:
    """One of a newer form follows on nothing that anybody knows."""
    number, fields = int(text(raw[0]).partition("-")[0]), raw[1]
    if b"b" in fields:
        return Entry(int(fields[b"b"]), number, over=False, frames=())
    if b"f" not in fields:
        return Entry(UNKNOWN, number, over=False, frames=())
    frames = fields[b"f"].split(b"\n")
    return Entry(number - 1, number + len(frames) - 1, b"e" in fields, frames)


def unseen(after: int, before: Entry | None, following: Sequence[Entry]) -> list[Frame] | None:
    """The frames that follow the one with this number, all of them; None where one is missing, or where what had that
    number was another frame. ``before``: the last entry that begins at or before it, ``following``: those behind."""
    if not following and (after if before is None else before.last < after):
        return None
    frames = [] if before is None else before.beyond(after)
    reached = after if before is None else max(after, before.last)
    for entry in following:
        if entry.after != reached:
            return None
        frames += entry.beyond(after)
        reached = entry.last
    return frames


__all__ = ["Entry", "Frame", "RawEntry", "entry_id", "load_entry", "log_key", "unseen"]
