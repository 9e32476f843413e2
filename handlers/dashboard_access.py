"""Who may see the dashboard: who brings DASHBOARD_TOKEN, as a bearer token or in a session the login form began.

A session is a signed statement in a cookie, with a time at which it ends. The key comes from the token, so that every
process accepts what any of them has signed, nothing is stored, and a changed token ends all sessions. The cookie is
strict: no other site's page makes a browser send it. What changes something needs, beside it, the session's own CSRF
token in a header and no sign that another site's page asks.

Without a token the dashboard is closed: 404 with an empty body. In development mode (no PUBLIC_URL) it is then open to
this machine, and to pages this process itself served to a browser on it.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from aiohttp import web

from handlers.bearer import problem
from handlers.guard import closed, is_another_sites, is_own_page, vouch
from handlers.signatures import PublicAddress

DASHBOARD = "/dashboard"
LOGIN = f"{DASHBOARD}/login"

COOKIE = "relay_dashboard"
CSRF_HEADER = "X-Relay-CSRF"
SESSION_SECONDS = 12 * 3600

FAILURES = 10  # wrong tokens of one address in a window; more are told to wait until it is over
WINDOW = 60.0
ADDRESSES = 10_000  # whose failures are remembered; the one that failed longest ago is forgotten first

_LABEL = b"relay: dashboard session key 1"
_HARMLESS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Session:
    """``expires``: seconds since 1970, 0 where none is needed. ``csrf``: what the pages send in ``CSRF_HEADER``."""

    expires: int = 0
    csrf: str = ""


class Failures:
    """Wrong tokens by address. The memory is bounded."""

    def __init__(self, limit: int = FAILURES, *, addresses: int = ADDRESSES) -> None:
        self._limit = limit
        self._addresses = addresses
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when its window began, and how many

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may try again; 0.0: now."""
        began, count = self._seen.get(address, (now, 0))
        return max(0.0, began + WINDOW - now) if count >= self._limit else 0.0

    def add(self, address: str, now: float) -> None:
        began, count = self._seen.pop(address, (now, 0))
        self._seen[address] = (now, 1) if now - began >= WINDOW else (began, count + 1)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)


class Access:
    """``token`` "": closed, or this machine's alone where ``address`` (PUBLIC_URL) is None too.

    ``client``: the address a request is counted under. ``clock``: seconds since 1970; ``timer``: of any clock that does
    not go back.
    """

    def __init__(
        self,
        token: str,
        address: PublicAddress | None,
        *,
        client: Callable[[web.BaseRequest], str] = lambda request: request.remote or "",
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = _digest(token) if token else b""
        self._key = hmac.digest(token.encode(), _LABEL, sha256)
        self._address = address
        self._client = client
        self._clock = clock
        self._timer = timer
        self._failures = Failures()
        self.prefix = address.prefix if address is not None else ""

    @property
    def needs_token(self) -> bool:
        """False: there is nothing to log in with; who is admitted at all is admitted without."""
        return bool(self._told)

    def check(self, request: web.BaseRequest) -> Session:
        """Returns for who may see the dashboard and, where the method changes something, is sure to mean it. Raises
        404, 401, 403 or 429 as JSON, before anything of the body is read."""
        self.check_open(request)
        if not self._told:
            return Session()
        if "Authorization" in request.headers:
            scheme, _, given = request.headers["Authorization"].partition(" ")
            if scheme.casefold() == "bearer" and self.is_token(request, given.strip()):
                return Session()
            raise _unauthorized()
        session = self.session(request)
        if session is None:
            raise _unauthorized()
        if request.method not in _HARMLESS:
            given = request.headers.get(CSRF_HEADER, "")
            if not self.is_same_origin(request) or not hmac.compare_digest(_digest(given), _digest(session.csrf)):
                raise problem(403, "csrf", f"A session changes something only with its own {CSRF_HEADER}.")
        return session

    def check_page(self, request: web.BaseRequest) -> None:
        """As ``check``, for what is opened in a browser: who is not logged in is sent to the login form."""
        self.check_open(request, followed=True)
        if "Authorization" in request.headers:
            self.check(request)
        elif self._told and self.session(request) is None:
            raise web.HTTPSeeOther(f"{self.prefix}{LOGIN}?next={quote(request.raw_path, safe='/')}")

    def check_open(self, request: web.BaseRequest, *, followed: bool = False) -> None:
        """Raises 404 where nobody who asks from there is ever admitted. ``followed``: it is a page, to which links of
        other sites may lead."""
        if not self._told and (self._address is not None or not is_own_page(request, followed=followed)):
            raise closed()

    def is_token(self, request: web.BaseRequest, given: str) -> bool:
        """Whether it is DASHBOARD_TOKEN. Raises 429 for a wrong one of an address that was wrong too often.

        The right one is taken whatever else its address has sent: a proxy's is everybody's, and who guesses must not
        lock anybody out. So what keeps a guess from being right is the token's length (``config/tokens.py`` looks at
        it); beyond the limit each costs a new connection.
        """
        if self._told and hmac.compare_digest(_digest(given), self._told):
            vouch(request)
            return True
        client, now = self._client(request), self._timer()
        if wait := self._failures.wait(client, now):
            refusal = problem(
                429, "too_many_failures", "Too many wrong tokens; wait a minute.", {"Retry-After": str(math.ceil(wait))}
            )
            refusal.force_close()
            raise refusal
        self._failures.add(client, now)
        return False

    def is_same_origin(self, request: web.BaseRequest) -> bool:
        """False where a browser says that the page of another site asks. Programs say nothing."""
        if is_another_sites(request):
            return False
        origin = request.headers.get("Origin")
        # A browser does not let a page choose the host it asks, and sends the cookie to that host alone.
        own = {f"http://{request.host}", f"https://{request.host}"}
        if self._address is not None:
            own.add(f"https://{self._address.netloc}")
        return origin is None or origin in own

    def session(self, request: web.BaseRequest) -> Session | None:
        """The session of a request's cookie; None where there is none, or it is over or not ours."""
        statement, _, signature = request.cookies.get(COOKIE, "").rpartition(".")
        if not hmac.compare_digest(_digest(signature), _digest(self._sign("session", statement))):
            return None
        # It is as we wrote it.
        expires = int(statement.partition(".")[0])
        if self._clock() >= expires:
            return None
        vouch(request)
        return Session(expires, self._sign("csrf", statement))

    def begin(self, response: web.StreamResponse) -> None:
        """Puts a new session into the answer."""
        statement = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(12)}"
        response.set_cookie(
            COOKIE,
            f"{statement}.{self._sign('session', statement)}",
            max_age=SESSION_SECONDS,
            path=self.prefix + DASHBOARD,
            secure=self._address is not None,
            httponly=True,
            samesite="Strict",
        )

    def end(self, response: web.StreamResponse) -> None:
        """The browser forgets its session."""
        response.del_cookie(
            COOKIE,
            path=self.prefix + DASHBOARD,
            secure=self._address is not None,
            httponly=True,
            samesite="Strict",
        )

    def _sign(self, what: str, statement: str) -> str:
        signed = hmac.digest(self._key, f"{what} {statement}".encode("utf-8", "surrogatepass"), sha256)
        return urlsafe_b64encode(signed).decode().rstrip("=")


def _digest(text: str) -> bytes:
    """For comparisons that take as long whatever is compared: neither its content nor its length shows."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _unauthorized() -> web.HTTPException:
    return problem(401, "unauthorized", "Log in, or bring the bearer token.", {"WWW-Authenticate": "Bearer"})


__all__ = ["CSRF_HEADER", "DASHBOARD", "LOGIN", "Access", "Session"]
