"""What is done once a call is over for good: its summary is kept with the person, and it is reported.

    begun, left, ended --+  (never wait; this process's memory)
                         v
    worker: write them -> claim what is due -> look: is it over? -> summary -> report -> done
                 ^                               | no, or it failed
                 '--------- due again -----------'

Everything that is owed stands in Redis from the beginning of the call on, so it is done whatever becomes of a process;
a lease lets one process at a time do it. Each step is noted with the epoch of the session it was done for: it is done
once, and again only if the call has gone on since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import orjson
import structlog

from relay.errors import ChannelError, ModelError, StoreError
from relay.items import Item, UserItem
from relay.models.base import LanguageModel
from relay.report import TOLD, Waits, over_at, report
from relay.store.archive import Archive, Kept
from relay.store.due import Claimed, Due
from relay.store.people import EarlierCall, People, is_known
from relay.summary import NOTHING, Summary, summarise
from relay.writer import epoch_ms

log = structlog.get_logger(__name__)

MOST_PENDING = 20_000  # calls whose news wait for Redis
AT_ONCE = 4


class ReportSender(Protocol):
    """Delivers reports; ``channels/reports.py`` satisfies it."""

    async def send(self, body: bytes) -> None:
        """Raises ChannelError. A cancel, or ChannelUnavailable, leaves it delivered or not."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``poll``: between two looks at what is due. ``summary_backoff``: the wait after each failure of a
    summary; after the last one it is given up. ``report_backoff``: the first and the longest wait after a failure to
    deliver, each twice the one before, until ``report_limit``. ``lease``: in it a look ends, whatever happens."""

    waits: Waits = field(default_factory=Waits)
    poll: float = 2.0
    lease: float = 120.0
    summary_backoff: tuple[float, ...] = (5.0, 30.0, 120.0)
    report_backoff: tuple[float, float] = (5.0, 3600.0)
    report_limit: float = 24 * 3600.0


USUAL_PACE = Pace()


@dataclass(slots=True)
class _News:
    """What this process knows of a call and Redis does not."""

    due: int
    begun: tuple[str, int] | None = None  # the person, and when
    told: dict[str, int] = field(default_factory=dict)  # what the telephone's webhooks answered, and when


class AfterCalls:
    """One a process. ``model``: None makes no summaries. ``model_name``: the model that sums up an agent's calls.
    ``reports``: None sends none.

    ``run`` is its one long task; looks are tasks of its own, ``AT_ONCE`` at most. ``close`` ends all of them.
    """

    def __init__(
        self,
        due: Due,
        archive: Archive,
        people: People,
        *,
        model: LanguageModel | None,
        model_name: Callable[[str], str] = lambda agent: "",
        reports: ReportSender | None = None,
        pace: Pace = USUAL_PACE,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._due = due
        self._archive = archive
        self._people = people
        self._model = model
        self._model_name = model_name
        self._reports = reports
        self._pace = pace
        self._now_ms = now_ms
        self._news: dict[str, _News] = {}
        self._next = 0  # when what this process has added, or put off, is due; 0: nothing that it knows of
        self._wake = asyncio.Event()
        self._looking: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._away = False

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

    async def close(self, timeout: float) -> None:
        """Writes what is still to be written and lets looks under way end, within ``timeout`` seconds. What is left is
        due again, here or elsewhere, when its lease has passed."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        try:
            async with asyncio.timeout(timeout):
                await self._write()
                if self._looking:
                    await asyncio.wait(self._looking)
        except TimeoutError:
            pass
        except StoreError as error:
            log.error("after-call work not written", calls=len(self._news), code=error.code)
        while self._looking:
            for task in self._looking:
                task.cancel()
            await asyncio.wait(self._looking, timeout=1.0)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._write()
                await self._take()
                self._away = False
            except StoreError as error:
                if not self._away:
                    log.warning("after-call work waits for Redis", code=error.code)
                self._away = True
            except Exception as error:
                log.error("bug in after-call work", error=type(error).__name__, exc_info=error)
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
        for conversation in [*self._news]:
            news = self._news[conversation]
            begun, told, due = news.begun, dict(news.told), news.due
            if begun is not None:
                person = await self._people.seen(*begun)
                await self._archive.record(conversation, person, begun[1])
            if told:
                await self._archive.note(conversation, **told)
            await self._due.add(self._now_ms(), {conversation: due})
            self._sooner(due)
            if (news.begun, news.told, news.due) == (begun, told, due):
                del self._news[conversation]

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
                again = await self._look(conversation)
        except (StoreError, TimeoutError) as error:
            log.warning("after-call work put off", conversation=conversation, error=type(error).__name__)
            return  # due again when the lease has passed
        try:
            await self._due.release(claimed, again)
        except StoreError:
            return
        if again is not None:
            self._sooner(again)

    async def _look(self, conversation: str) -> int | None:
        """Does what is to be done. When to look again, None for never."""
        kept = await self._archive.read(conversation)
        if not kept.state and kept.report is not None:  # the history has expired
            return await self._deliver(kept)
        begun = kept.number("begun")
        if not begun:
            return await self._nothing_written(kept)
        now = self._now_ms()
        over = over_at(kept, now, self._pace.waits)
        if over > now:
            return over
        if not await self._archive.listed(conversation, begun):
            await self._archive.delete(conversation)  # the person was forgotten in the middle of it
            return None
        epoch = kept.number("epoch")
        if kept.done("reported") == epoch:
            return None
        if kept.done("written") != epoch:
            items = await self._archive.items(conversation)
            summary = await self._summary(kept, items, begun)
            if isinstance(summary, int):
                return summary
            if self._reports is None:
                await self._archive.note(conversation, reported=epoch)
                return None
            body = report(kept, items, summary)
            limit = self._pace.report_limit + self._pace.lease
            await self._archive.keep_report(conversation, body, limit, written=epoch, since=now, tries=0)
            kept = await self._archive.read(conversation)
        return await self._deliver(kept)

    async def _nothing_written(self, kept: Kept) -> int | None:
        """The history may still wait for Redis in some process; after a while there is none."""
        now, waits = self._now_ms(), self._pace.waits
        since = kept.done("missing") or now
        if since + int(waits.abandoned * 1000) <= now:
            await self._archive.delete(kept.conversation)
            return None
        await self._archive.note(kept.conversation, missing=since)
        return now + int(waits.look * 1000)

    # -- the summary

    async def _summary(self, kept: Kept, items: list[Item], begun: int) -> Summary | int:
        """The call's summary, kept with the person; or when to try again."""
        epoch = kept.number("epoch")
        if kept.done("summed_up") == epoch:
            found = orjson.loads(kept.after["summary"])
            return Summary(found["summary"], tuple(found["follow_ups"]))
        summary = NOTHING
        person_id = kept.state.get("person", "")
        person = await self._people.get(person_id) if person_id and is_known(person_id) else None
        said = any(isinstance(item, UserItem) for item in items)
        if self._model is not None and person is not None and person.memory != "off" and said:
            tries = kept.done("summary_tries") if kept.done("summary_epoch") == epoch else 0
            still_open = next((call.follow_ups for call in person.calls if call.conversation != kept.conversation), ())
            try:
                summary = await summarise(self._model, self._model_name(kept.state.get("agent", "")), items, still_open)
            except (ModelError, TimeoutError, ValueError) as error:
                code = getattr(error, "code", type(error).__name__)
                if tries < len(self._pace.summary_backoff):
                    log.warning("summary failed", conversation=kept.conversation, code=code)
                    await self._archive.note(kept.conversation, summary_tries=tries + 1, summary_epoch=epoch)
                    return self._now_ms() + int(self._pace.summary_backoff[tries] * 1000)
                log.error("summary given up", conversation=kept.conversation, code=code)
            if summary.summary:
                call = EarlierCall(kept.conversation, begun, summary.summary, summary.follow_ups)
                await self._people.remember(person.id, call)
        text = orjson.dumps({"summary": summary.summary, "follow_ups": summary.follow_ups}).decode()
        await self._archive.note(kept.conversation, summed_up=epoch, summary=text)
        return summary

    # -- the report

    async def _deliver(self, kept: Kept) -> int | None:
        """Sends the report that is written; when to try again, or None."""
        conversation, written = kept.conversation, kept.done("written")
        if kept.report is None or self._reports is None:
            return None
        tries, now = kept.done("tries"), self._now_ms()
        try:
            await self._reports.send(kept.report)
        except ChannelError as error:
            first, longest = self._pace.report_backoff
            delay = min(longest, first * 2.0 ** min(tries, 30))
            again = now + int(delay * 1000)
            given_up = again > kept.done("since") + int(self._pace.report_limit * 1000)
            tell = log.error if given_up else log.warning
            tell(
                "report given up" if given_up else "report not delivered",
                conversation=conversation,
                code=error.code,
                status=error.status,
                tries=tries + 1,
            )
            if not given_up:
                await self._archive.note(conversation, self._pace.report_limit, tries=tries + 1)
                return again
        else:
            log.info("report delivered", conversation=conversation, tries=tries + 1)
        await self._archive.note(conversation, self._pace.report_limit, reported=written)
        await self._archive.drop_report(conversation)
        return None


__all__ = ["USUAL_PACE", "AfterCalls", "Pace", "ReportSender"]
