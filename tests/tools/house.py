"""The house of the tests: a clock that stands, tours in Redis, and text messages that go nowhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from redis.asyncio import Redis

from config.values import CHECKOUT
from relay.errors import StoreError, ToolError
from relay.store.people import People
from relay.store.tours import Slot, Tours
from relay.toolbox import ToolContext, ToolOutcome
from tools.apartments import add_apartments
from tools.listings import read_listings
from tools.registry import ToolRegistry

HOUSE = read_listings(CHECKOUT / "config" / "agents" / "apartments" / "apartments.toml")
DENVER = ZoneInfo("America/Denver")
MONDAY = date(2026, 11, 23)
ANN = "phone:+15551234567"
CONTEXT = ToolContext("CA1", "voice", "apartments", person=ANN, language="en-US", address="+15551234567")


class Clock:
    """What the time is, as the test says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=DENVER)

    def __call__(self) -> datetime:
        return self.now.astimezone(UTC)


class Texts:
    """Remembers what was to be sent; ``refuse`` makes it fail."""

    can_text = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.refuse = ""

    async def text(self, context: ToolContext, body: str) -> None:
        if self.refuse:
            raise ToolError(self.refuse)
        self.sent.append((context.address, body))


class Away:
    """Tours and people in a store that does not answer; ``but`` names what still works, as in ``tours``."""

    def __init__(self, tours: Tours, *but: str) -> None:
        self._tours = tours
        self._but = but

    def now(self) -> datetime:
        return self._tours.now()

    def __getattr__(self, name: str) -> Any:
        if name in self._but:
            return getattr(self._tours, name)

        async def away(*arguments: object) -> Any:
            raise StoreError("away")

        return away


def slot(ahead: int = 1, at: str = "10:00", kind: str = "studio", tour: str = "in-person") -> Slot:
    return Slot(MONDAY + timedelta(ahead), time.fromisoformat(at), kind, tour)


def named(each: Slot) -> dict[str, Any]:
    """The arguments that name a tour."""
    return {
        "date": each.day.isoformat(),
        "time": f"{each.at:%H:%M}",
        "tour_type": each.tour_type,
        "apartment_type": each.apartment_type,
    }


class House:
    """The tools over a real store; ``open`` makes tours that can be booked."""

    def __init__(self, redis: Redis) -> None:
        self.clock = Clock()
        self.tours = Tours(redis, DENVER, self.clock)
        self.people = People(redis)
        self.texts = Texts()
        self.registry = ToolRegistry()
        add_apartments(self.registry, HOUSE, self.tours, self.people, self.texts)

    async def open(self, *slots: Slot) -> None:
        await self.tours.refresh(slots)

    async def run(self, tool: str, context: ToolContext = CONTEXT, **arguments: Any) -> ToolOutcome:
        return await self.registry.run(tool, orjson.dumps(arguments).decode(), context)

    async def result(self, tool: str, context: ToolContext = CONTEXT, **arguments: Any) -> dict[str, Any]:
        """What the model is told; every result has a sentence."""
        outcome = await self.run(tool, context, **arguments)
        told: dict[str, Any] = orjson.loads(outcome.output)
        assert told["message"] and "{" not in told["message"]
        return told
