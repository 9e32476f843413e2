"""The tools of this program, a line a family."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from config.agent_file import ToolCheck
from config.definition import AgentDefinition
from config.menu import Menus
from config.settings import Settings
from handlers.cast import languages_of
from handlers.connecting import is_closed
from handlers.stores import Stores, open_stores
from relay.jobs import Jobs
from relay.store.client import connect
from relay.telemetry import Telemetry
from tools.apartments import add_apartments
from tools.call_control import add_call_control
from tools.demos import add_demos
from tools.keypad import add_keypad
from tools.profile import add_profile
from tools.registry import ToolRegistry
from tools.restaurant import add_restaurant
from tools.switching import Switching, add_switching
from tools.texting import Texting, add_texting


def make_tools(
    settings: Settings,
    stores: Stores,
    texting: Texting,
    agents: Callable[[], Mapping[str, AgentDefinition]],
    telemetry: Telemetry,
) -> ToolRegistry:
    """``agents``: those that are known when a tool asks; there need be none yet."""

    def languages(name: str) -> tuple[str, ...]:
        agent = agents().get(name)
        return () if agent is None else languages_of(agent)

    def listed() -> Mapping[str, AgentDefinition]:
        return {name: agent for name, agent in agents().items() if not agent.unlisted}

    registry = ToolRegistry(
        settings.tool_deadline,
        observe=lambda tool, outcome, seconds: telemetry.tool.labels(tool, outcome).observe(seconds),
    )
    add_call_control(
        registry, can_transfer=can_transfer(settings), closed=lambda name: _nobody_there(agents().get(name))
    )
    add_keypad(registry)
    add_profile(registry, stores.people)
    add_texting(registry, texting)
    add_demos(registry, stores.people, listed, settings.default_agent)
    add_apartments(registry, stores.house, stores.tours, stores.people, texting)
    add_restaurant(registry, Menus(settings.agents_dir), stores.orders, stores.people, texting)
    add_switching(registry, Switching(listed, languages, settings.default_agent))
    return registry


def can_transfer(settings: Settings) -> bool:
    """Whether there is any way to hand a call to a person."""
    return bool(settings.transfer_to or settings.transfer_workflow_sid or settings.transfer_studio_flow)


def _nobody_there(agent: AgentDefinition | None) -> bool:
    """Whether the agent's business is closed and its calls are answered all the same, by the agent."""
    return agent is not None and bool(agent.closed_greeting) and is_closed(agent, time.time())


def tool_check(settings: Settings) -> ToolCheck:
    """What checks the tools agents name, without a server: nothing is connected, and no tool is run."""
    stores, texting = open_stores(settings, connect("redis://127.0.0.1:6379")), Texting(None, None, None, Jobs())
    return make_tools(settings, stores, texting, dict, Telemetry()).complaint
