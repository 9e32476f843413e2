"""History written behind a conversation: nothing here is ever waited for on the way to a caller's ear.

A session counts its items from 0 and puts each, and each rewrite, under its number. The writer turns numbers into
positions (``base`` + number) once it knows the base, keeps one entry an item, and writes what has changed with one
write in flight. What was put before, by earlier sessions too, stays here until the conversation is forgotten: after any
error all of it is written again, and a session that follows in this process goes on without Redis.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import structlog

from relay.errors import Fenced, StoreError
from relay.items import AssistantItem, Item, ToolItem, dump_item
from relay.store.history import HistoryStore, Loaded, repair

log = structlog.get_logger()

MOST_AT_ONCE = 200  # items of one write
RESERVED = frozenset(
    {"epoch", "before", "seen", "session", "lost", "mark"}
)  # fields of the state that are not to be noted
RETRY_LOAD = 0.1  # seconds until a failed load is tried once more


def epoch_ms() -> int:
    """Now, as epochs and ``started`` are written: ms since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``open_reply``: between two writes of a reply that is still being sent; ``backoff``: the first and the
    longest wait after an error."""

    open_reply: float = 0.25
    backoff: tuple[float, float] = (0.1, 2.0)


USUAL_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a session starts from: the items that earlier sessions left, repaired and in order, and the conversation's
    state. ``stored`` is False if Redis could not be asked in time: then they are what this process remembers.

    ``same``: they are of this very session, which has lost its socket. ``playing``: then, behind the others, the items
    from the first on that was open, as they were, by their numbers (below 0), under which they may be put anew."""

    items: tuple[Item, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    stored: bool = True
    same: bool = False
    playing: tuple[tuple[int, Item], ...] = ()


class ConversationWriter:
    """Writes one session's items; made by ``Conversations.open``, which owns its task.

    ``on_fenced`` is called once when a newer session, here or elsewhere, owns the conversation: the session is to end
    quietly and start no side effect. ``on_late`` gets the result of a side effect that an earlier session of this
    process had begun; it is in the history already. ``session``: the name under which it may come back on another
    socket.
    """

    def __init__(
        self,
        history: HistoryStore,
        conversation: str,
        epoch: int,
        *,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None] | None],
        session: str | None = None,
        on_fenced: Callable[[], None] | None = None,
        on_late: Callable[[ToolItem], None] | None = None,
        predecessor: ConversationWriter | None = None,
        pace: Pace = USUAL_PACE,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self.conversation = conversation
        self.epoch = epoch
        self.session = session
        self.ended = False  # in order: the session does not come back
        self._history = history
        self._spawn = spawn
        self._on_fenced = on_fenced
        self._on_late = on_late
        self._pace = pace
        self._now_ms = now_ms
        self._predecessor = predecessor
        self._successor: ConversationWriter | None = None

        self._base: int | None = None
        self._unconfirmed = 0  # epoch of the session whose items were taken over while Redis could not be asked
        self._items: dict[int, Item | None] = {}  # by number; negative: from earlier sessions; None: removed
        self._state: dict[str, str] = {}
        self._dirty: set[int] = set()
        self._writes = 0
        self._mark = ""  # of the last write that was taken; "": all of it is to be written
        self._state_dirty = False
        self._in_flight = False
        self._seen = 0
        self._left = False
        self._over = False

        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._due = inf  # event loop time of the next write
        self._rested = 0.0  # no write before this
        self._next_open = 0.0  # no write for the sake of an open reply before this

        if predecessor is not None:
            predecessor._succeed(self)

    # -- what a session calls

    @property
    def pending(self) -> bool:
        """Something is not known to be written."""
        return bool(self._dirty or self._in_flight or self._state_dirty) and not self._over

    @property
    def over(self) -> bool:
        """Another session owns the conversation, or the writer was closed: nothing is written any more."""
        return self._over

    @property
    def lost_ms(self) -> int:
        """When the session lost its socket, in ms since 1970; 0 while it has one."""
        return self._seen if self._left else 0

    async def prepare(self, timeout: float) -> Prepared:
        """Claims and loads the conversation and learns the base, within ``timeout`` seconds.

        When Redis could not be asked the base is above all that could be stored, and what this process remembers is
        returned. Raises Fenced (``on_fenced`` was called) if a newer session exists. A cancel leaves the writer
        unprepared: what is put waits in memory until the session has left.
        """
        loaded: Loaded | None = None
        try:
            async with asyncio.timeout(timeout):
                loaded = await self._load()
        except TimeoutError:
            pass
        except Fenced:
            self._fence()
            raise
        if self._over or self._successor is not None:
            raise Fenced("a newer session took over in this process")
        return self._begin(loaded)

    def put(self, number: int, item: Item | None, *, urgent: bool = False) -> None:
        """Item ``number`` of this session is now this; None removes it. Never waits, never raises.

        An ``open`` reply is written every so often, everything else (and that, if urgent) as soon as the write in
        flight has ended. Still right after the session has left: results of side effects may come late.
        """
        if self._successor is not None:
            self._hand_on(number, item)
            return
        if self._over:
            return
        self._items[number] = item
        self._dirty.add(number)
        if not self._left:
            self._seen = self._now_ms()
        self._schedule(0.0 if urgent or not _is_open(item) else self._next_open)

    def position(self, number: int) -> int | None:
        """Of this item in the history; None as long as that is not known."""
        return None if self._base is None else self._base + number

    @property
    def noted(self) -> Mapping[str, str]:
        """The fields of the conversation's state, as far as this process knows them."""
        return self._state

    def note(self, **fields: str | int) -> None:
        """Fields of the conversation's state, written with the next items."""
        if self._over or self._successor is not None:
            return
        self._state.update((name, str(value)) for name, value in fields.items())
        self._state_dirty = True
        self._schedule(0.0)

    def end(self) -> None:
        """The session ends in order, and does not come back."""
        if not self._over and self._successor is None:
            self.ended = self._state_dirty = True

    async def flush(self, timeout: float) -> bool:
        """Writes what there is without waiting for its time. True when all of it is written within ``timeout`` seconds.
        A cancel leaves the writing going on."""
        self.hurry()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=timeout)
        return not self.pending

    # -- what the registry calls

    def hurry(self) -> None:
        """The next write is due now, whatever it was waiting for."""
        if self.pending:
            self._rested = 0.0
            self._schedule(0.0)

    def leave(self) -> None:
        """The session has ended: this is when the line dropped, as far as anybody will know."""
        if self._left or self._over or self._successor is not None:
            return
        self._left = True
        self._seen = self._now_ms()
        self._state_dirty = True
        if self._base is None:
            self._begin(None)
        self._schedule(0.0)

    def let_go(self) -> None:
        """Of the session, which is over and is told nothing any more (``parting.py``)."""
        self._on_fenced = self._on_late = None

    def close(self) -> None:
        """Forgets everything; nothing is written any more."""
        self._over = True
        self._predecessor = None
        self._items.clear()
        self._dirty.clear()
        self._wake.set()

    # -- the base, and what is inherited

    async def _load(self) -> Loaded | None:
        try:
            return await self._history.load(self.conversation, self.epoch)
        except Fenced:
            raise
        except StoreError:
            await asyncio.sleep(RETRY_LOAD)
        try:
            return await self._history.load(self.conversation, self.epoch)
        except Fenced:
            raise
        except StoreError:
            return None

    def _begin(self, loaded: Loaded | None) -> Prepared:
        """Fixes the base, above everything known, and takes over what is known from Redis and from this process."""
        if self._base is not None:
            return Prepared()
        stored: dict[int, Item | None] = dict(loaded.entries) if loaded else {}
        entries, dropped_ms = stored.copy(), loaded.seen if loaded else 0
        stored_state = {name: value for name, value in loaded.state.items() if name not in RESERVED} if loaded else {}
        state = stored_state.copy()
        session = loaded.state.get("session", "") if loaded else ""
        self._mark = loaded.state.get("mark", "") if loaded else ""
        older, self._predecessor = self._predecessor, None
        if older is not None and older._still_right(loaded):
            base = older._settle_base()
            entries |= {base + number: item for number, item in older._items.items()}
            state |= older._state
            dropped_ms = older._seen
            session = "" if older.ended else older.session or ""
            if loaded is None:
                self._unconfirmed = older._unconfirmed or older.epoch
        if older is not None:
            older.close()

        base = self._base = max(loaded.base if loaded else self.epoch << 12, max(entries, default=-1) + 1)
        found = sorted((position, item) for position, item in entries.items() if item is not None)
        same = bool(session) and session == self.session
        items, rewrites = repair(found, dropped_ms, plays_on=same)
        entries |= dict(rewrites)
        self._items |= {position - base: item for position, item in entries.items()}
        # What Redis lacks: repairs, what was never written, what it lost; all of it where it could not be asked.
        lacking = (p for p, item in entries.items() if loaded is None or stored.get(p) != item)
        self._dirty |= {position - base for position in lacking}
        self._state_dirty |= state != stored_state or self.session is not None
        self._state = state | self._state
        if self.pending:
            self._schedule(0.0)
        playing = next((at for at, (_, item) in enumerate(items) if _is_open(item)), len(items))
        return Prepared(
            tuple(item for _, item in items[:playing]),
            dict(self._state),
            stored=loaded is not None,
            same=same,
            playing=tuple((position - base, item) for position, item in items[playing:]),
        )

    def _still_right(self, loaded: Loaded | None) -> bool:
        """Whether what is remembered here is the latest: a session elsewhere may have gone on since."""
        if loaded is None or self._over:
            return not self._over
        self._settle(loaded.before)
        return loaded.before <= self.epoch

    def _settle(self, before: int) -> None:
        """Drops what was taken over unasked if, as Redis now tells, a session elsewhere had gone on from it."""
        if self._unconfirmed and before > self._unconfirmed:
            for number in [number for number in self._items if number < 0]:
                del self._items[number]
                self._dirty.discard(number)
        self._unconfirmed = 0

    def _settle_base(self) -> int:
        if self._base is None:
            self._begin(None)
        assert self._base is not None
        return self._base

    def _succeed(self, successor: ConversationWriter) -> None:
        """A newer session of this process takes over what is remembered here."""
        if not self._left:
            self._left = True
            self._seen = self._now_ms()
        self._successor = successor
        self._wake.set()
        self._tell_fenced()
        self.let_go()

    def _hand_on(self, number: int, item: Item | None) -> None:
        successor = self._successor
        if successor is None or not isinstance(item, ToolItem) or item.status == "running":
            return  # the rest is the replaced session's, which has no say any more
        if self._base is None or successor._base is None:
            # The successor has not yet taken what is remembered here.
            self._items[number] = item
            self._dirty.add(number)
        else:
            successor._late(self._base + number, item)

    def _late(self, position: int, item: ToolItem) -> None:
        base = self._settle_base()
        number = position - base
        if self._successor is not None:
            self._hand_on(number, item)
            return
        known = self._items.get(number)
        if self._over or not isinstance(known, ToolItem) or (known.call_id, known.status) != (item.call_id, "unknown"):
            return
        self.put(number, item)
        if self._on_late is not None:
            self._on_late(item)

    # -- writing

    def _schedule(self, when: float) -> None:
        if when < self._due:
            self._due = when
            self._wake.set()
        if self._base is None or self._over or self._successor is not None:
            return
        if self._task is None or self._task.done():
            self._task = self._spawn(self._write_all(), f"history {self.conversation}")

    async def _write_all(self) -> None:
        """Lives while there is something to write. A cancel loses nothing: what was in flight is pending again."""
        failures = 0
        while self.pending and await self._time_has_come():
            try:
                await self._write_once()
            except Fenced:
                self._fence()
            except StoreError as error:
                if not failures:
                    log.warning("history not written", conversation=self.conversation, code=error.code)
                failures += 1
                first, longest = self._pace.backoff
                now = asyncio.get_running_loop().time()
                self._rested = now + min(longest, first * 2.0 ** min(failures - 1, 16))
                self._due = now
            else:
                if failures:
                    log.info("history written again", conversation=self.conversation)
                failures = 0

    async def _time_has_come(self) -> bool:
        """Waits until a write is due; False when there will be none."""
        clock = asyncio.get_running_loop().time
        while not self._over and self._successor is None:
            delay = max(self._due, self._rested) - clock()
            if delay <= 0:
                return True
            self._wake.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass
        return False

    async def _write_once(self) -> None:
        if self._unconfirmed:
            self._settle((await self._history.load(self.conversation, self.epoch)).before)
            if self._over:
                return
        assert self._base is not None
        numbers = sorted(self._dirty)[:MOST_AT_ONCE]
        batch = [(self._base + number, self._items[number]) for number in numbers]
        # What the state says has been taken in is in the items: it goes with the last of them.
        last = len(numbers) == len(self._dirty)
        state = self._fields() if self._state_dirty and last else {}
        if self._seen:
            state["seen"] = str(self._seen)
        self._dirty.difference_update(numbers)
        self._state_dirty = self._state_dirty and not last
        self._in_flight = True
        now = asyncio.get_running_loop().time()
        self._due = now if self._dirty else inf
        if any(_is_open(item) for _, item in batch):
            self._next_open = now + self._pace.open_reply
        try:
            entries = [(position, b"" if item is None else dump_item(item)) for position, item in batch]
            self._writes += 1
            mark = f"{self.epoch}:{self._writes}"
            await self._history.put(self.conversation, self.epoch, entries, state, mark=mark, after=self._mark)
            self._mark = mark
        except BaseException:
            # Everything again: what Redis had may be lost with it.
            self._dirty |= self._items.keys()
            self._state_dirty = True
            self._mark = ""
            raise
        finally:
            self._in_flight = False

    def _fields(self) -> dict[str, str]:
        if self.session is None:
            return dict(self._state)
        lost = str(self.lost_ms) if self.lost_ms else ""
        return self._state | {"session": "" if self.ended else self.session, "lost": lost}

    def _fence(self) -> None:
        # What a successor in this process has not taken yet stays for it: it is what fences us.
        if self._successor is None:
            self.close()
        self._tell_fenced()

    def _tell_fenced(self) -> None:
        tell, self._on_fenced = self._on_fenced, None
        if tell is not None:
            tell()


def _is_open(item: Item | None) -> bool:
    return isinstance(item, AssistantItem) and item.status == "open"


__all__ = ["USUAL_PACE", "ConversationWriter", "Pace", "Prepared", "epoch_ms"]
