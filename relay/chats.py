"""Text conversations of one channel: whose turn it is, what was said so far, and the one write at a turn's end.

    async with chats.turn(conversation, wait=5) as turn:     # in the order they came, in whichever processes
        if (before := turn.answered(client_id)) is None:     # sent once more: it is no second turn
            ...                                              # (relay/textturn.py)
            await turn.put([UserItem(text), *answer.items], key=client_id, ...)

What was not ``put`` has left no trace: a turn whose process dies may be asked for again. A conversation begins with its
first ``put``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from relay.errors import StoreError, UnknownConversation
from relay.items import AssistantItem, Item, UserItem, dump_item
from relay.models.base import Usage
from relay.store.archive import Archive
from relay.store.history import History
from relay.store.leases import Leases
from relay.writer import epoch_ms

MOST_KEYS = 50  # turns of a conversation that are known by the key they came with; those before are forgotten
ANSWERED = "answered"
"""Why the latest turn is over, for the monitor."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stored:
    """A conversation as it stands: what was said, each at its position, and what is noted."""

    entries: Sequence[tuple[int, Item]] = field(repr=False)
    state: Mapping[str, str] = field(repr=False)

    @property
    def items(self) -> list[Item]:
        return [item for _, item in self.entries]

    def turns(self) -> list[tuple[str, list[Item]]]:
        """What was said, turn by turn, each with its name; "" where that is not known (any more), for one or more."""
        names = {at: name for _, first, count, name in _keys(self.state) for at in range(first, first + count)}
        named = groupby(self.entries, key=lambda entry: names.get(entry[0], ""))
        return [(name, [item for _, item in entries]) for name, entries in named]


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn that was put before. ``turn``: its name; ``items``: its own, the person's words first; ``upto``: all of
    the conversation up to its end."""

    turn: str
    items: list[Item] = field(repr=False)
    upto: list[Item] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """What a turn is put with. ``agent``: who has the conversation from here on; ``language``: it is in, as far as that
    is known. ``key``: what the turn came with, so that it is known if it comes again, and ``turn``: its name then.
    ``first_text``: seconds to its first words. ``state``: fields of a channel's own."""

    items: Sequence[Item] = field(repr=False)
    agent: str
    person: str = field(default="", repr=False)
    language: str = ""
    key: str = field(default="", repr=False)
    turn: str = ""
    first_text: float | None = None
    usage: Usage = field(default_factory=Usage)
    state: Mapping[str, str] = field(default_factory=dict, repr=False)


class OpenTurn:
    """A turn that has the conversation. ``new``: nothing was said before. ``number``: 1 for the first. ``epoch``: of
    the turn, ms since 1970. ``items``: what was said so far; ``state``: what is noted of it."""

    def __init__(
        self,
        chats: Chats,
        conversation: str,
        epoch: int,
        entries: Sequence[tuple[int, Item]] = (),
        state: Mapping[str, str] = MappingProxyType({}),
        base: int = 0,
    ) -> None:
        self.conversation = conversation
        self.epoch = epoch
        self.items = [item for _, item in entries]
        self.state = dict(state)
        self.number = _number(self.state, "turns") + 1
        self.written = False
        self._chats = chats
        self._base = base  # the first position that is free
        self._positions = [position for position, _ in entries]

    @property
    def new(self) -> bool:
        return "begun" not in self.state

    def answered(self, key: str) -> Answered | None:
        """The turn that came with this key, None where none is known."""
        for digest, position, count, turn in _keys(self.state):
            if key and digest == _digest(key):
                own = [i for i, at in enumerate(self._positions) if position <= at < position + count]
                upto = self.items[: own[-1] + 1] if own else []
                return Answered(turn, [self.items[i] for i in own], upto)
        return None

    async def put(self, done: Done) -> None:
        """Writes the turn, all or nothing. Raises Fenced where a later turn has the conversation, UnknownConversation
        where the person was forgotten meanwhile, StoreError; it may then be written or not, and putting it again is
        right in both cases."""
        self.written = True
        await self._chats.put(self, done, self._base)


class Chats:
    """``channel``: the name of it, in the monitor and everywhere. ``ttl``: seconds that a conversation is kept after
    its latest turn. ``worker``: the name of this process."""

    def __init__(
        self, channel: str, history: History, leases: Leases, archive: Archive, *, ttl: float, worker: str = ""
    ) -> None:
        self.channel = channel
        self._history = history
        self._leases = leases
        self._archive = archive
        self._ttl = ttl
        self._worker = worker

    @asynccontextmanager
    async def turn(self, conversation: str, *, create: bool = False, wait: float) -> AsyncIterator[OpenTurn]:
        """The conversation, once the turns before are over: ``wait`` seconds at most. ``create``: it may be a new one.

        Raises UnknownConversation where it is not there, or another channel's; TurnTimeout; StoreError."""
        async with self._leases.hold(conversation, self.channel, create=create, wait=wait) as lease:
            if not lease.exists:
                yield OpenTurn(self, conversation, lease.epoch)
                return
            loaded = await self._history.load(conversation, lease.epoch)
            turn = OpenTurn(self, conversation, lease.epoch, loaded.entries, loaded.state, loaded.base)
            try:
                yield turn
            finally:
                if not turn.written:
                    await self._leave(turn)

    async def _leave(self, turn: OpenTurn) -> None:
        """Nothing came of the turn, which the monitor would take for one whose process has died."""
        try:
            await self._history.put(turn.conversation, turn.epoch, (), {"left": str(turn.epoch)})
        except StoreError as error:
            log.warning("end of a turn not noted", conversation=turn.conversation, code=error.code)

    async def read(self, conversation: str) -> Stored | None:
        """What is there now, and nothing is claimed. None where there is no such conversation on this channel. Raises
        StoreError."""
        kept = await self._archive.read(conversation)
        if kept.state.get("channel") != self.channel:
            return None
        return Stored(await self._archive.entries(conversation), kept.state)

    async def put(self, turn: OpenTurn, done: Done, base: int) -> None:
        """As ``OpenTurn.put``; ``base``: where its first item goes."""
        now = epoch_ms()
        begun = _number(turn.state, "begun") or turn.epoch
        state = {
            **done.state,
            "channel": self.channel,
            "agent": done.agent,
            "agents": " ".join(dict.fromkeys([*turn.state.get("agents", "").split(), done.agent])),
            "language": done.language,
            "person": done.person or turn.state.get("person", ""),
            "begun": begun,
            "seen": now,
            "ended": now,
            "left": turn.epoch,
            "reason": ANSWERED,
            "turns": turn.number,
            "worker": self._worker,
            "slowest": max(_number(turn.state, "slowest"), round((done.first_text or 0.0) * 1000)),
            **{name: _number(turn.state, name) + count for name, count in done.usage.fields().items()},
        }
        if done.key:
            kept = [each for each in _keys(turn.state) if each[0] != _digest(done.key)]
            entry = _digest(done.key), base, len(done.items), done.turn
            state["keys"] = orjson.dumps([*kept, entry][-MOST_KEYS:]).decode()
        entries = [(base + i, dump_item(item)) for i, item in enumerate(done.items)]
        texts = {name: str(value) for name, value in state.items()}
        if turn.new:
            # First of all: what is in no list, forgetting a person would not find, and the next turn would take it for
            # forgotten.
            await self._archive.record(turn.conversation, texts["person"], begun, self._ttl)
        await self._history.put(turn.conversation, turn.epoch, entries, texts)
        if await self._archive.forgotten(turn.conversation, texts["person"], begun):
            await self._archive.delete(turn.conversation)
            raise UnknownConversation("the person was forgotten while the turn went on")


def said(items: Sequence[Item]) -> list[tuple[str, str]]:
    """What people read of them: ("user" | "assistant", text), one for each side of a turn."""
    told: list[tuple[str, str]] = []
    for item in items:
        match item:
            case UserItem(text=text):
                told.append(("user", text))
            case AssistantItem(text=text) if text.strip():
                if told and told[-1][0] == "assistant":
                    told[-1] = "assistant", f"{told[-1][1]}\n\n{text}"
                else:
                    told.append(("assistant", text))
    return told


def _number(state: Mapping[str, str], name: str) -> int:
    value = state.get(name, "")
    return int(value) if value.isdecimal() else 0


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _keys(state: Mapping[str, str]) -> list[tuple[str, int, int, str]]:
    """(digest of a key, position of its first item, how many, name) of the turns that are known by their keys."""
    try:
        found: Any = orjson.loads(state.get("keys") or "[]")
        return [(str(digest), int(position), int(count), str(turn)) for digest, position, count, turn in found]
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return []  # another version's


__all__ = ["ANSWERED", "Answered", "Chats", "Done", "OpenTurn", "Stored", "said"]
