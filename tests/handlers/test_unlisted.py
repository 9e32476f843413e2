"""Agents that are there for a channel of their own: callers are neither offered them nor passed on to them."""

from __future__ import annotations

from pathlib import Path

import orjson
from redis.asyncio import Redis

from config.agents import load_agents
from config.settings import load_settings
from handlers.stores import open_stores
from handlers.toolkit import make_tools
from phone.caller import FAST, Caller
from relay.jobs import Jobs
from relay.telemetry import Telemetry
from relay.toolbox import ToolContext
from tests.running import running, write_agent
from tools.texting import Texting

DESK = 'title = "Desk"\ntools = ["switch_agent", "choose_demo"]\n'


def folder(tmp_path: Path) -> Path:
    agents = write_agent(tmp_path / "agents", DESK, prompt="Offer {available_demos}")
    write_agent(agents, 'title = "Shop"\n', "shop")
    return write_agent(agents, 'title = "Debate"\nunlisted = true\n', "debate")


async def test_tools_do_not_know_them(redis: Redis, tmp_path: Path) -> None:
    """By name, title or number: the list has the others only."""
    agents = load_agents(folder(tmp_path))
    assert agents["debate"].unlisted and not agents["shop"].unlisted
    settings = load_settings(None, {})
    tools = make_tools(
        settings, open_stores(settings, redis), Texting(None, None, None, Jobs()), lambda: agents, Telemetry()
    )
    context = ToolContext("CA1", "phone", "default", "phone:+15550100200")
    for tool in ("switch_agent", "choose_demo"):
        for wanted, known in (("debate", False), ("Debate", False), ("two", False), ("one", True), ("shop", True)):
            outcome = await tools.run(tool, orjson.dumps({"agent": wanted}).decode(), context)
            assert outcome.ok is known, (tool, wanted)
            assert wanted != "two" or "debate" not in outcome.output.casefold()


async def test_prompts_do_not_offer_them(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A caller hears of the others."""
    async with running(redis_url, tmp_path, agents=folder(tmp_path)) as relay, Caller(relay.url, pace=FAST) as call:
        await call.say("What is there?")
        await call.reply()
        asked = relay.model.asked[0].ask
    assert asked is not None
    assert "1. Shop" in asked.instructions and "Debate" not in asked.instructions
