"""The agents' files, as ``relay agents check`` sees them."""

from __future__ import annotations

from commands.agents import Looked
from commands.doctor.finding import Finding, failed, ok
from config.settings import Settings
from handlers.agents import named_agents

SHOWN = 5


def found(looked: list[Looked], settings: Settings) -> Finding:
    names = [each.name for each in looked]
    problems = [problem for each in looked for problem in each.problems]
    needed = {"DEFAULT_AGENT": settings.default_agent, **named_agents(settings)}
    missing = [
        f"{each}: there is no agent {name} in {settings.agents_dir}."
        for each, name in needed.items()
        if name not in names
    ]
    problems[:0] = missing
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        return failed("\n".join(problems[:SHOWN] + more), "relay agents check")
    return ok(f"{', '.join(names)}.")
