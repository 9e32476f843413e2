"""What models may cost in a day (UTC): a budget of tokens for all people together, and one for each.

A conversation holds its person's ``Allowance``: it asks before a request and tells after it, and neither waits. What
was told is added to Redis behind it, and each answer brings what other processes have spent.

    spend -> here -(once a second, one write in flight)-> Redis
    over  <- here <---- what was spent that day ------------'

While Redis is away the budget is this process's alone. An addition is numbered and made again until it is known to have
arrived, so it counts once; what is left when the process ends is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

import structlog

from relay.errors import StoreError
from relay.store.spending import EVERYBODY, Spending

MOST_COUNTS = 20_000  # people whose tokens are remembered here; the one who was silent for longest is forgotten first
AT_ONCE = 100  # additions on one round trip
PACE = 1.0  # seconds from one write to the next

Over = Literal["", "budget_day", "budget_person"]
"""Which budget is used up, "" for none."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Count:
    """Tokens: ``known`` to Redis when it last told, ``sending`` as addition ``number``, and ``unsent``."""

    known: int = 0
    sending: int = 0
    number: int = 0
    unsent: int = 0

    @property
    def total(self) -> int:
        return self.known + self.sending + self.unsent


_Key = tuple[str, str]  # the day, and the person or EVERYBODY


class Budget:
    """``spending`` None: this process only. ``per_day``, ``per_person``: tokens, None for any number. ``now``: epoch
    seconds. ``start`` begins its one task; ``close`` ends it."""

    def __init__(
        self,
        spending: Spending | None = None,
        *,
        per_day: int | None = None,
        per_person: int | None = None,
        pace: float = PACE,
        most: int = MOST_COUNTS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spending = spending
        self._per_day = per_day
        self._per_person = per_person
        self._pace = pace
        self._most = most
        self._now = now
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()
        self._dirty: dict[_Key, None] = {}
        self._process = uuid4().hex[:12]
        self._number = 0
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._away = False

    @property
    def limited(self) -> bool:
        """Whether there is anything to count."""
        return self._per_day is not None or self._per_person is not None

    def of(self, person: str) -> Allowance:
        """What a conversation with this person goes by."""
        return Allowance(self, person)

    # -- what conversations ask and tell; none of these waits

    def over(self, person: str) -> Over:
        """The budget that is used up, as far as this process knows."""
        if not self.limited:
            return ""
        day = self._today()
        if self._per_day is not None and self._total((day, EVERYBODY)) >= self._per_day:
            return "budget_day"
        if self._per_person is not None and self._total((day, person)) >= self._per_person:
            return "budget_person"
        return ""

    def spend(self, person: str, tokens: int) -> None:
        """These tokens were used for the person."""
        if tokens <= 0:
            return
        day = self._today()
        for who in self._counted(person):
            self._count((day, who)).unsent += tokens
            if self._spending is not None:
                self._dirty[day, who] = None
        if self._dirty:
            self._wake.set()

    @property
    def until_tomorrow(self) -> float:
        """Seconds until the budgets are new."""
        return 86400.0 - self._now() % 86400.0

    async def look(self, person: str) -> None:
        """Learns what was spent elsewhere. Raises StoreError; then, as after a cancel, it is what was known before."""
        if self._spending is None:
            return
        day = self._today()
        for who, total in await asyncio.gather(*(self._read(day, who) for who in self._counted(person))):
            count = self._count((day, who))
            count.known = max(count.known, total)

    async def _read(self, day: str, who: str) -> tuple[str, int]:
        assert self._spending is not None
        return who, await self._spending.read(day, who)

    def _counted(self, person: str) -> list[str]:
        everybody = [EVERYBODY] if self._per_day is not None else []
        return [*everybody, person] if self._per_person is not None else everybody

    def _total(self, key: _Key) -> int:
        count = self._counts.get(key)
        return count.total if count is not None else 0

    def _count(self, key: _Key) -> _Count:
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= self._most:
                self._forget_one()
            count = self._counts[key] = _Count()
        self._counts.move_to_end(key)
        return count

    def _forget_one(self) -> None:
        key, count = self._counts.popitem(last=False)
        if key in self._dirty:
            del self._dirty[key]
            log.error("tokens not counted: too much waits for Redis", tokens=count.sending + count.unsent)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()

    # -- behind them

    def start(self) -> None:
        if self._spending is not None and self.limited:
            self._writer = asyncio.create_task(self._run(self._spending), name="budget")

    async def close(self, timeout: float) -> None:
        """Writes what is still to be written, within ``timeout`` seconds."""
        if self._writer is None or self._spending is None:
            return
        self._writer.cancel()
        await asyncio.wait([self._writer])
        try:
            async with asyncio.timeout(timeout):
                while self._dirty:
                    await self._write(self._spending)
        except (StoreError, TimeoutError) as error:
            log.error("tokens not written", counts=len(self._dirty), error=type(error).__name__)

    async def _run(self, spending: Spending) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            away = False
            try:
                await self._write(spending)
            except StoreError as error:
                away = True
                if not self._away:
                    log.warning("tokens wait for Redis", code=error.code)
            except Exception as error:
                log.error("bug in the budget", error=type(error).__name__, exc_info=error)
            self._away = away
            if self._dirty:  # also what was told of a count while an addition to it was on its way
                self._wake.set()
            await asyncio.sleep(self._pace)

    async def _write(self, spending: Spending) -> None:
        """Adds what has come together; raises StoreError where something of it has to wait."""
        keys = list(self._dirty)
        for start in range(0, len(keys), AT_ONCE):
            sent = [self._send(spending, key) for key in keys[start : start + AT_ONCE]]
            for error in filter(None, await asyncio.gather(*sent, return_exceptions=True)):
                raise error
        today = self._today()
        for key in [key for key in self._counts if key[0] != today and key not in self._dirty]:
            del self._counts[key]

    async def _send(self, spending: Spending, key: _Key) -> None:
        count = self._counts.get(key)
        if count is None:
            return
        if not count.sending:
            count.sending, count.unsent = count.unsent, 0
            self._number += 1
            count.number = self._number
        day, who = key
        total = await spending.add(day, who, count.sending, process=self._process, number=count.number)
        count.known, count.sending = max(count.known, total), 0
        if not count.unsent and self._counts.get(key) is count:
            self._dirty.pop(key, None)


@dataclass(frozen=True, slots=True)
class Allowance:
    """One person's part of a budget. A channel that is told of one used up, by ``over``, says the agent's line
    ``budget`` in place of asking a model, and ends."""

    budget: Budget = field(default_factory=Budget)
    person: str = field(default="", repr=False)

    @property
    def limited(self) -> bool:
        """Whether it matters what is spent."""
        return self.budget.limited

    def over(self) -> Over:
        return self.budget.over(self.person)

    def spend(self, tokens: int) -> None:
        self.budget.spend(self.person, tokens)


__all__ = ["Allowance", "Budget", "Over"]
