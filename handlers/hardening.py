"""What every answer of this server has in common: headers that keep browsers from harm, and failures that tell nothing.

The headers are set as an answer is about to be written, so also on streams, on errors and on what other middlewares
answer. A handler that sets one of them itself has its reasons: its own value stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler

CORP = "Cross-Origin-Resource-Policy"
"""A script that other sites embed sets it to ``cross-origin``."""

YEAR = 365 * 24 * 3600

_ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    CORP: "same-origin",
}
_SOURCES: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
}
_NOBODY_FRAMES = "frame-ancestors 'none'"
_PAGES: Mapping[str, str] = {
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_BEGUN = web.RequestKey("begun", web.StreamResponse)

log = structlog.get_logger(__name__)


def page_policy(**sources: str) -> str:
    """The Content-Security-Policy of a page, with some of it changed: ``page_policy(script_src="'self' 'nonce-…'")``.
    A page answers with it where the usual one, which every page has, is too strict."""
    changed = {name.replace("_", "-"): source for name, source in sources.items()}
    return "; ".join(f"{name} {source}" for name, source in {**_SOURCES, **changed}.items())


class _NoStrangers(logging.Filter):
    """Whoever reaches the port may send what is no HTTP, as often as they like: no error of ours, and no trace in the
    log for each. They are answered 400 by aiohttp, before any of this."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_NO_STRANGERS = _NoStrangers()


def harden(app: web.Application, *, public: bool) -> None:
    """To be called when every other middleware is there, for its own is to be the outermost. ``public``: PUBLIC_URL is
    set, which is https: browsers may be told to remember it."""
    always = {**_ALWAYS, hdrs.STRICT_TRANSPORT_SECURITY: f"max-age={YEAR}"} if public else _ALWAYS
    policy = page_policy()

    async def complete(request: web.Request, response: web.StreamResponse) -> None:
        request[_BEGUN] = response
        headers = response.headers
        headers.popall(hdrs.SERVER, None)  # which versions answer is nobody's business
        if response.status == 101:
            return  # a websocket: whoever opens one reads none of these
        for name, value in always.items():
            headers.setdefault(name, value)
        if response.content_type == "text/html":
            for name, value in _PAGES.items():
                headers.setdefault(name, value)
            if _NOBODY_FRAMES in headers.setdefault(hdrs.CONTENT_SECURITY_POLICY, policy):
                headers.setdefault("X-Frame-Options", "DENY")

    server_logger.addFilter(_NO_STRANGERS)  # once, however often it is added
    app.on_response_prepare.append(complete)
    app.middlewares.insert(0, _tell_nothing)


@web.middleware
async def _tell_nothing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What nobody foresaw is one record in the log, with nothing of the request but its route, and a plain 500."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return web.Response(status=400)  # nobody is there to read it
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        log.error("bug in a handler", route=route, error=type(error).__name__, exc_info=error)
        if _BEGUN not in request:
            return web.Response(status=500, text="Something went wrong here.\n")
        # Part of an answer is written already: cut off, it cannot be taken for the whole.
        if request.transport is not None:
            request.transport.abort()
        return request[_BEGUN]
    finally:
        request.pop(_BEGUN, None)  # it knows the request: a ring, where it is a websocket (see relay/parting.py)


__all__ = ["CORP", "harden", "page_policy"]
