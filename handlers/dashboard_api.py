"""What the routes below ``/dashboard/api`` have in common: who is admitted, JSON answers, JSON errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from handlers.bearer import answer, problem
from handlers.dashboard_access import DASHBOARD, Access
from relay.errors import StoreError

API = f"{DASHBOARD}/api"

Answers = Callable[[web.Request], Awaitable[Mapping[str, object]]]


def add_get(app: web.Application, access: Access, path: str, handler: Answers) -> None:
    """Answers a path below ``API`` with what the handler returns, for who is admitted."""

    async def admitted(request: web.Request) -> web.Response:
        access.check(request)
        try:
            return answer(200, await handler(request))
        except StoreError:
            raise problem(503, "store_away", "The store does not answer.") from None

    app.router.add_get(API + path, admitted)


__all__ = ["API", "add_get"]
