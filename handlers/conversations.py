"""All conversations in a list, and all there is of one: for the dashboard, and as JSON to be taken away.

    GET /dashboard/api/conversations?person=&agent=&channel=&outcome=&slower_than_ms=&limit=&after=
    GET /dashboard/api/conversations/{id}

A list goes on with ``after``, null at its end. A page may have fewer than ``limit`` and go on all the same: a request
looks at a bounded number of conversations (``looked``), however few of them are wanted. ``outcome`` is one of those
that calls are reported with, or ``live``; another one is refused. Of an agent or a channel that there is not there may
have been conversations: it is found none of.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from handlers.bearer import problem
from handlers.dashboard_access import Access
from handlers.dashboard_api import add_get
from handlers.masking import OUR_NAMES, Masking, names_in
from relay.heard import words
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.report import ENDS
from relay.store.monitor import Conversation, Mark, Monitor, Page, Wanted
from relay.store.people import People
from relay.store.person import person_hash
from relay.toolbox import ToolBox

OUTCOMES = ("live", *sorted(ENDS))
USUAL_LIMIT, MOST = 50, 200
HASH = re.compile(r"[0-9a-f]{24}", re.ASCII)

_TEXTS = ("kind", "text", "heard", "unheard", "origin", "status", "name", "arguments", "output", "lang")
_MARK = re.compile(r"(\d{1,15}):(.{1,300})", re.ASCII | re.DOTALL)


class Views:
    """What is shown of conversations. ``key``: of the hashes that stand for people."""

    def __init__(self, masking: Masking, tools: ToolBox, key: bytes, now_ms: Callable[[], int]) -> None:
        self.masking = masking
        self.now_ms = now_ms
        self._tools = tools
        self._key = key

    def line(self, one: Conversation) -> dict[str, Any]:
        """A line of a list."""
        person = one.person
        return {
            "id": one.id,
            "agent": one.agent,
            "agents": one.agents,
            "channel": one.channel,
            "person": person and person_hash(self._key, person),
            "person_masked": self.masking.address(person),
            "started": one.started,
            "ended": one.ended,
            "seconds": max(0, (one.ended or self.now_ms()) - one.started) / 1000,
            "outcome": one.outcome,
            "turns": one.turns,
            "slowest_ms": one.slowest_ms,
            "live": one.live,
            "worker": one.worker,
        }

    def page(self, page: Page) -> dict[str, Any]:
        after = page.mark and base64.urlsafe_b64encode(f"{page.mark.at}:{page.mark.conversation}".encode()).decode()
        return {"conversations": [self.line(one) for one in page.found], "after": after, "looked": page.looked}

    def item(self, position: int, item: Item) -> dict[str, Any]:
        """Every item has every field, "" where it says nothing. ``unheard``: what was sent and not heard, nothing as
        long as that is open."""
        text = self.masking.text
        shown: dict[str, Any] = {"position": position, "at": None, **dict.fromkeys(_TEXTS, "")}
        match item:
            case UserItem():
                shown |= {"kind": "user", "text": text(item.text), "heard": text(item.text), "lang": item.lang}
            case AssistantItem():
                heard, unheard = _heard(item)
                shown |= {"kind": "assistant", "at": item.started or None, "text": text(item.sent or item.text)}
                shown |= {"heard": text(heard), "unheard": text(unheard)}
                shown |= {"origin": item.origin, "status": item.status}
            case ToolItem():
                known = self._tools.knows(item.name)
                names = names_in(self._tools.specs([item.name])[0].parameters) if known else ()
                shown |= {"kind": "tool", "name": item.name if known else text(item.name), "status": item.status}
                shown |= {"arguments": self.masking.json(item.arguments, names)}
                shown |= {"output": self.masking.json(item.output, OUR_NAMES)}
            case NoteItem():
                shown |= {"kind": "note", "text": text(item.text)}
        return shown


class ConversationRoutes:
    def __init__(self, access: Access, monitor: Monitor, people: People, views: Views) -> None:
        self._access = access
        self._monitor = monitor
        self._people = people
        self._views = views

    def add_routes(self, app: web.Application) -> None:
        add_get(app, self._access, "/conversations", self.listing)
        add_get(app, self._access, "/conversations/{id}", self.one)

    async def listing(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        wanted = Wanted(query.get("agent", ""), query.get("channel", ""), _outcome(request), _slower_than(request))
        limit, after = limit_of(request), after_of(request)
        if not (hashed := query.get("person", "")):
            return self._views.page(await self._monitor.newest(wanted, limit, after))
        person = await self._monitor.person(hashed) if HASH.fullmatch(hashed) else ""
        ids = await self._people.ids(person) if person else []
        return self._views.page(await self._monitor.of_person(ids, wanted, limit, after))

    async def one(self, request: web.Request) -> dict[str, Any]:
        whole = await self._monitor.one(request.match_info["id"])
        if whole is None:
            raise problem(404, "no_such_conversation", "There is no such conversation, or it is not kept any more.")
        items = [self._views.item(position, item) for position, item in whole.items]
        return {**self._views.line(whole.conversation), "items": items, "trace": whole.trace}


def limit_of(request: web.Request) -> int:
    text = request.query.get("limit") or str(USUAL_LIMIT)
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise problem(400, "bad_limit", f"limit must be a number from 1 to {MOST}.")
    return int(text)


def after_of(request: web.Request) -> Mark | None:
    text = request.query.get("after", "")
    if not text:
        return None
    try:
        found = _MARK.fullmatch(base64.b64decode(text, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise problem(400, "bad_cursor", "after must be what an answer gave.")
    return Mark(int(found[1]), found[2])


def _outcome(request: web.Request) -> str:
    given = request.query.get("outcome", "")
    if given not in ("", *OUTCOMES):
        raise problem(400, "bad_outcome", f"outcome must be one of {', '.join(OUTCOMES)}.")
    return given


def _slower_than(request: web.Request) -> float:
    try:
        slower_than = float(request.query.get("slower_than_ms") or 0)
    except ValueError:
        slower_than = math.nan
    if not 0 <= slower_than < math.inf:
        raise problem(400, "bad_slower_than_ms", "slower_than_ms must be a number of milliseconds.")
    return slower_than


def _heard(item: AssistantItem) -> tuple[str, str]:
    """What was heard of it, and what was sent besides; of one that is still being played what is known to be heard."""
    if item.status == "open":
        ends = [end for _, end in words(item.text)][: item.heard]
        return (item.text[: ends[-1]] if ends else ""), ""
    if item.sent.startswith(item.text):
        return item.text, item.sent[len(item.text) :]
    # Keys in it were masked after the place was counted.
    ends = [end for _, end in words(item.sent)][: sum(1 for _ in words(item.text))]
    return item.text, item.sent[ends[-1] if ends else 0 :]


__all__ = ["HASH", "ConversationRoutes", "Views", "after_of", "limit_of"]
