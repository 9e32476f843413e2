"""The agents' files, as ``relay agents check`` sees them."""

from __future__ import annotations

from commands.agents import Looked
from commands.doctor.finding import Finding, failed, ok
from config.settings import Settings

SHOWN = 5


def found(looked: list[Looked], settings: Settings) -> Finding:
    names = [each.name for each in looked]
    problems = [problem for each in looked for problem in each.problems]
    if settings.default_agent not in names:
        problems.insert(0, f"DEFAULT_AGENT: there is no agent {settings.default_agent} in {settings.agents_dir}.")
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        return failed("\n".join(problems[:SHOWN] + more), "relay agents check")
    return ok(f"{', '.join(names)}.")
