"""The dashboard's login form, logging out, and what a page asks about its own session."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import unquote

from aiohttp import hdrs, web

from handlers.bearer import answer
from handlers.dashboard_access import DASHBOARD, LOGIN, Access
from handlers.dashboard_pages import Pages

LOGOUT = f"{DASHBOARD}/logout"
SESSION = f"{DASHBOARD}/api/session"
FORM_DEADLINE = 5.0

_PLAIN = re.compile(r"[!-~]{1,2000}", re.ASCII)


class Login:
    """``shows_words``: whether words and numbers are shown (DASHBOARD_SHOW_WORDS); the pages say so."""

    def __init__(self, access: Access, pages: Pages, *, shows_words: bool) -> None:
        self._access = access
        self._pages = pages
        self._shows_words = shows_words

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(LOGIN, self.form)
        app.router.add_post(LOGIN, self.log_in)
        app.router.add_post(LOGOUT, self.log_out)
        app.router.add_get(SESSION, self.session)

    async def form(self, request: web.Request) -> web.Response:
        self._access.check_open(request, followed=True)
        if not self._access.needs_token or self._access.session(request) is not None:
            raise self._to(after_login(request.query.get("next", "")))
        return self._pages.login(request)

    async def log_in(self, request: web.Request) -> web.Response:
        """A session for who types the token, and on to the page that was asked for."""
        self._access.check_open(request)
        if not self._access.needs_token:
            raise self._to(DASHBOARD)
        if not self._access.is_same_origin(request):
            raise web.HTTPForbidden(text="The form of another site.\n")
        given = await _token_of(request)
        try:
            right = self._access.is_token(request, given)
        except web.HTTPException as refused:
            again = self._pages.login(request, "Too many wrong tokens. Wait a minute, then try again.", refused.status)
            again.headers[hdrs.RETRY_AFTER] = refused.headers[hdrs.RETRY_AFTER]
            again.force_close()
            return again
        if not right:
            return self._pages.login(request, "That is not the token.", 401)
        response = self._to(after_login(request.query.get("next", "")))
        self._access.begin(response)
        raise response

    async def log_out(self, request: web.Request) -> web.Response:
        self._access.check_open(request)
        if not self._access.is_same_origin(request):
            raise web.HTTPForbidden(text="The form of another site.\n")
        response = self._to(LOGIN)
        self._access.end(response)
        raise response

    async def session(self, request: web.Request) -> web.Response:
        """What a page cannot see of the cookie: its CSRF token, and when it ends (ms since 1970, null: never)."""
        session = self._access.check(request)
        ends = session.expires * 1000 or None
        login = self._access.needs_token
        return answer(
            200, {"csrf": session.csrf, "expires": ends, "shows_words": self._shows_words, "logged_in": login}
        )

    def _to(self, path: str) -> web.HTTPSeeOther:
        return web.HTTPSeeOther(self._access.prefix + path)


def after_login(wanted: str) -> str:
    """The path of ours to go to after the login: what was wanted, where that is a page of the dashboard."""
    parts = unquote(wanted.partition("?")[0]).split("/")
    ours = len(parts) > 1 and parts[0] == "" and f"/{parts[1]}" == DASHBOARD
    if not ours or not _PLAIN.fullmatch(wanted) or "\\" in wanted or {"", ".", ".."} & set(parts[1:]):
        return DASHBOARD
    return wanted


async def _token_of(request: web.Request) -> str:
    """The field of the form. Raises 400, 408, 413 or 415."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType(text="This is no form.\n")
    try:
        async with asyncio.timeout(FORM_DEADLINE):
            field = (await request.post()).get("token", "")
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The form did not arrive in time.\n") from None
    except (web.RequestPayloadError, UnicodeDecodeError):
        raise web.HTTPBadRequest(text="The form cannot be read.\n") from None
    return field.strip() if isinstance(field, str) else ""
