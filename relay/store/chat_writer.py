"""Frames of chats, written behind the sockets by one task a process: for all conversations together, and none of them
waits.

While Redis is away they wait, within a bound; what is too much is dropped and counted. An entry that may have arrived
is sent again as it was, and Redis refuses it the second time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from relay.errors import StoreError
from relay.store.chat_entries import entry_id, log_key
from relay.store.client import translate

if TYPE_CHECKING:
    from redis.asyncio import Redis

WINDOW = 0.05  # seconds in which frames join the first
MOST_AT_ONCE = 50  # entries of one round trip: what is packed for it keeps sockets waiting
MOST_WAITING = 50_000  # frames
MOST_KEPT = 1000  # entries of a conversation, about
AGAIN = 0.2  # seconds after which what failed is tried again
FLUSHED_WITHIN = 2.0  # seconds
NEVER = ("The ID specified in XADD is equal or smaller", "WRONGTYPE")
"""How answers begin that are the same however often an entry is sent: it has arrived before, or another process has the
conversation by now; or what is there is no log."""

BELL = "chats"
"""The channel on which processes tell each other which conversations have grown: who says so, and a
line for each."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    """Frames that follow each other. Taken to be sent, it does not grow any more."""

    conversation: str
    first: int
    frames: list[bytes]
    ends: bool

    def joined_by(self, seq: int) -> bool:
        return not self.ends and self.first + len(self.frames) == seq

    def command(self) -> list[Any]:
        key, fields = log_key(self.conversation), [b"f", b"\n".join(self.frames)]
        if self.ends:
            fields += [b"e", b"1"]
        # NOMKSTREAM: what was forgotten meanwhile stays so.
        return ["XADD", key, "NOMKSTREAM", "MAXLEN", "~", MOST_KEPT, entry_id(self.first), *fields]


class ChatWriter:
    """``lost``: told how many frames were dropped. ``start`` begins the one task, ``close`` ends it."""

    def __init__(
        self, redis: Redis, *, lost: Callable[[int], object], window: float = WINDOW, most: int = MOST_WAITING
    ) -> None:
        self.name = uuid4().hex
        """Of whoever rings."""
        self._redis = redis
        self._lost = lost
        self._window = window
        self._most = most
        self._waiting: deque[_Entry] = deque()
        self._growing: dict[str, _Entry] = {}  # those that wait and may be joined
        self._frames = 0
        self._entries: Counter[str] = Counter()
        self._grown: set[str] = set()  # what others are to be told of
        self._flushes: dict[str, list[asyncio.Future[None]]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._away = False

    def __len__(self) -> int:
        """Frames that wait."""
        return self._frames

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="chat log")

    async def close(self, timeout: float) -> None:
        """Writes what waits, within ``timeout`` seconds; the rest is dropped."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)
            self._task.cancel()
            await asyncio.wait([self._task])
        self._drop([*self._waiting])
        self._waiting.clear()

    def add(self, conversation: str, seq: int, frame: bytes, *, ends: bool) -> None:
        """Never waits, never raises."""
        if self._frames >= self._most or self._closing:
            self._lost(1)
            return
        self._frames += 1
        entry = self._growing.get(conversation)
        if entry is not None and entry.joined_by(seq):
            entry.frames.append(frame)
            entry.ends = ends
            return
        entry = self._growing[conversation] = _Entry(conversation, seq, [frame], ends)
        self._waiting.append(entry)
        self._entries[conversation] += 1
        self._wake.set()

    async def flush(self, conversation: str) -> None:
        """What was added of the conversation is in Redis. Raises StoreError where it is not: it is tried on. A cancel
        changes nothing."""
        if conversation not in self._entries:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.setdefault(conversation, []).append(written)
        with translate():
            async with asyncio.timeout(FLUSHED_WITHIN):
                await written

    async def _run(self) -> None:
        while not self._closing or self._waiting:
            await self._wake.wait()
            await asyncio.sleep(self._window)
            self._wake.clear()
            while self._waiting or self._grown:
                if not await self._write():
                    await asyncio.sleep(AGAIN)

    async def _write(self) -> bool:
        """The oldest of what waits; whether Redis took it. After a cancel it waits as before."""
        entries = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
        for entry in entries:
            if self._growing.get(entry.conversation) is entry:
                del self._growing[entry.conversation]
        left, failed = entries, ""
        try:
            with translate():
                left = await self._send(entries)
                if self._grown:
                    # Not in the same round trip: of a Cluster, each node has its own.
                    await self._redis.publish(BELL, "\n".join([self.name, *self._grown]))
                    self._grown.clear()
            failed = "" if not left else "refused"
        except StoreError as error:
            failed = error.code
        except Exception as error:
            log.error("bug in the chat log", error=type(error).__name__, exc_info=error)
            self._drop(left)
            self._grown.clear()
            left = []
        finally:
            self._waiting.extendleft(reversed(left))
        if failed:
            if not self._away:
                log.warning("chat log not written", code=failed)
            self._fail_flushes()
        self._away = bool(failed)
        return not failed

    async def _send(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Those that are to be sent again."""
        if not entries:
            return []
        async with self._redis.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.execute_command(*entry.command())
            answers = await pipeline.execute(raise_on_error=False)
        left = []
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, Exception) and not str(answer).startswith(NEVER):
                left.append(entry)
                continue
            if not isinstance(answer, RedisError) and answer is not None:
                self._grown.add(entry.conversation)
            self._settle(entry)
        return left

    def _settle(self, entry: _Entry) -> None:
        """It waits no more, in Redis or not."""
        self._frames -= len(entry.frames)
        self._entries[entry.conversation] -= 1
        if self._entries[entry.conversation] <= 0:
            del self._entries[entry.conversation]
            for written in self._flushes.pop(entry.conversation, ()):
                if not written.done():
                    written.set_result(None)

    def _fail_flushes(self) -> None:
        flushes, self._flushes = self._flushes, {}
        for written in (each for several in flushes.values() for each in several):
            if not written.done():
                written.set_exception(StoreError("Redis: the chat log is not written"))

    def _drop(self, entries: Sequence[_Entry]) -> None:
        self._fail_flushes()
        for entry in entries:
            self._lost(len(entry.frames))
            self._settle(entry)


__all__ = ["BELL", "ChatWriter"]
