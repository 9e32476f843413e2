"""What the handlers are given in these tests: small agents, a person store with a will of its own, a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from config.hours import Hours
from config.says import Says
from relay.errors import StoreError

CALL = "CA" + "0" * 32
SESSION = "VX" + "0" * 32
NOW = 1_800_000_000.0


class Clock:
    """Stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Lines:
    lines: Mapping[str, str] = field(
        default_factory=lambda: {
            "trouble": "Sorry, that went wrong.",
            "trouble_bridge": "Sorry, that went wrong.",
            "nobody": "Nobody can be reached.",
            "recorded": "This is recorded.",
            "busy": "All lines are busy.",
            "called_often": "You have called often.",
            "budget": "That is all for today.",
            "whisper_trouble": "The agent is broken.",
            "whisper_hours": "The shop is closed.",
        }
    )

    def line(self, name: str, lang: str) -> str:
        return f"{self.lines[name]} [{lang}]"

    def line_language(self, name: str, lang: str) -> str:
        return lang


@dataclass(frozen=True)
class StandInAgent:
    """The fields of an agent's definition that the voice webhooks read."""

    name: str = "default"
    greeting: str = "Hello & welcome <friend>"
    relay: Mapping[str, str] = field(default_factory=lambda: {"language": "en-US"})
    second: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[Mapping[str, str], ...] = ()
    says: Lines | Says = Lines()
    hours: Hours | None = None
    timezone: str = "UTC"
    closed_greeting: str = ""
    voicemail: str = ""
    record: bool = False

    @property
    def language(self) -> str:
        return self.relay.get("ttsLanguage") or self.relay.get("language") or "en-US"


@dataclass(frozen=True)
class Known:
    agent: str
    first_name: str = ""
    last_name: str = ""
    language: str = ""


class StandInPeople:
    """Knows chosen agents by person id; can be away, or silent until cancelled."""

    def __init__(self, chosen: Mapping[str, str] | None = None, *, away: bool = False, silent: bool = False) -> None:
        self.chosen = dict(chosen or {})
        self.away = away
        self.silent = silent
        self.asked: list[str] = []
        self.known: dict[str, Known] = {}

    async def get(self, person: str) -> Known | None:
        self.asked.append(person)
        if self.away:
            raise StoreError("away")
        if self.silent:
            await asyncio.Event().wait()
        if person in self.known:
            return self.known[person]
        agent = self.chosen.get(person)
        return None if agent is None else Known(agent)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client of a server on a real port that has these routes."""
    app = web.Application()
    app.add_routes(routes)
    async with TestClient(TestServer(app)) as client:
        yield client
