"""Agents as they are where people write."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from redis.asyncio import Redis

from config.definition import AgentDefinition, KeyAction
from config.settings import load_settings
from handlers.stores import open_stores
from handlers.texts import GUIDELINES, TextAgents, Texts, make_texts
from relay.textparts import TextParts
from relay.toolbox import ToolContext
from tools.registry import ToolRegistry, ToolResult

DESK = AgentDefinition(
    name="desk",
    title="Desk",
    prompt="Help {user_context}",
    tools=("look", "end_call", "transfer_to_human", "collect_digits", "send_digits", "switch_language"),
    keys={"1": KeyAction("One.")},
)


@pytest.fixture
def texts(redis: Redis) -> Texts:
    registry = ToolRegistry()

    async def look(context: ToolContext) -> ToolResult:
        """Looks."""
        return ToolResult({})

    registry.add(look)
    parts = cast(TextParts, type("Parts", (), {"tools": registry}))
    settings = load_settings(env_file=None, environ={})
    stores = open_stores(settings, redis)
    return make_texts(settings, parts, stores, {"desk": DESK}, lambda agent: f"model of {agent.name}", worker="w")


def test_tools_of_a_telephone_are_withheld() -> None:
    """An agent has the others, and no keys; one that changes on disk changes here."""
    agents: dict[str, AgentDefinition] = {"desk": DESK}
    made = TextAgents(agents)
    assert made["desk"].tools == ("look",) and made["desk"].keys == {}
    assert made["desk"] is made["desk"] and list(made) == ["desk"] and len(made) == 1
    agents["desk"] = replace(DESK, tools=())
    assert made["desk"].tools == ()


async def test_how_to_write_stands_before_every_prompt(texts: Texts) -> None:
    """What is the same for all first, then the channel's own, then the agent's; nothing of how to speak."""
    cast = texts.cast("desk", "chat:ada", "Markdown is fine.\n")
    await cast.look_up()
    told = cast.instructions("desk")
    assert told.startswith(GUIDELINES + "Markdown is fine.\n\nHelp The caller is not known")
    assert "You are on the phone" not in told
    role = cast.role("desk")
    assert role is not None and [spec.name for spec in role.request.tools] == ["look"]
    assert role.request.model == "model of desk" and not role.manner.may_use("end_call")
    with pytest.raises(KeyError):
        texts.cast("nobody", "chat:ada")


def test_conversations_of_a_channel(texts: Texts) -> None:
    """Kept as long as texts are."""
    assert texts.chats("debate").channel == "debate"
    assert texts.kept == 30 * 86400
