"""What a chat was sent, kept for sockets that were lost: a socket that comes back, to whichever process, is sent the
frames it has not seen, and sees those that are still being made.

``conversation:{id}:log``    stream of frames (``chat_entries.py``), capped; kept as long as the conversation, and for
                            an hour in its first turn: of one that is never put, nobody would find it to forget it

It is written behind the sockets (``chat_writer.py``). Nothing is lost with it but the resuming: who is not sent what is
missing is told to load the conversation anew. One process at a time adds to a conversation, the one that has its lease;
``begin`` keeps what another one had sent, and nobody has written, from being taken for what comes now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from relay.errors import StoreError
from relay.jobs import Jobs
from relay.store.chat_entries import Entry, Frame, load_entry, log_key, unseen
from relay.store.chat_writer import BELL, MOST_KEPT, MOST_WAITING, WINDOW, ChatWriter
from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import script
from relay.store.subscription import Subscription

if TYPE_CHECKING:
    from redis.asyncio import Redis

JUMP = 1_000_000  # more frames than a process sends that nobody writes
PATIENCE = (0.05, 0.1, 0.25)  # seconds between the looks for what a client has seen and its process is about to write
AGAIN = 0.5  # seconds after which who follows looks again, where Redis was away
FIRST_KEPT_MS = 3_600_000
PAGE = 100  # entries read at once, backwards
MOST_FOLLOWED = 10_000
GREATEST = 2**53  # number of a frame: as far as JavaScript counts
_BEHIND_ALL = 2**64 - 1  # the second half of an entry's id

Take = Callable[[int, bytes], object]

log = structlog.get_logger(__name__)


class ChatLog:
    """``ttl``: seconds a log is kept after its last turn began. ``lost``: told how many frames were dropped. ``listen``
    comes before ``start``, ``close`` ends what both began."""

    def __init__(
        self,
        redis: Redis,
        *,
        ttl: float,
        lost: Callable[[int], object] = lambda count: None,
        window: float = WINDOW,
        most: int = MOST_WAITING,
        patience: Sequence[float] = PATIENCE,
    ) -> None:
        self._redis = redis
        self._patience = patience
        self._ttl_ms = int(ttl * 1000)
        self._begin = script(redis, "chat_begin", fenced=False)
        self._writer = ChatWriter(redis, lost=lost, window=window, most=most)
        self._followers: dict[str, set[_Follower]] = {}
        self._follows = Jobs(MOST_FOLLOWED)

    def __len__(self) -> int:
        """Frames that wait to be written."""
        return len(self._writer)

    def listen(self, subscription: Subscription) -> None:
        """Followers are told of what other processes have written."""
        subscription.on(BELL, self._ring)
        subscription.watch(self._listening)

    def start(self) -> None:
        self._writer.start()

    async def close(self, timeout: float) -> None:
        """Writes what waits, within ``timeout`` seconds; nobody follows any more."""
        for follower in [each for several in self._followers.values() for each in several]:
            self._unfollow(follower)
        await self._follows.drain(0)
        await self._writer.close(timeout)

    # -- who has the conversation

    async def begin(self, conversation: str) -> int:
        """To be called with the conversation's lease before a turn's first frame: the number its frames count on from.
        That is the number of the last frame; where the turn before was never ended, a far greater one. Raises
        StoreError; then, as after a cancel, it may be called again."""
        await self._writer.flush(conversation)
        keys = [log_key(conversation), state_key(conversation)]
        with translate():
            args = [JUMP, MOST_KEPT, self._ttl_ms, min(self._ttl_ms, FIRST_KEPT_MS)]
            start, last = map(int, await self._begin(keys=keys, args=args))
        for follower in self._followers.get(conversation, ()):
            follower.pass_by(last, start)
        return start

    def add(self, conversation: str, seq: int, frame: bytes, *, ends: bool = False) -> None:
        """A frame, one line of JSON, with the number behind that of the last one. ``ends``: it is the last one of its
        turn. Never waits, never raises."""
        self._writer.add(conversation, seq, frame, ends=ends)
        for follower in self._followers.get(conversation, ()):
            follower.pass_by(seq - 1, seq)

    async def flush(self, conversation: str) -> None:
        """What was added is in Redis. Raises StoreError where it is not: it is tried on. A cancel changes nothing."""
        await self._writer.flush(conversation)

    # -- who reads it: all of it raises StoreError, and a cancel leaves nothing behind

    async def last(self, conversation: str) -> int:
        """The number of the last frame, 0 for none."""
        await self._writer.flush(conversation)
        entries = await self._newest(conversation, "+", 1)
        return entries[0].last if entries else 0

    async def is_open(self, conversation: str) -> bool:
        """Whether a turn has begun whose last frame is not written."""
        await self._writer.flush(conversation)
        entries = await self._newest(conversation, "+", 1)
        return bool(entries) and not entries[0].over

    async def settled(self, conversation: str) -> int:
        """The number of the last frame before the turn that is open, or of the last one where none is: what is behind
        it is not in the history yet."""
        await self._writer.flush(conversation)
        newest = "+"
        first = 0
        while entries := await self._newest(conversation, newest, PAGE):
            for entry in entries:
                if entry.over or not entry.frames:
                    return entry.last
                first = entry.after
            newest = f"{first}-{_BEHIND_ALL}"
        return first  # its beginning is not there any more

    async def since(self, conversation: str, after: int) -> list[Frame] | None:
        """The frames behind the one with this number; None where they are not all there (any more), or that one was
        another."""
        if not 0 <= after <= GREATEST:
            return None
        await self._writer.flush(conversation)
        for pause in (*self._patience, None):
            before, following = await self._around(conversation, after)
            coming = before is not None and before.last < after and not before.over and not following
            if not coming or pause is None:
                break
            await asyncio.sleep(pause)
        return unseen(after, before, following)

    def follow(self, conversation: str, after: int, take: Take, lost: Callable[[], object]) -> Callable[[], None]:
        """``take`` is called with the frames behind this number, in order, none twice: with those that are there, then
        with others as other processes write them, until the returned function is called. What this process adds
        meanwhile is left out, unless it comes among those of others. ``lost`` is called instead, and nothing after it,
        where they are not all there (any more). Neither may wait."""
        follower = _Follower(conversation, after, take, lost)
        self._followers.setdefault(conversation, set()).add(follower)
        follower.task = self._follows.start(self._serve(follower), f"follow {conversation}")
        if follower.task is None:
            self._unfollow(follower)
            asyncio.get_running_loop().call_soon(lost)
        return lambda: self._unfollow(follower)

    async def _serve(self, follower: _Follower) -> None:
        while True:
            follower.rung.clear()
            try:
                frames = await self.since(follower.conversation, follower.after)
            except StoreError:
                await asyncio.sleep(AGAIN)
                continue
            if frames is None:
                self._unfollow(follower)
                follower.lost()
                return
            for seq, frame in frames:
                if follower.over:
                    return
                follower.after = seq
                follower.take(seq, frame)
            await follower.rung.wait()  # as long as whoever follows wants it

    def _unfollow(self, follower: _Follower) -> None:
        follower.over = True
        several = self._followers.get(follower.conversation, set())
        several.discard(follower)
        if not several:
            self._followers.pop(follower.conversation, None)
        # What a cancelled task remembers of its end is a ring with whoever knows the task (see ``relay/parting.py``).
        task, follower.task = follower.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _ring(self, data: bytes) -> None:
        sender, *conversations = data.decode().split("\n")
        if self._followers and sender != self._writer.name:
            for conversation in conversations:
                for follower in self._followers.get(conversation, ()):
                    follower.rung.set()

    def _listening(self, listening: bool) -> None:
        """What was told meanwhile, nobody has heard."""
        if listening:
            for follower in (each for several in self._followers.values() for each in several):
                follower.rung.set()

    async def _around(self, conversation: str, after: int) -> tuple[Entry | None, list[Entry]]:
        """The last entry that begins at or before this number, and those behind it."""
        place = f"{after}-{_BEHIND_ALL}"
        with translate():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.xrevrange(log_key(conversation), place, "-", count=1)
                pipeline.xrange(log_key(conversation), f"{after + 1}-0", "+")
                before, following = await pipeline.execute()
        return load_entry(before[0]) if before else None, [load_entry(each) for each in following]

    async def _newest(self, conversation: str, newest: str, count: int) -> list[Entry]:
        with translate():
            found: Any = await self._redis.xrevrange(log_key(conversation), newest, "-", count=count)
        return [load_entry(each) for each in found]


class _Follower:
    __slots__ = ("after", "conversation", "lost", "over", "rung", "take", "task")

    def __init__(self, conversation: str, after: int, take: Take, lost: Callable[[], object]) -> None:
        self.conversation = conversation
        self.after = after
        self.take = take
        self.lost = lost
        self.rung = asyncio.Event()
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def pass_by(self, before: int, number: int) -> None:
        """Whoever has seen all up to the one number need not look for what there is up to the other."""
        if self.after == before:
            self.after = number


__all__ = ["ChatLog"]
