"""One call that may be over: if it is, it is summed up for the person, and reported.

Each step is noted with the epoch of the session it was done for: it is done once, and again only if the call has gone
on since. Whoever looks has the call to themselves (``aftercall.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from relay import versions
from relay.budget import Budget
from relay.errors import ChannelError, ModelError
from relay.items import Item, UserItem
from relay.models.base import LanguageModel
from relay.report import Waits, outcome, over_at, report
from relay.store.archive import Archive, Kept
from relay.store.people import EarlierCall, People, is_known
from relay.summary import NOTHING, Summary, summarise
from relay.writer import epoch_ms

log = structlog.get_logger(__name__)


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


class Closing:
    """``model``: None makes no summaries. ``model_name``: the model that sums up an agent's calls. ``reports``: None
    sends none. ``forget``: removes all that is known of a person; None removes nothing but the calls. ``budget``: what
    summaries cost is part of it; one is made of a call that was taken, whatever is left."""

    def __init__(
        self,
        archive: Archive,
        people: People,
        *,
        model: LanguageModel | None,
        model_name: Callable[[str], str] = lambda agent: "",
        reports: ReportSender | None = None,
        forget: Callable[[str], Awaitable[object]] | None = None,
        budget: Budget | None = None,
        pace: Pace = USUAL_PACE,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._archive = archive
        self._people = people
        self._model = model
        self._model_name = model_name
        self._reports = reports
        self._forget = forget
        self._budget = budget or Budget()
        self._pace = pace
        self._now_ms = now_ms

    async def look(self, conversation: str) -> int | None:
        """Does what is to be done. When to look again, in ms since 1970, None for never. Raises StoreError. After a
        cancel, or beside another look at the same call, a report may be delivered twice."""
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
            await self._forgotten(kept)
            return None
        again = await self._follow(kept, begun, now)
        if not await self._archive.listed(conversation, begun):
            await self._forgotten(kept)
            return None
        return again

    async def _follow(self, kept: Kept, begun: int, now: int) -> int | None:
        """Sums up and reports a call that is over."""
        conversation, epoch = kept.conversation, kept.number("epoch")
        if kept.done("reported") == epoch:
            return None
        if kept.done("written") != epoch:
            await self._record_outcome(kept)
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
            if not await self._archive.listed(conversation, begun):
                return None  # forgotten while it was summed up: nobody is told
            kept = await self._archive.read(conversation)
        return await self._deliver(kept)

    async def _record_outcome(self, kept: Kept) -> None:
        """How the call ended, for whoever looks it up; told once, whether anybody is sent a report or not."""
        ended = outcome(kept)
        if kept.after.get("outcome") != ended:
            log.info("call over for good", conversation=kept.conversation, outcome=ended)
            await self._archive.note(kept.conversation, outcome=ended)

    async def _forgotten(self, kept: Kept) -> None:
        """The person was forgotten while the call went on, or was seen to: what it has left since goes too. So does all
        that is known of them by now, unless they have been in contact again."""
        await self._archive.delete(kept.conversation)
        person_id = kept.state.get("person", "")
        if self._forget is None or not person_id or not is_known(person_id):
            return
        person = await self._people.get(person_id)
        if person is None or not person.first_seen:
            await self._forget(person_id)

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
        found = versions.load(kept.after["summary"]) if kept.done("summed_up") == epoch else None
        if found is not None:
            return Summary(found["summary"], tuple(found["follow_ups"]))
        summary = NOTHING
        person_id = kept.state.get("person", "")
        person = await self._people.get(person_id) if person_id and is_known(person_id) else None
        said = any(isinstance(item, UserItem) for item in items)
        if self._model is not None and person is not None and person.memory != "off" and said:
            tries = kept.done("summary_tries") if kept.done("summary_epoch") == epoch else 0
            still_open = next((call.follow_ups for call in person.calls if call.conversation != kept.conversation), ())
            try:
                name = self._model_name(kept.state.get("agent", ""))
                spent = self._budget.of(person_id).spend
                summary = await summarise(self._model, name, items, still_open, spent=spent)
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
        text = versions.dump({"summary": summary.summary, "follow_ups": summary.follow_ups}).decode()
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


__all__ = ["USUAL_PACE", "Closing", "Pace", "ReportSender"]
