"""The tools of this program, a line a family."""

from __future__ import annotations

from config.agents import ToolCheck
from config.settings import Settings
from relay.jobs import Jobs
from relay.store.client import connect
from relay.store.people import People
from relay.telemetry import Telemetry
from tools.call_control import add_call_control
from tools.profile import add_profile
from tools.registry import ToolRegistry
from tools.texting import Texting, add_texting


def make_tools(settings: Settings, people: People, texting: Texting, telemetry: Telemetry) -> ToolRegistry:
    registry = ToolRegistry(
        settings.tool_deadline,
        observe=lambda tool, outcome, seconds: telemetry.tool.labels(tool, outcome).observe(seconds),
    )
    add_call_control(registry, can_transfer=can_transfer(settings))
    add_profile(registry, people)
    add_texting(registry, texting)
    return registry


def can_transfer(settings: Settings) -> bool:
    """Whether there is any way to hand a call to a person."""
    return bool(settings.transfer_to or settings.transfer_workflow_sid or settings.transfer_studio_flow)


def tool_check(settings: Settings) -> ToolCheck:
    """What checks the tools agents name, without a server: nothing is connected, and no tool is run."""
    people, texting = People(connect("redis://127.0.0.1:6379")), Texting(None, None, None, Jobs())
    return make_tools(settings, people, texting, Telemetry()).complaint
