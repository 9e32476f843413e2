"""The debate: ``POST /api/chat``, the histories of debates, and their list for an operator's own systems.

Without DEBATE_API_KEY anybody may debate: it is the one route that a missing secret leaves open. Strangers are limited
(``rate_limit.py``); an id cannot be guessed, and who has one may read that debate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from config.settings import Settings
from handlers.addresses import client_address
from handlers.bearer import Bearer, answer, problem, unauthorized
from handlers.debate_api import CHAT, ONE, OPENAPI, add_answers, away, closed, no_such_conversation
from handlers.debate_openapi import document
from handlers.debate_request import cursor_of, is_id, read_after, read_limit, read_post
from handlers.debate_stream import stream
from handlers.debate_turn import CHANNEL, Debater, messages
from handlers.guard import vouch
from relay.debating import Debate
from relay.errors import StoreError
from relay.store.debates import Debates
from relay.store.monitor import Monitor, Wanted


def debate_credentials(settings: Settings) -> dict[str, Sequence[str]]:
    """Which of the routes look for a credential: where the debate is public, its own do not."""
    routes = {f"GET {CHAT}": ("Authorization",)}
    if settings.debate_api_key is not None:
        routes |= {f"POST {CHAT}": ("Authorization",), f"GET {ONE}": ("Authorization",)}
    return dict(routes)


class DebateRoutes:
    """``key``: DEBATE_API_KEY, ``operator``: API_TOKEN. ``most``: characters of a message. ``hops``: as in
    ``client_address``. ``draining``: True once no new turns are taken."""

    def __init__(
        self,
        debater: Debater,
        debates: Debates,
        monitor: Monitor,
        key: Bearer,
        operator: Bearer,
        *,
        most: int,
        history: int,
        hops: int,
        draining: Callable[[], bool],
    ) -> None:
        self._debater = debater
        self._debates = debates
        self._monitor = monitor
        self._key = key
        self._operator = operator
        self._most = most
        self._hops = hops
        self._draining = draining
        self._document = orjson.dumps(document(most=most, history=history, keyed=key.is_set))

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(CHAT, self.post)
        app.router.add_get(CHAT, self.listing)
        app.router.add_get(ONE, self.one)
        app.router.add_get(OPENAPI, self.openapi)
        add_answers(app)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Whoever leaves before the answer has it stored all the same."""
        self._admit(request)
        if self._draining():
            raise problem(503, "leaving", "This process is leaving and takes no new turns.", {"Retry-After": "1"})
        post = await read_post(request, self._most)
        stranger = "" if self._key.is_set else client_address(request, self._hops)
        if post.streams:
            return await stream(request, lambda told: self._debater.reply(post, stranger, told))
        return answer(200, await self._debater.reply(post, stranger, lambda text: None))

    async def one(self, request: web.Request) -> web.Response:
        self._admit(request)
        conversation = request.match_info["id"]
        try:
            kept = await self._debater.chats.read(conversation) if is_id(conversation) else None
        except StoreError:
            raise away() from None
        if kept is None:
            raise no_such_conversation()
        debate = Debate.kept(kept.state)
        return answer(
            200,
            {
                "conversation_id": conversation,
                "topic": debate.topic or None,
                "stance": debate.stance or None,
                "message": messages(kept.items),
            },
        )

    async def listing(self, request: web.Request) -> web.Response:
        if not self._operator.is_set:
            raise closed()
        self._operator.check(request)
        limit, after = read_limit(request), read_after(request)
        try:
            page = await self._monitor.newest(Wanted(channel=CHANNEL), limit, after)
            about = await self._debates.about([each.id for each in page.found])
        except StoreError:
            raise away() from None
        debates = [
            {
                "conversation_id": each.id,
                "started": each.started,
                "turns": each.turns,
                "topic": topic or None,
                "stance": stance or None,
            }
            for each, (topic, stance) in zip(page.found, about, strict=True)
        ]
        return answer(200, {"conversations": debates, "after": cursor_of(page.mark)})

    async def openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json", charset="utf-8")

    def _admit(self, request: web.Request) -> None:
        """Raises 401 where a key is wanted and neither it nor the operator's token is brought."""
        if not self._key.is_set:
            return
        if not (self._key.brought_by(request) or self._operator.brought_by(request)):
            raise unauthorized()
        vouch(request)


def make_debate(
    settings: Settings, debater: Debater, debates: Debates, monitor: Monitor, draining: Callable[[], bool]
) -> DebateRoutes:
    key, operator = settings.debate_api_key, settings.api_token
    return DebateRoutes(
        debater,
        debates,
        monitor,
        Bearer(key.get_secret_value() if key else ""),
        Bearer(operator.get_secret_value() if operator else ""),
        most=settings.debate_max_chars,
        history=settings.debate_history,
        hops=settings.trusted_hops,
        draining=draining,
    )


__all__ = ["DebateRoutes", "debate_credentials", "make_debate"]
