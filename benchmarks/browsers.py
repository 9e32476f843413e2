"""What a dashboard that is open in ten browsers costs the process that serves it, while 300 calls talk.

Two relays beside each other on the server's core, each with the same calls: one is looked at and the other is not, and
then the other way round. Every call has a turn in each ``PERIOD``, at a moment of its own, so both are always asked for
the same, and whatever else the machine does in the meantime, it does to both. What is compared is the CPU time of their
processes. Answers are short: for browsers turns count, not tokens.

A browser here is either a client that makes the very requests of the live page's script (one stream of events, a
summary two seconds after the last one, compressed as browsers ask for it), or a page in the system's Chromium. Both are
measured once they are at rest: opening a page is not part of it.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import async_playwright

from benchmarks import figures
from benchmarks.endpoint import Script
from benchmarks.processes import BenchError, Cores, Endpoint
from benchmarks.systems import SYSTEMS, System, ring_all
from phone.load import CallLost, LoadCall
from phone.progress import Progress, say, table
from tests.browser.chromium import FLAGS, MISSING, executable

MOST = 0.02  # of a core, for all browsers together
EVERY, AGAIN = 2.0, 5.0  # seconds between two summaries, and after one that failed, as in handlers/pages
PERIOD = 12.0  # seconds from a caller's turn to their next: shorter than people are
SETTLE = 3.0
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``calls``: of each of the two relays. ``rounds``: of ``periods`` with one of them looked at, and as many with the
    other. ``chromium``: pages of it in the place of clients."""

    calls: int = 300
    browsers: int = 10
    rounds: int = 4
    periods: int = 2
    chromium: bool = False
    script: Script = field(default_factory=lambda: Script("0.3", "0.02", tokens=12))


@dataclass(slots=True)
class Looked:
    """What browsers were told."""

    events: int = 0
    summaries: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Shares of the core that the relays took, the one that was looked at first; and what a second brought."""

    watched: float
    other: float
    turns: float
    events: float
    summaries: float

    @property
    def more(self) -> float:
        return self.watched - self.other


async def browsers(plan: Plan) -> bool:
    """Runs it, prints and saves what came of it; True if the target was reached."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    kind = "pages in Chromium" if plan.chromium else "clients that ask as the page does"
    say(f"{plan.calls} calls in each of two relays, {plan.browsers} browsers ({kind}), {plan.rounds} rounds; {placed}")
    found: list[Window] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        endpoint = await stack.enter_async_context(Endpoint.start(cores.load))
        await endpoint.script(plan.script)
        relays = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            relay = await stack.enter_async_context(SYSTEMS["ours"](endpoint.url, cores.server, folder / name))
            relays.append((relay, await ring_all(relay, plan.calls)))
        turns = [0]
        talking = [
            asyncio.create_task(_talk(call, PERIOD * number / plan.calls, turns), name=f"caller {number}")
            for _, calls in relays
            for number, call in enumerate(calls)
        ]
        try:
            await asyncio.sleep(PERIOD)
            one, two = (relay for relay, _ in relays)
            with Progress("one watched, then the other", 2 * plan.rounds) as progress:
                for number in range(plan.rounds):
                    for watched, other in ((one, two), (two, one))[:: -1 if number % 2 else 1]:
                        if lost := [task for task in talking if task.done()]:
                            await lost[0]
                        found.append(await _window(plan, watched, other, turns))
                        say(f"window {len(found)}: {found[-1].watched:.2%} watched, {found[-1].other:.2%} not")
                        progress.step()
        except (CallLost, BenchError) as error:
            if len(found) < 2:
                raise
            say(f"not gone on with, the machine is too busy for it: {error}")
        finally:
            for task in talking:
                task.cancel()
            await asyncio.wait(talking)
            await asyncio.gather(*(call.close() for _, calls in relays for call in calls))
    return _report(plan, found, placed)


async def _talk(call: LoadCall, after: float, turns: list[int]) -> None:
    """For ever, at its moments."""
    clock = asyncio.get_running_loop().time
    due = clock() + after
    while True:
        await asyncio.sleep(due - clock())
        await call.prompt("Please tell me about number 7").ended(within=ANSWER_SECONDS)
        call.spoken()
        turns[0] += 1
        due += PERIOD


async def _window(plan: Plan, watched: System, other: System, turns: list[int]) -> Window:
    looked, clock = Looked(), asyncio.get_running_loop().time
    opened = _chromium if plan.chromium else _clients
    async with opened(f"http://{watched.base}", plan.browsers, looked):
        await asyncio.sleep(SETTLE)
        begun, cpu, before = clock(), [relay.child.cpu_seconds() for relay in (watched, other)], turns[0]
        looked.events = looked.summaries = 0
        await asyncio.sleep(plan.periods * PERIOD)
        took = clock() - begun
        shares = [(relay.child.cpu_seconds() - was) / took for relay, was in zip((watched, other), cpu, strict=True)]
        return Window(*shares, (turns[0] - before) / took / 2, looked.events / took, looked.summaries / took)


# -- who looks


@asynccontextmanager
async def _clients(url: str, count: int, looked: Looked) -> AsyncIterator[None]:
    """Each with connections of its own, as a browser has."""
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            http = await stack.enter_async_context(aiohttp.ClientSession(url))
            async with http.get("/dashboard") as page:
                assets = re.findall(r'(?:src|href)="(/dashboard/assets/[^"]+)"', await page.text())
            for path in (*assets, "/dashboard/api/session"):
                async with http.get(path) as answer:
                    await answer.read()
            tasks.append(asyncio.create_task(_events(http, looked), name=f"events {number}"))
            tasks.append(asyncio.create_task(_summaries(http, looked, number), name=f"summaries {number}"))
        try:
            yield
            if failed := [task for task in tasks if task.done()]:
                await failed[0]
                raise BenchError("a browser has stopped looking")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _events(http: aiohttp.ClientSession, looked: Looked) -> None:
    """A stream that ends begins anew."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    while True:
        try:
            async with http.get("/dashboard/events", headers=headers, timeout=aiohttp.ClientTimeout()) as stream:
                async for piece in stream.content.iter_any():
                    looked.events += piece.count(b"\nevent: turn") + piece.startswith(b"event: turn")
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(1.0)


async def _summaries(http: aiohttp.ClientSession, looked: Looked, number: int) -> None:
    await asyncio.sleep(number * 0.37 % EVERY)  # browsers are not opened at one moment
    while True:
        async with http.get("/dashboard/api/summary", params={"minutes": "15"}) as answer:
            await answer.read()
        if answer.status == 503:  # Redis got no core for half a second
            await asyncio.sleep(AGAIN)
            continue
        if answer.status != 200:
            raise BenchError(f"the summary answered {answer.status}")
        looked.summaries += 1
        await asyncio.sleep(EVERY)


@asynccontextmanager
async def _chromium(url: str, count: int, looked: Looked) -> AsyncIterator[None]:
    """Pages, each with a profile of its own."""
    if (path := executable()) is None:
        raise BenchError(MISSING)

    def counts(response: Any) -> None:
        looked.summaries += "/api/summary" in response.url

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        for _ in range(count):
            page = await (await browser.new_context()).new_page()
            page.on("response", counts)
            await page.goto(f"{url}/dashboard")
            await page.wait_for_selector("#connection[data-state=on]", timeout=60_000)
        yield
        await browser.close()


# -- what came of it


def _report(plan: Plan, found: Sequence[Window], cores: str) -> bool:
    rows = [
        [
            f"{each.watched:.2%}",
            f"{each.other:.2%}",
            f"{each.turns:.1f}",
            f"{each.events / plan.browsers:.1f}",
            f"{each.summaries:.1f}",
            f"{each.more:.2%}",
        ]
        for each in found
    ]
    say(table(["core, watched", "the other", "turns/s", "events/s each", "summaries/s", "more"], rows))
    say()
    more = sum(each.more for each in found) / len(found)
    middle = figures.median([each.more for each in found])
    say(f"{plan.browsers} browsers, share of a core: {figures.verdict(more, MOST)}; median {middle:.2%}")
    path = figures.save(
        "browsers",
        {
            "plan": {name: getattr(plan, name) for name in ("calls", "browsers", "rounds", "periods", "chromium")},
            "cores": cores,
            "share_of_a_core": more,
            "median": middle,
            "windows": [asdict(each) for each in found],
        },
    )
    say(f"saved {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return more <= MOST
