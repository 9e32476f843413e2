"""Passing the call to another agent, and changing its language; and whether what tools ask of a call can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from config.languages import find_language, language_name
from relay.errors import ToolRetry
from relay.toolbox import ChangeKeys, ChangeTools, Effect, SwitchAgent, SwitchLanguage, ToolContext
from tools.agent_names import find_agent
from tools.registry import ToolFunction, ToolRegistry, ToolResult

MOST_NAMED = 12
"""Names a model is told of when it has named another one."""

DIGITS = frozenset("0123456789*#ABCD")


class Agent(Protocol):
    """What of an agent's definition these tools use."""

    @property
    def title(self) -> str: ...


class Switching:
    """``agents``: all there are, by name, at the moment. ``languages``: tags of those an agent of this name speaks.
    ``default``: the agent that is the beginning."""

    def __init__(
        self,
        agents: Callable[[], Mapping[str, Agent]],
        languages: Callable[[str], Sequence[str]],
        default: str = "default",
    ) -> None:
        self._agents = agents
        self._languages = languages
        self._default = default

    def tools(self) -> tuple[ToolFunction, ToolFunction]:
        """``switch_agent`` and ``switch_language``."""

        async def switch_agent(context: ToolContext, agent: str) -> ToolResult:
            """Pass the call on to another agent of this house, who takes it over at once. Use it when the caller wants
            what another agent is there for.

            Args:
                agent: The agent's name (its key); its title will do. "default" to start over.
            """
            name = find_agent(agent, self._agents(), self._default, context.agent)
            if name is None:
                raise ToolRetry(self._unknown(agent.strip()))
            if name == context.agent:
                return ToolResult({"switched": False, "message": "You are this agent already. Go on."})
            message = (
                f"From now on you are the agent {self._agents()[name].title}: your instructions and your tools are its "
                "own. Go on in that role in a natural way: say in a few words who you are, take up what the caller "
                "wants, and do not greet them as if they had just called."
            )
            return ToolResult({"switched": True, "agent": name, "message": message}, (SwitchAgent(name),))

        async def switch_language(context: ToolContext, language: str) -> ToolResult:
            """Change the language of the call, for what you say and what is understood. Use it when the caller asks for
            another language.

            Args:
                language: The language's name or tag, such as Spanish or es-US.
            """
            tags = self._languages(context.agent)
            tag = find_language(language, tags)
            if not tag:
                named = ", ".join(language_name(each) for each in tags[:MOST_NAMED])
                raise ToolRetry(f"This call cannot be held in that language. It can be held in: {named}.")
            message = f"The call is in {language_name(tag)} from now on. Go on in that language."
            return ToolResult({"language": tag, "message": message}, (SwitchLanguage(tag),))

        return switch_agent, switch_language

    def refuses(self, effect: Effect, context: ToolContext, complaint: Callable[[str], str]) -> str:
        """Why an effect cannot be carried out, for the model; "" if it can. ``complaint``: what is wrong with a tool of
        this name."""
        match effect:
            case SwitchAgent(agent):
                return self._unknown(agent)
            case SwitchLanguage(language):
                known = find_language(language, self._languages(context.agent))
                return "" if known else f"The call cannot be held in the language {language[:35]!r}."
            case ChangeTools(add, _):
                return next(filter(None, map(complaint, add)), "")
            case ChangeKeys(add, _):
                if wrong := add.keys() - DIGITS:
                    return f"{min(wrong)[:8]!r} is not a key of a phone."
                return next(filter(None, (complaint(key.tool) for key in add.values() if key.tool)), "")
            case _:
                return ""

    def _unknown(self, name: str) -> str:
        agents = self._agents()
        if name in agents:
            return ""
        return f"There is no agent named {name[:64]!r}. There are: {', '.join([*agents][:MOST_NAMED])}."


def add_switching(registry: ToolRegistry, switching: Switching) -> None:
    for function in switching.tools():
        registry.add(function)
    registry.refuses = switching.refuses
