"""What happens to calls, a line each: columns that stand below each other, colours where there are any."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from phone.screen import printable

MOST_CALLS = 10_000  # whose agents are remembered; the one told of longest ago is forgotten first
SHORT = 8  # the last characters of a call's id are enough to tell it from others
LATE, VERY_LATE = 1000.0, 2500.0  # milliseconds to the first words that are coloured
SHOWN = ("call_started", "turn", "call_ended")

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are shown. ``call``: an id, or how it ends. ``slow_ms``: of turns, those that took so long to the
    first words, and nothing but turns; None for all."""

    agent: str = ""
    call: str = ""
    slow_ms: float | None = None


class Lines:
    """Turns events into lines."""

    def __init__(self, wanted: Wanted, *, colour: bool) -> None:
        self._wanted = wanted
        self._colour = colour
        self._agents: OrderedDict[str, str] = OrderedDict()  # who has each call: not every event tells

    def wants(self, event: Event) -> bool:
        """Whether it is to be shown. To be asked of every event, in order."""
        name, call = event.get("event"), str(event.get("id", ""))
        if name not in SHOWN:
            return False
        agent = self._agent(event, call)
        wanted = self._wanted
        if (wanted.agent and agent != wanted.agent) or not call.endswith(wanted.call):
            return False
        if wanted.slow_ms is None:
            return True
        first = event.get("first_text_ms")
        return name == "turn" and isinstance(first, int | float) and first >= wanted.slow_ms

    def line(self, event: Event) -> str:
        """One that is wanted."""
        call = str(event.get("id", ""))
        at = datetime.fromtimestamp(float(event.get("at", 0)) / 1000)
        agent = str(event.get("agent") or self._agents.get(call, ""))
        head = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  {printable(call)[-SHORT:]:<{SHORT}}  {printable(agent):<12}"
        match event["event"]:
            case "call_started":
                what = self._paint("resumed" if event.get("resumed") else "started", "cyan")
            case "turn":
                what = self._turn(event)
            case _:
                seconds, turns, reason = event.get("seconds", 0), event.get("turns", 0), str(event.get("reason", ""))
                unsaid = printable(str(event.get("unsaid") or ""))
                lines = f", not said: {unsaid} of an operator's lines" if unsaid else ""
                what = self._paint(f"ended    {printable(reason)}, {seconds:.1f} s, {turns} turns{lines}", "cyan")
        return f"{self._paint(head, dim=True)}  {what}".rstrip()

    def _agent(self, event: Event, call: str) -> str:
        agent = str(event.get("agent") or self._agents.get(call, ""))
        if call:
            self._agents[call] = agent
            self._agents.move_to_end(call)
            if len(self._agents) > MOST_CALLS:
                self._agents.popitem(last=False)
        return agent

    def _turn(self, event: Event) -> str:
        first, outcome = event.get("first_text_ms"), printable(str(event.get("outcome", "")))
        took = f"{'-':>6} ms"
        if isinstance(first, int | float):
            late = "red" if first >= VERY_LATE else "yellow" if first >= LATE else ""
            took = self._paint(f"{first:>6.0f} ms", late)
        colour = {"done": "green", "failed": "red"}.get(outcome, "yellow")
        parts = [f"turn {event.get('turn', 0):>3}", took, self._paint(f"{outcome:<11}", colour)]
        segments, tools, tokens = event.get("segments_ms"), event.get("tools"), event.get("tokens")
        if isinstance(segments, Mapping):
            parts.append(" ".join(f"{printable(name)} {ms:.0f}" for name, ms in segments.items() if ms >= 0.5))
        if isinstance(tools, list) and tools:
            parts.append(self._paint(f"[{printable(', '.join(map(str, tools)))}]", "magenta"))
        if isinstance(tokens, Mapping) and any(tokens.values()):
            told = f"{tokens.get('input', 0)} in ({tokens.get('cached', 0)} cached) {tokens.get('output', 0)} out"
            parts.append(self._paint(told, dim=True))
        return "  ".join(part for part in parts if part)

    def _paint(self, text: str, colour: str = "", *, dim: bool | None = None) -> str:
        return click.style(text, fg=colour or None, dim=dim) if self._colour and (colour or dim) else text


__all__ = ["Lines", "Wanted"]
