"""The demonstrations a caller may choose from; the choice holds for their next calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from relay.errors import StoreError, ToolError, ToolRetry
from relay.store.people import is_known
from relay.toolbox import ToolContext
from tools.agent_names import find_agent
from tools.registry import ToolFunction, ToolRegistry, ToolResult
from tools.words import language_of, listed, said


class Demo(Protocol):
    """What of an agent's definition is used."""

    @property
    def title(self) -> str: ...


class People(Protocol):
    async def update(self, person: str, /, **changes: str) -> Any: ...


def demos(people: People, agents: Callable[[], Mapping[str, Demo]], default: str) -> ToolFunction:
    """``choose_demo`` among these agents; ``default`` is the one who answers those who have not chosen."""

    async def choose_demo(context: ToolContext, agent: str) -> ToolResult:
        """Save which demonstration answers when the caller calls this number again. Choosing the default one brings the
        caller back to the beginning.

        Args:
            agent: The demonstration's key; its number or its title will do. "default" to start over.
        """
        language, known = language_of(context), dict(agents())
        chosen = find_agent(agent, known, default, context.agent)
        if chosen is None:
            choices = listed([f"{demo.title} ({name})" for name, demo in known.items()], language)
            raise ToolRetry(
                said(
                    language,
                    f"There is no such demonstration. There are: {choices}. Ask the caller which one they would like.",
                    f"No existe esa demostración. Hay: {choices}. Pregunte cuál desea la persona.",
                )
            )
        title = known[chosen].title
        output: dict[str, Any] = {"agent": chosen, "title": title}
        if not context.person or not is_known(context.person):
            message = said(
                language,
                f"{title} cannot be remembered: the caller's number is withheld. Their next call begins here again.",
                f"No se puede recordar {title}: el número de la persona está oculto. Su próxima llamada empezará otra "
                "vez aquí.",
            )
            return ToolResult({**output, "saved": False, "message": message})
        try:
            # No choice is the way back: whichever agent is the default one then will answer.
            await people.update(context.person, agent="" if chosen == default else chosen)
        except StoreError as error:
            raise ToolError(
                said(
                    language,
                    "The choice could not be saved just now. Tell the caller, and try again in a moment.",
                    "Ahora mismo no se ha podido guardar la elección. Dígalo y vuelva a intentarlo en un momento.",
                )
            ) from error
        message = said(
            language,
            f"The choice is saved. Hang up and call this number again: {title} will answer.",
            f"La elección está guardada. Cuelgue y llame otra vez a este número: responderá {title}.",
        )
        return ToolResult({**output, "saved": True, "message": message})

    return choose_demo


def add_demos(registry: ToolRegistry, people: People, agents: Callable[[], Mapping[str, Demo]], default: str) -> None:
    registry.add(demos(people, agents, default), side_effect=True)
