"""The agents of one call, as its session needs them; ``handlers/cast.py`` satisfies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from relay.manner import Manner
from relay.models.base import ModelRequest


@dataclass(frozen=True, slots=True)
class Role:
    """One agent. ``request``: what is the same in each of its requests, its own tools included; its instructions are
    not. ``voices``: by the tag of a language it declares, the attributes of how that is spoken (provider, voice)."""

    manner: Manner
    request: ModelRequest
    voices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Cast(Protocol):
    """Who may talk in a call, and what they know of the person."""

    def role(self, agent: str) -> Role | None:
        """None for a name that nobody has. Never waits."""
        ...

    def instructions(self, agent: str, language: str = "") -> str:
        """The agent's, for the person as far as it is known by now, or a stranger. ``language``: the tag of the one to
        answer in, "" where it goes without saying. The same object while nothing has changed. Never waits."""
        ...

    async def look_up(self) -> None:
        """Learns what is known of the person by now; where that cannot be learnt, what was known stays. Ends by its own
        deadline and raises nothing. A cancel leaves what was known."""
        ...
