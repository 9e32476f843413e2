"""What is done once a call is over for good: its summary is kept with the person, and it is reported.

    begun, left, ended --+  (never wait; this process's memory)
                         v
    worker: write them -> claim what is due -> look (``closing.py``) -> done
                 ^                               | not over, or it failed
                 '--------- due again -----------'

Everything that is owed stands in Redis from the beginning of the call on, so it is done whatever becomes of a process;
a lease lets one process at a time do it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import structlog

from relay.closing import USUAL_PACE, Closing, Pace
from relay.errors import StoreError
from relay.report import TOLD
from relay.store.archive import Archive
from relay.store.due import Claimed, Due
from relay.store.people import People
from relay.writer import epoch_ms

log = structlog.get_logger(__name__)

MOST_PENDING = 20_000  # calls whose news wait for Redis
MOST_A_ROUND = 256  # of them are written before somebody looks at what is due
WRITERS = 8  # calls whose news are written at once; connections to Redis are for calls that talk, above all
AT_ONCE = 16  # calls that are looked after; most of a look is waiting for the model that sums up
LOOKS_END = 1.0  # seconds that a process which leaves gives them: a summary may take longer, and others can make it


@dataclass(slots=True)
class _News:
    """What this process knows of a call and Redis does not."""

    due: int
    begun: tuple[str, int] | None = None  # the person, and when
    told: dict[str, int] = field(default_factory=dict)  # what the telephone's webhooks answered, and when


class AfterCalls:
    """One a process. ``start`` begins its one long task; looks are tasks of their own, ``AT_ONCE`` at most. ``close``
    ends all of them."""

    def __init__(
        self,
        due: Due,
        archive: Archive,
        people: People,
        closing: Closing,
        *,
        pace: Pace = USUAL_PACE,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._due = due
        self._archive = archive
        self._people = people
        self._closing = closing
        self._pace = pace
        self._now_ms = now_ms
        self._news: dict[str, _News] = {}
        self._next = 0  # when what this process has added, or put off, is due; 0: nothing that it knows of
        self._wake = asyncio.Event()
        self._looking: set[asyncio.Task[None]] = set()
        self._unfinished: list[Claimed] = []  # broken off in the middle
        self._worker: asyncio.Task[None] | None = None
        self._away = False

    def __len__(self) -> int:
        """How many calls have news that Redis does not know yet."""
        return len(self._news)

    # -- what happens to calls; none of these waits

    def begun(self, conversation: str, person: str, at_ms: int) -> None:
        """A call has begun: the person exists and the call is listed from now on, and somebody will look after it."""
        self._tell(conversation, self._pace.waits.abandoned).begun = person, at_ms

    def left(self, conversation: str) -> None:
        """A session of the call has ended here, in whatever way: what is known of it stands in its state."""
        self._tell(conversation, self._pace.waits.settle)

    def ended(self, conversation: str, outcome: str) -> None:
        """Something of the call has ended, a session or all of it, and the telephone's webhook answered it with this
        ``outcome`` (``report.py`` has what they mean)."""
        self._tell(conversation, self._pace.waits.settle).told[TOLD + outcome] = self._now_ms()

    def _tell(self, conversation: str, delay: float) -> _News:
        due = self._now_ms() + int(delay * 1000)
        news = self._news.get(conversation)
        if news is None:
            if len(self._news) >= MOST_PENDING:
                self._news.pop(next(iter(self._news)))
                log.error("after-call work lost: too much waits for Redis")
            news = self._news[conversation] = _News(due)
        news.due = min(news.due, due)
        self._wake.set()
        return news

    # -- the worker

    def start(self) -> None:
        self._worker = asyncio.create_task(self._run(), name="after calls")

    async def close(self, timeout: float, *, looks: float = LOOKS_END) -> None:
        """Writes what is still to be written, within ``timeout`` seconds, and lets looks under way end within
        ``looks``. What is left is given back: another process does it at once, or, where Redis does not answer, when
        its lease has passed."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        try:
            async with asyncio.timeout(timeout):
                while self._news:
                    await self._write()
        except TimeoutError:
            pass
        except StoreError as error:
            log.error("after-call work not written", calls=len(self._news), code=error.code)
        if self._looking:
            await asyncio.wait(self._looking, timeout=looks)
        while self._looking:
            for task in self._looking:
                task.cancel()
            await asyncio.wait(self._looking, timeout=1.0)
        try:
            for claimed in self._unfinished:
                await self._due.release(claimed, self._now_ms())
        except StoreError as error:
            log.warning("after-call work not given back", calls=len(self._unfinished), code=error.code)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            away = False
            for step in (self._write, self._take):
                try:
                    await step()
                except StoreError as error:
                    if not self._away and not away:
                        log.warning("after-call work waits for Redis", code=error.code)
                    away = True
                except Exception as error:
                    log.error("bug in after-call work", error=type(error).__name__, exc_info=error)
            self._away = away
            await self._rest()

    async def _rest(self) -> None:
        """Until the next poll, until something that this process knows of is due, or until there is news."""
        delay = self._pace.poll
        if self._next and not self._away:
            delay = min(delay, max(0.0, (self._next - self._now_ms()) / 1000))
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            return
        if self._away:  # news cannot be written: no reason to ask again at once
            await asyncio.sleep(self._pace.poll)

    async def _write(self) -> None:
        """The oldest of the news, some at a time; what is left has its turn when what is due has had its."""
        oldest = [*islice(self._news, MOST_A_ROUND)]
        for start in range(0, len(oldest), WRITERS):
            some = [self._write_one(conversation) for conversation in oldest[start : start + WRITERS]]
            for result in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        if self._news:
            self._wake.set()

    async def _write_one(self, conversation: str) -> None:
        if (news := self._news.pop(conversation, None)) is None:
            return
        # Behind the others, so that one that cannot be written does not keep them from it.
        self._news[conversation] = news
        begun, told, due = news.begun, dict(news.told), news.due
        if begun is not None:
            person = await self._people.seen(*begun)
            await self._archive.record(conversation, person, begun[1])
        if told:
            await self._archive.note(conversation, **told)
        await self._due.add(self._now_ms(), {conversation: due})
        self._sooner(due)
        if (news.begun, news.told, news.due) == (begun, told, due):
            self._news.pop(conversation, None)

    async def _take(self) -> None:
        free = AT_ONCE - len(self._looking)
        if not free:
            return
        self._next = 0 if self._next <= self._now_ms() else self._next
        claimed = await self._due.claim(self._now_ms(), free)
        for each in claimed:
            task = asyncio.create_task(self._care(each), name=f"after call {each.member}")
            self._looking.add(task)
            task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self._wake.set()  # there is room for another
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("bug in after-call work", error=type(error).__name__, exc_info=error)

    def _sooner(self, at_ms: int) -> None:
        self._next = min(self._next or at_ms, at_ms)

    # -- one call

    async def _care(self, claimed: Claimed) -> None:
        """Looks after a call, well within the lease, and gives it back."""
        conversation = claimed.member
        try:
            async with asyncio.timeout(self._pace.lease * 0.75):
                again = await self._closing.look(conversation)
        except asyncio.CancelledError:
            self._unfinished.append(claimed)
            raise
        except (StoreError, TimeoutError) as error:
            log.warning("after-call work put off", conversation=conversation, error=type(error).__name__)
            return  # due again when the lease has passed
        try:
            await self._due.release(claimed, again)
        except StoreError:
            return
        if again is not None:
            self._sooner(again)


__all__ = ["MOST_PENDING", "AfterCalls"]
