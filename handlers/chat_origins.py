"""Whose pages may open a live chat: our own, and those of CHAT_ORIGINS.

A browser says in ``Origin`` which site's page asks, and no page can change that; so the check keeps other sites from
chatting, in a visitor's browser, in our name and at our cost. A program writes whatever it likes: one that brings no
``Origin`` says that it is none, and needs API_TOKEN.

Without PUBLIC_URL, in development mode, all this is for one machine: its programs, pages this process has served, and
those of CHAT_ORIGINS, in a browser that asks for this machine by name (see ``guard.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import hdrs, web

from handlers.bearer import Bearer, problem
from handlers.guard import is_own, is_own_page, is_page_of
from handlers.signatures import PublicAddress

PREFLIGHT_SECONDS = 600  # for which a browser need not ask again

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class Origins:
    """``address`` None: development mode. ``others``: origins as browsers spell them. ``token`` "": nobody is admitted
    by a token."""

    def __init__(self, address: PublicAddress | None, others: Sequence[str], token: str) -> None:
        own = [] if address is None else [_origin_of(address)]
        self._public = address is not None
        self._admitted = frozenset([*own, *others])
        self._bearer = Bearer(token) if token else None

    def admit(self, request: web.Request) -> None:
        """Returns for who may chat; raises 403, or 401 for a wrong token, as JSON, before anything else is looked at.

        A page brings no token. Whoever brings one all the same has to bring the right one: it is not to be a way past
        the limit for strangers."""
        if self._admits(request):
            return
        log.warning("refused a chat: set CHAT_ORIGINS for pages of other sites", route=request.path)
        raise problem(403, "origin", "Live chats are not opened from there.")

    def _admits(self, request: web.Request) -> bool:
        # On the developer's own machine there may be no token to compare it with.
        if hdrs.AUTHORIZATION in request.headers and (self._bearer is not None or self._public):
            if self._bearer is None:
                return False
            self._bearer.check(request)
            return hdrs.ORIGIN not in request.headers or self.admits_page(request)
        if hdrs.ORIGIN in request.headers:
            return self.admits_page(request)
        return not self._public and is_own(request)

    def admits_page(self, request: web.BaseRequest) -> bool:
        """Whether it comes from a page that may chat."""
        given = request.headers.getall(hdrs.ORIGIN, [])
        if len(given) != 1:
            return False
        if self._public:
            return given[0] in self._admitted
        return is_own_page(request) or is_page_of(request, self._admitted)

    def add_route(self, app: web.Application, method: str, path: str, handler: Handler, *headers: str) -> None:
        """A route that pages of the sites above may ask with these headers, and whose answers they may read, errors
        and refusals of other parts included. The handler itself admits."""

        async def preflight(request: web.Request) -> web.Response:
            self.admit(request)
            told = {hdrs.ACCESS_CONTROL_ALLOW_METHODS: method, hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_SECONDS)}
            if headers:
                told[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(headers)
            return web.Response(status=204, headers=told)

        async def readable(request: web.Request, response: web.StreamResponse) -> None:
            if request.path != path:
                return
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
            if self.admits_page(request):
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]

        if method == hdrs.METH_GET:
            app.router.add_get(path, handler, allow_head=False)
        else:
            app.router.add_route(method, path, handler)
        app.router.add_route(hdrs.METH_OPTIONS, path, preflight)
        app.on_response_prepare.append(readable)


def _origin_of(address: PublicAddress) -> str:
    """As browsers spell it."""
    return f"https://{address.netloc.lower().removesuffix(':443')}"


__all__ = ["Origins"]
