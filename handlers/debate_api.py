"""What all routes below ``/api`` have in common: CORS headers on whatever is answered, and errors as JSON.

Any page may ask: there are no cookies here, and a page that has no key of its own gets no further than a stranger.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from handlers.bearer import problem
from handlers.debate_request import KEY_HEADER
from handlers.hardening import CORP

API = "/api"
CHAT = f"{API}/chat"
ONE = f"{CHAT}/{{id}}"
OPENAPI = f"{API}/openapi.json"

METHODS = {CHAT: ("GET", "POST"), ONE: ("GET",), OPENAPI: ("GET",)}
"""What each path takes, beside OPTIONS."""

_ALWAYS = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: f"Content-Type, Authorization, {KEY_HEADER}",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Retry-After",
    CORP: "cross-origin",
}
_PREFLIGHT = {hdrs.ACCESS_CONTROL_MAX_AGE: "86400"}  # seconds; browsers take less of it than that


async def allow_origins(request: web.Request, response: web.StreamResponse) -> None:
    """To be told of every answer that is about to be written, those of other middlewares among them."""
    if f"{request.path}/".startswith(f"{API}/"):
        methods = (*METHODS.get(_path(request), ("GET", "POST")), "OPTIONS")
        response.headers.update({**_ALWAYS, hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(methods)})


def add_answers(app: web.Application) -> None:
    """What is answered where no handler is: preflights, other methods, other paths. To be called behind the routes."""
    for path, methods in METHODS.items():
        app.router.add_route("OPTIONS", path, _preflight)
        app.router.add_route("*", path, _refusing((*methods, "OPTIONS")))
    for path in (API, f"{API}/{{rest:.*}}"):
        app.router.add_route("*", path, _unknown)
    app.on_response_prepare.append(allow_origins)


def no_such_conversation() -> web.HTTPException:
    return problem(404, "unknown_conversation", "There is no such debate, or it is not kept any more.")


def away() -> web.HTTPException:
    return problem(503, "store_away", "The store does not answer.", {"Retry-After": "1"})


def closed() -> web.HTTPException:
    """The answer of what a missing setting has closed: as if it did not exist."""
    return problem(404, "not_found", "There is nothing here.")


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


async def _preflight(request: web.Request) -> web.Response:
    return web.Response(status=204, headers=_PREFLIGHT)


async def _unknown(request: web.Request) -> web.Response:
    if request.method == "OPTIONS":
        return await _preflight(request)
    raise closed()


def _refusing(methods: Collection[str]) -> Handler:
    async def refuse(request: web.Request) -> web.Response:
        allowed = ", ".join(methods)
        raise problem(405, "method_not_allowed", f"Allowed here: {allowed}.", {hdrs.ALLOW: allowed})

    return refuse


__all__ = ["CHAT", "ONE", "OPENAPI", "add_answers", "allow_origins", "away", "closed", "no_such_conversation"]
