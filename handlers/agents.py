"""The agents of the settings' folder, and looks at it before a call, in a thread and within a deadline."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from config.catalogue import Catalogue, Look
from config.definition import OPENAI, AgentDefinition
from config.settings import Settings
from handlers.modelling import engine_check
from tools.registry import ToolRegistry

LOOK_DEADLINE = 0.3

log = structlog.get_logger(__name__)


class AgentWatch:
    """``deadline``: seconds a call waits for a look; it then goes on with the agents that are known."""

    def __init__(self, catalogue: Catalogue, *, deadline: float = LOOK_DEADLINE) -> None:
        self._catalogue = catalogue
        self._deadline = deadline
        self._looking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def fresh(self) -> None:
        """Returns when a look that began after this call is over; raises nothing but CancelledError, which leaves the
        look to go on by itself."""
        if self._next is None or self._next.done():
            before = self._looking
            self._next = asyncio.create_task(self._after(before), name="look at agents")
        await asyncio.wait([self._next], timeout=self._deadline)

    async def close(self) -> None:
        """Waits for what is under way, no longer than a look may take."""
        if tasks := [task for task in (self._looking, self._next) if task is not None and not task.done()]:
            await asyncio.wait(tasks, timeout=self._deadline)

    async def _after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        # From here on whoever comes asks for another look.
        self._looking, self._next = asyncio.current_task(), None
        try:
            _tell(await asyncio.to_thread(self._catalogue.look))
        except Exception as error:
            log.error("agents not looked at", error=type(error).__name__, exc_info=error)


def _tell(look: Look) -> None:
    if look.changed or look.gone:
        log.info("agents changed on disk", changed=list(look.changed), gone=list(look.gone))
    if look.problems:
        log.warning("agent refused, the last good one stays", problems=list(look.problems))


def open_catalogue(settings: Settings, tools: ToolRegistry) -> Catalogue:
    """The agents as these settings have them run. Raises ConfigError with all that is wrong in them."""
    speculation = settings.speculation == "on"
    agents = Catalogue(
        settings.agents_dir,
        settings.default_agent,
        tools.complaint,
        lambda agent: _speculating(agent, speculation),
        engine_check(settings),
        named_agents(settings),
    )
    if settings.chat_agent not in agents:
        log.warning("live chats have to name an agent: set CHAT_AGENT", missing=settings.chat_agent)
    return agents


def named_agents(settings: Settings) -> dict[str, str]:
    """Settings besides DEFAULT_AGENT that name an agent there has to be, and its name. One that nobody has set asks for
    none: where live chats are not used there is perhaps no agent of that name."""
    return {"CHAT_AGENT": settings.chat_agent} if "chat_agent" in settings.model_fields_set else {}


def _speculating(agent: AgentDefinition, default: bool) -> AgentDefinition:
    """With its own say about speculation or the setting's, which takes partial prompts unless it refuses them. An
    engine that keeps the conversation takes what it is asked for said: it is asked nothing ahead."""
    wanted = agent.engine == OPENAI and (default if agent.speculation is None else agent.speculation)
    partials = agent.relay.get("partialPrompts", "").casefold() != "false"
    relay = {**agent.relay, "partialPrompts": "true"} if wanted and partials else agent.relay
    return replace(agent, speculation=wanted and partials, relay=relay)
