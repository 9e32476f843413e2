"""The tours of the apartments: which house they are of, and who makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from config.definition import AgentDefinition
from config.settings import Settings
from config.values import CHECKOUT
from relay.store.tours import Tours
from tools.apartments import TOUR_TOOLS
from tools.listings import Listings, read_listings
from tools.tour_making import keep_tours

_FILE = Path("apartments", "apartments.toml")


def read_house(settings: Settings) -> Listings:
    """Of the agent ``apartments`` in the settings' folder; of the one that comes with the relay where there is none.
    Raises ConfigError."""
    own = settings.agents_dir / _FILE
    return read_listings(own if own.is_file() else CHECKOUT / "config" / "agents" / _FILE)


@asynccontextmanager
async def tours_kept(tours: Tours, house: Listings, agents: Iterable[AgentDefinition]) -> AsyncIterator[None]:
    """Tours are made for as long as this lasts, if any of the agents has to do with them."""
    if not any(tool in TOUR_TOOLS for agent in agents for tool in agent.tool_names):
        yield
        return
    keeper = asyncio.create_task(keep_tours(tours, house.layouts), name="tours")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


__all__ = ["read_house", "tours_kept"]
