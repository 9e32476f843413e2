"""An agent and a person, to look at: what an agent is and how its calls went today, what is known of a person.

GET /dashboard/api/agents/{name}
GET /dashboard/api/people/{hash}?limit=&after=
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from config.definition import AgentDefinition
from handlers.bearer import problem
from handlers.conversations import HASH, Views, after_of, limit_of
from handlers.dashboard_access import Access
from handlers.dashboard_api import add_get
from relay.store.monitor import DAY_MS, MOST_LOOKED, Monitor, Wanted
from relay.store.people import People, Person


class Profiles:
    """``model_name``: the model an agent's requests name."""

    def __init__(
        self,
        access: Access,
        monitor: Monitor,
        people: People,
        agents: Mapping[str, AgentDefinition],
        model_name: Callable[[AgentDefinition], str],
        views: Views,
    ) -> None:
        self._access = access
        self._monitor = monitor
        self._people = people
        self._agents = agents
        self._model_name = model_name
        self._views = views

    def add_routes(self, app: web.Application) -> None:
        add_get(app, self._access, "/agents/{name}", self.agent)
        add_get(app, self._access, "/people/{hash}", self.person)

    async def knows(self, agent: str) -> bool:
        return agent in self._agents

    async def has_met(self, hashed: str) -> bool:
        """Raises StoreError."""
        return bool(await self._behind(hashed))

    async def agent(self, request: web.Request) -> dict[str, Any]:
        """``today``: of its calls that began today (UTC), the latest where there are very many (``more``)."""
        agent = self._agents.get(request.match_info["name"])
        if agent is None:
            raise problem(404, "no_such_agent", "There is no agent of this name.")
        now = self._views.now_ms()
        today = await self._monitor.newest(Wanted(agent=agent.name), MOST_LOOKED, since=now - now % DAY_MS)
        slowest = [one.slowest_ms for one in today.found if one.slowest_ms is not None]
        return {
            "name": agent.name,
            "title": agent.title,
            "description": agent.description,
            "model": self._model_name(agent),
            "reasoning": agent.reasoning,
            "language": agent.language,
            "languages": [each.get("code", "") for each in agent.languages],
            "tools": list(agent.tools),
            "keys": {key: action.tool or "says" for key, action in agent.keys.items()},
            "greeting": agent.greeting,
            "prompt_chars": len(agent.prompt),
            "today": {
                "calls": len(today.found),
                "live": sum(one.live for one in today.found),
                "turns": sum(one.turns for one in today.found),
                "outcomes": Counter(one.outcome for one in today.found),
                "slowest_ms": {"p50": _percentile(slowest, 0.5), "p95": _percentile(slowest, 0.95)},
                "more": today.mark is not None,
            },
        }

    async def person(self, request: web.Request) -> dict[str, Any]:
        """Fields are "" where nothing is known; a caller without a number is known by their one call."""
        hashed = request.match_info["hash"]
        limit, after = limit_of(request), after_of(request)
        if not (person := await self._behind(hashed)):
            raise problem(404, "no_such_person", "There is nobody of whom a conversation is kept.")
        ids = await self._people.ids(person)
        known = await self._people.get(person) or Person(person)
        page = await self._monitor.of_person(ids, Wanted(), limit, after)
        mask = self._views.masking
        return {
            "person": hashed,
            "person_masked": mask.address(person),
            "addresses": [mask.address(each) for each in ids],
            "first_name": mask.text(known.first_name),
            "last_name": mask.text(known.last_name),
            "email": mask.text(known.email),
            "notes": mask.text(known.notes),
            "agent": known.agent,
            "language": known.language,
            "memory": known.memory,
            "first_seen": known.first_seen or None,
            "last_seen": known.last_seen or None,
            "calls": [
                {
                    "conversation": call.conversation,
                    "at": call.at,
                    "summary": mask.text(call.summary),
                    "follow_ups": [mask.text(each) for each in call.follow_ups],
                }
                for call in known.calls
            ],
            **self._views.page(page),
        }

    async def _behind(self, hashed: str) -> str:
        """An id of the person who is shown by this; "" for nobody."""
        return await self._monitor.person(hashed) if HASH.fullmatch(hashed) else ""


def _percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


__all__ = ["Profiles"]
