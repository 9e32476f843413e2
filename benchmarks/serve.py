"""``relay serve`` with an agent of eight tools: the program as it is, and a few tools more than it has.

The registry is made in one place, ``handlers.app.make_tools``; here that function also adds the tools below: those of
the bench agent, which are shown to the model and never called by the scripted one, and those of the restless one, which
take their time. Nothing else differs from ``relay serve``.

``BENCH_PROFILE`` names a file for cProfile's statistics; what is measured then is slower and only good for shares.
``BENCH_TELEMETRY=off`` takes out what puts together, keeps and tells what happens in calls; the metrics stay.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
from typing import Any

import handlers.app
import relay.session
from benchmarks.leash import on_a_leash
from commands.serve import serve
from relay.frames import Incoming
from relay.models.base import ToolCall
from relay.spans import NoToolSpan, ToolSpan
from relay.tally import Tally
from relay.toolbox import ToolContext, ToolOutcome
from relay.trace import Round, SessionTrace
from tools.registry import ToolRegistry


async def bench_find_apartments(context: ToolContext, city: str, rooms: int, most_rent: float) -> dict[str, Any]:
    """Find apartments that are free.

    Args:
        city: The city, as the caller names it.
        rooms: How many rooms at least.
        most_rent: The highest monthly rent, in the city's currency.
    """
    return {"found": []}


async def bench_book_viewing(context: ToolContext, apartment: str, day: str, hour: int = 10) -> dict[str, Any]:
    """Book a viewing of an apartment. Ask the caller to confirm the day and the hour first.

    Args:
        apartment: The apartment's number.
        day: The day, as YYYY-MM-DD.
        hour: The hour, 9 to 18.
    """
    return {"booked": True}


async def bench_opening_hours(context: ToolContext, day: str) -> dict[str, Any]:
    """Tell when the office is open on a day.

    Args:
        day: The day, as YYYY-MM-DD.
    """
    return {"open": "9 to 18"}


async def bench_send_summary(context: ToolContext, email: str, subject: str, text: str) -> dict[str, Any]:
    """Send the caller a summary of what was agreed by e-mail.

    Args:
        email: The caller's e-mail address.
        subject: One line that says what it is about.
        text: The summary, in the caller's language.
    """
    return {"sent": True}


async def bench_look_up_price(context: ToolContext, article: str, amount: int = 1) -> dict[str, Any]:
    """Look up what an article costs.

    Args:
        article: The article's name.
        amount: How many of it.
    """
    return {"price": 25}


async def bench_wait(context: ToolContext, seconds: float) -> dict[str, Any]:
    """Take some time over looking something up.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return {"found": "nothing"}


async def bench_order(context: ToolContext, seconds: float) -> dict[str, Any]:
    """Order something for good, which takes some time.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return {"ordered": True}


TOOLS = (bench_find_apartments, bench_book_viewing, bench_opening_hours, bench_send_summary, bench_look_up_price)


def add_bench_tools(registry: ToolRegistry) -> ToolRegistry:
    for tool in (*TOOLS, bench_wait):
        registry.add(tool)
    registry.add(bench_order, side_effect=True)
    return registry


class Untraced(SessionTrace):
    """Does nothing, whatever it is told."""

    def session(self, name: str, *, resumed: bool) -> None: ...
    def prompted(self, read: float) -> None: ...
    def begin(self, turn: int) -> None: ...
    def asked(self, asked: Round) -> None: ...
    def first_text(self, seconds: float, segments: dict[str, float]) -> None: ...
    def wasted(self, asked: Round) -> None: ...
    def tool(self, key: int, call: ToolCall, turn: int) -> ToolSpan:
        return NoToolSpan()

    def tool_over(self, key: int, outcome: str, result: ToolOutcome | None = None) -> None: ...
    def read(self, frame: Incoming, at: float) -> None: ...
    def wrote(self, kind: str) -> None: ...
    def turn_ended(self, turn: int, outcome: str, *, closed: bool = False) -> None: ...
    def ended(self, reason: str, turns: int) -> None: ...


class Uncounted(Tally):
    """Notes what is needed after a call, and nothing for lists of calls."""

    def turn_ended(self) -> None: ...


def main() -> None:
    if os.environ.get("BENCH_TELEMETRY") == "off":
        relay.session.SessionTrace = Untraced  # type: ignore[misc]
        relay.session.Tally = Uncounted  # type: ignore[misc]
        handlers.app.is_watched = lambda settings: False
    ours = handlers.app.make_tools

    def make_tools(*parts: Any, **more: Any) -> ToolRegistry:
        return add_bench_tools(ours(*parts, **more))

    handlers.app.make_tools = make_tools
    on_a_leash()
    if path := os.environ.get("BENCH_PROFILE"):
        profile = cProfile.Profile()
        try:
            profile.runcall(serve, standalone_mode=False)
        finally:
            profile.dump_stats(path)
    else:
        serve()


if __name__ == "__main__":
    main()
