"""A conversation in Redis: its items by position, and its state.

``conversation:{id}:items``   sorted set, score = position, member = the item's JSON with its position as ``p`` (members
                              of a sorted set are unique: two equal items at two positions must not become one)
``conversation:{id}:state``   hash: ``epoch`` (of the session that owns the conversation), ``before`` (of the one before
                              it), ``seen`` (when the owner last had something to write), ``session`` (Twilio's name for
                              the owner, as long as it may come back on another socket), ``lost`` (when its socket was
                              lost, "" while it is open), ``mark`` (of the last write: a server that has lost one, as
                              a replica may have when it takes over, is found out), and what the session notes

An epoch is the time, in ms since 1970, at which a session's socket was accepted. Every access claims the conversation
for its epoch and is refused (``Fenced``) when a newer one holds it. All of it may be repeated at will.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import orjson
import structlog

from relay.errors import Fenced, MissingWrite
from relay.heard import CHARACTERS_PER_SECOND, SPEECH_DELAY, whole_words, words
from relay.items import AssistantItem, Item, ToolItem, load_item, replace
from relay.store.batch import WINDOW, Batch
from relay.store.client import translate
from relay.store.scripts import script, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger()

MOST_ITEMS = 2000  # what one load returns at most, the newest; a call has far fewer
MISSING = 2  # what the script answers when the write before is gone
UNKNOWN_OUTCOME = orjson.dumps(
    {
        "status": "unknown",
        "note": "The line dropped while this was running, so its outcome is unknown. Check before repeating it.",
    }
).decode()


def items_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:items"


def state_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:state"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Redis holds. ``base``: the first position free for the session that loaded; ``before``: the epoch of the
    session before it, 0 for none. Items this program cannot read are left out, and keep their place."""

    entries: list[tuple[int, Item]]
    base: int
    state: dict[str, str]
    before: int = 0

    @property
    def seen(self) -> int:
        """Ms since 1970 at which the session before last had something to write, 0 if unknown."""
        value = self.state.get("seen", "")
        return int(value) if value.isdecimal() else 0


class HistoryStore(Protocol):
    """What a conversation's writer needs; ``History`` satisfies it."""

    async def load(self, conversation: str, epoch: int) -> Loaded: ...

    async def put(
        self,
        conversation: str,
        epoch: int,
        entries: Sequence[tuple[int, bytes]],
        state: Mapping[str, str] | None = None,
        *,
        mark: str = "",
        after: str = "",
    ) -> None: ...

    async def session(self, conversation: str) -> tuple[str | None, int]: ...


class History:
    """Loads and writes conversations; ``ttl`` in seconds counts from the last access. ``window``: seconds a write waits
    for others to join it."""

    def __init__(self, redis: Redis, ttl: float, *, window: float = WINDOW) -> None:
        self._redis = redis
        self._ttl_ms = int(ttl * 1000)
        self._load = script(redis, "history_load")
        self._put = Batch(redis, script(redis, "history_put"), window)

    async def load(self, conversation: str, epoch: int) -> Loaded:
        """Claims the conversation for this epoch and returns what is stored, unrepaired (see ``repair``).

        Raises Fenced, StoreError. A cancel leaves the conversation claimed or not; repeating tells the same.
        """
        with translate():
            reply = await self._load(
                keys=[items_key(conversation), state_key(conversation)], args=[epoch, self._ttl_ms, MOST_ITEMS]
            )
        if reply is None:
            raise Fenced("a newer session owns this conversation")
        before, members, fields = reply
        scores = [int(float(score)) for score in members[1::2]]
        loaded = zip(scores, map(load_item, members[::2]), strict=True)
        entries = [(position, item) for position, item in loaded if item is not None]
        if left_out := len(scores) - len(entries):
            log.warning("items of a newer version left out", conversation=conversation, count=left_out)
        return Loaded(
            entries=entries,
            base=scores[-1] + 1 if scores else 0,
            state=dict(zip(map(text, fields[::2]), map(text, fields[1::2]), strict=True)),
            before=int(before),
        )

    async def put(
        self,
        conversation: str,
        epoch: int,
        entries: Sequence[tuple[int, bytes]],
        state: Mapping[str, str] | None = None,
        *,
        mark: str = "",
        after: str = "",
    ) -> None:
        """Writes (position, ``dump_item`` JSON) pairs, empty bytes removing what is there, and fields of the state:
        all or nothing, replacing what was at these positions. ``mark``: names this write; ``after``: the one before it,
        without which nothing is written (MissingWrite), "" if that does not matter.

        Raises Fenced, StoreError. A cancel or a timeout leaves it written or not; repeating is right in both cases.
        """
        fields = [word for pair in (state or {}).items() for word in pair]
        args: list[int | str | bytes] = [epoch, self._ttl_ms, mark, after, len(fields), *fields]
        for position, raw in entries:
            args += (position, b'{"p":%d,%b' % (position, raw[1:]) if raw else b"")
        written = await self._put([items_key(conversation), state_key(conversation)], args)
        if not written:
            raise Fenced("a newer session owns this conversation")
        if written == MISSING:
            raise MissingWrite("what was written before is not there any more")

    async def session(self, conversation: str) -> tuple[str | None, int]:
        """The session that may come back, "" for none, None where nothing is written of any; and when its socket was
        lost (ms since 1970), 0 while it is not known to be. Claims nothing. Raises StoreError."""
        with translate():
            name, lost = await self._redis.hmget(state_key(conversation), ["session", "lost"])
        return None if name is None else text(name), int(lost or 0)


Rewrite = tuple[int, Item | None]


def repair(
    entries: Sequence[tuple[int, Item]], dropped_ms: int, *, plays_on: bool = False
) -> tuple[list[tuple[int, Item]], list[Rewrite]]:
    """What a resumed session makes of what the session before it left, and what it therefore has to write.

    A tool call still running has no owner any more: its outcome is unknown. A reply still open is cut to the words
    known to be played, or, where none are, to those that fit between its first frame and ``dropped_ms`` (ms since
    1970, by the same clock as the items' ``started``); it goes where nothing was heard. Where it ``plays_on``, because
    only the socket was lost, it stays as it is. Doing it twice changes nothing.
    """
    items: list[tuple[int, Item]] = []
    rewrites: list[Rewrite] = []
    for position, item in entries:
        repaired: Item | None = item
        match item:
            case ToolItem(status="running"):
                repaired = replace(item, status="unknown", output=UNKNOWN_OUTCOME)
            case AssistantItem(status="open") if not plays_on:
                repaired = _heard(item, dropped_ms)
        if repaired is not item:
            rewrites.append((position, repaired))
        if repaired is not None:
            items.append((position, repaired))
    return items, rewrites


def _heard(item: AssistantItem, dropped_ms: int) -> AssistantItem | None:
    count = item.heard
    if count == 0 and item.started > 0:
        spoken = ((dropped_ms - item.started) / 1000 - SPEECH_DELAY) * CHARACTERS_PER_SECOND
        count = sum(1 for _, end in words(item.text) if end <= spoken)
    heard = whole_words(item.text, count)
    if not heard:
        return None
    if heard == item.text:
        return replace(item, status="done", heard=0)
    return replace(item, text=heard, status="interrupted", heard=0, sent=item.text)


__all__ = ["History", "HistoryStore", "Loaded", "Rewrite", "items_key", "repair", "state_key"]
