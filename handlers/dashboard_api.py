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


def add_rest(app: web.Application, access: Access) -> None:
    """To be called when all other routes of the dashboard are there: answers what none of them does, as they answer
    what is wrong. Where the dashboard is closed nothing tells what there would be."""

    async def nothing(request: web.Request) -> web.Response:
        access.check(request)
        allowed: set[str] = set()
        for resource in request.app.router.resources():
            if resource is not request.match_info.route.resource:
                allowed |= (await resource.resolve(request))[1]
        if not allowed:
            raise problem(404, "not_found", "There is nothing here by that name.")
        names = ", ".join(sorted(allowed))
        raise problem(405, "method_not_allowed", f"This may be asked by {names} only.", {"Allow": names})

    app.router.add_route("*", f"{DASHBOARD}/{{rest:.*}}", nothing)
    app.router.add_route("*", DASHBOARD, nothing)


__all__ = ["API", "add_get", "add_rest"]
