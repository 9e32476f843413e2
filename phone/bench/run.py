"""A measurement from the first call to the last: opens the calls, has them talk, watches the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from phone import processes
from phone.bench.caller import BenchCaller, Plan, Tally
from phone.bench.door import Door, Visit
from phone.bench.endpoint import Counts, Endpoint
from phone.bench.failed import BenchFailed
from phone.bench.lag import Lag
from phone.exchange import CallRefused
from phone.load import CallLost
from phone.twiml import BadTwiml

OPEN_AT_ONCE = 10
WATCH_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """The server's processes at one moment. ``at``: seconds of the run; ``cpu``: seconds used since its begin;
    ``memory``: bytes."""

    at: float
    cpu: float
    memory: int


@dataclass(slots=True)
class Measured:
    """All that was measured. ``opened``: calls. ``model``: what the endpoint did in the run, None without one.
    ``before``: memory before the first call, in bytes. ``lag``: seconds, of the callers' loop. ``waited``: shares of
    the run in which a process of the load could have run and had no core."""

    plan: Plan
    tally: Tally
    opened: int = 0
    seconds: float = 0.0
    model: Counts | None = None
    watched: list[Watched] = field(default_factory=list)
    before: int = 0
    lag: list[float] = field(default_factory=list)
    waited: float = 0.0


Tell = Callable[[float, str], None]
"""How many seconds of the run are over, and a few words."""


class Bench:
    """``pids``: the server's processes, none for not looking at them. ``tell``: for whoever waits."""

    def __init__(
        self, plan: Plan, door: Door, *, endpoint: Endpoint | None, pids: Sequence[int] = (), tell: Tell
    ) -> None:
        self._plan = plan
        self._door = door
        self._endpoint = endpoint
        self._pids = pids
        self._tell = tell

    async def run(self) -> Measured:
        """Raises BenchFailed when there is nothing to tell. A cancel hangs up every call."""
        measured = Measured(self._plan, Tally())
        for pid in self._pids:
            if not processes.exists(pid):
                raise BenchFailed(f"There is no process {pid}.")
        measured.before = self._memory()
        callers = [BenchCaller(self._plan, measured.tally, number) for number in range(self._plan.calls)]
        visits: dict[int, Visit] = {}
        try:
            visits[0] = await self._door.enter_first(callers[0].hear)
            await self._open_the_others(callers, visits, measured.tally)
            measured.opened = len(visits)
            await self._talk(callers, visits, measured)
        finally:
            await self._leave(list(visits.values()), measured.tally)
        if not measured.tally.answered:
            raise BenchFailed(self._why_nothing(measured.tally))
        return measured

    def _why_nothing(self, tally: Tally) -> str:
        if not tally.errors:
            return f"No turn was over after {self._plan.seconds:g} s: give it more --seconds."
        (kind, _), hint = tally.errors.most_common(1)[0], ""
        if "1008" in kind and self._door.url.startswith("ws"):
            hint = " It may want what its TwiML gives: try the URL of its voice webhook."
        return f"No turn was answered: {kind}.{hint}"

    async def _open_the_others(self, callers: Sequence[BenchCaller], visits: dict[int, Visit], tally: Tally) -> None:
        gate = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                try:
                    visits[number] = await self._door.enter(number, callers[number].hear)
                except (CallRefused, BadTwiml, CallLost) as error:
                    tally.error(f"calls not opened: {error}", tally.begun)
                self._tell(0.0, f"{len(visits)} calls open")

        async with asyncio.TaskGroup() as group:
            for number in range(1, len(callers)):
                group.create_task(one(number), name=f"opening call {number}")

    async def _talk(self, callers: Sequence[BenchCaller], visits: dict[int, Visit], measured: Measured) -> None:
        tally, lag = measured.tally, Lag()
        clock = visits[0].call.clock
        counted = await self._endpoint.counts() if self._endpoint else None
        waited, cpu = self._waited(), self._cpu()
        tally.begun = clock()
        until = tally.begun + self._plan.seconds
        beside = [
            asyncio.create_task(lag.run(), name="lag"),
            asyncio.create_task(self._watch(measured, clock, cpu), name="watch"),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for number, visit in visits.items():
                    group.create_task(callers[number].run(visit, until), name=f"call {number}")
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
        measured.seconds = clock() - tally.begun
        measured.lag = lag.take()
        measured.waited = max(0.0, self._waited() - waited) / measured.seconds
        self._look(measured, clock, cpu)
        if self._endpoint and counted is not None:
            measured.model = _since(counted, await self._endpoint.counts())

    async def _watch(self, measured: Measured, clock: Callable[[], float], cpu: float) -> None:
        tally = measured.tally
        while True:
            try:
                self._look(measured, clock, cpu)
            except BenchFailed:
                return  # told at the end
            turns = f"{len(tally.answered)} turns, {tally.errors.total()} errors"
            self._tell(clock() - tally.begun, f"{measured.opened} calls, {turns}")
            await asyncio.sleep(WATCH_EVERY)

    def _look(self, measured: Measured, clock: Callable[[], float], cpu: float) -> None:
        if self._pids:
            at = clock() - measured.tally.begun
            if measured.watched and at - measured.watched[-1].at < WATCH_EVERY / 2:
                measured.watched.pop()  # a share of so short a time says nothing
            measured.watched.append(Watched(at, self._cpu() - cpu, self._memory()))

    def _cpu(self) -> float:
        return self._of_each(processes.cpu_seconds)

    def _memory(self) -> int:
        return int(self._of_each(processes.memory_bytes))

    def _of_each(self, figure: Callable[[int], float]) -> float:
        try:
            return sum(figure(pid) for pid in self._pids)
        except ProcessLookupError as error:
            raise BenchFailed("A process that was watched has ended.") from error

    def _waited(self) -> float:
        return processes.waited_seconds() + (processes.waited_seconds(self._endpoint.pid) if self._endpoint else 0.0)

    async def _leave(self, visits: Sequence[Visit], tally: Tally) -> None:
        gate = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(visit: Visit) -> None:
            async with gate:
                if problem := await visit.leave():
                    tally.error(f"action callbacks: {problem}", visit.call.clock())

        await asyncio.gather(*(one(visit) for visit in visits))


def _since(before: Counts, after: Counts) -> Counts:
    faults = {name: count - before.faults.get(name, 0) for name, count in after.faults.items()}
    return Counts(
        after.requests - before.requests,
        after.tokens - before.tokens,
        after.cut_short - before.cut_short,
        {name: count for name, count in faults.items() if count},
        after.lag,
    )
