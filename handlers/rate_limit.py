"""How many requests a minute one address may make without a valid signature or token (RATE_PER_MINUTE).

A route that takes a credential looks at it itself and says so (``guard.vouch``): such a request is never refused, for
Twilio may come by the same proxy as everybody else. What brings no credential its route would look at is refused before
anything is done for it; one that proves false counts when that is known.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from handlers.addresses import client_address
from handlers.bearer import answer
from handlers.guard import VOUCHED, is_own

WINDOW = 60.0
ADDRESSES = 10_000
"""Addresses whose requests are remembered; the one that was silent for longest is forgotten first."""

OPEN = "/health/"
"""What a platform asks whether the process lives is never refused."""


class Count(Protocol):
    def inc(self) -> None: ...


class Rate:
    """Requests of each address within ``WINDOW`` seconds, ``limit`` at most.

    An address has two counts: of the window it is in, and of the one before, which counts for as much of it as is less
    than a window ago. So no more than ``limit`` are let in within the first, and about that many within any later one.
    """

    def __init__(self, limit: int, *, addresses: int = ADDRESSES) -> None:
        self._limit = limit
        self._addresses = addresses
        self._seen: OrderedDict[str, tuple[float, int, int]] = OrderedDict()  # when its window began, now, before

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, address: str, now: float) -> float:
        """Counts a request and returns 0.0, or how many seconds the next one has to wait; that is not counted. ``now``:
        seconds of any clock that does not go back."""
        began, count, before = self._seen.get(address, (now, 0, 0))
        if now - began >= 2 * WINDOW:
            began, count, before = now, 0, 0
        elif now - began >= WINDOW:
            began, count, before = began + WINDOW, 0, count
        wait = self._wait(now - began, count, before)
        self._seen[address] = began, count + (not wait), before
        self._seen.move_to_end(address)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)
        return wait

    def _wait(self, elapsed: float, count: int, before: int) -> float:
        room = self._limit - 1 - count
        if room < 0:  # until this window is over, and long enough after it
            return WINDOW - elapsed + WINDOW * (1 - (self._limit - 1) / count)
        if before * (1 - elapsed / WINDOW) <= room:
            return 0.0
        return max(WINDOW * (1 - room / before) - elapsed, 0.001)


class RateLimit:
    """The middleware. ``credentials``: the headers from which a route that takes a credential reads it, by the route's
    path (with its method before it, where others of that path take none), or by its first part with a last slash where
    all routes below do. ``hops``: as in ``client_address``.
    ``development``: this machine itself is not counted. ``refused``: counts what was refused."""

    def __init__(
        self,
        rate: Rate,
        credentials: Mapping[str, Sequence[str]],
        refused: Count,
        *,
        hops: int = 0,
        development: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._credentials = credentials
        self._refused = refused
        self._hops = hops
        self._development = development
        self._clock = clock

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers 429 in the place of the handler, or of its answer. What a websocket or another answer that has begun
        came to stands."""
        if self._is_free(request):
            return await handler(request)
        if not self._brings_credential(request):
            return self._over(request) or await handler(request)
        try:
            response = await handler(request)
        except web.HTTPException:
            if VOUCHED not in request and (refusal := self._over(request)):
                return refusal
            raise
        if VOUCHED not in request and (refusal := self._over(request)) and not response.prepared:
            return refusal
        return response

    def _is_free(self, request: web.Request) -> bool:
        # A browser asks before it sends a key, and tells its page nothing of a refusal: no reason, no time to wait.
        always = request.method == hdrs.METH_OPTIONS or request.path.startswith(OPEN)
        return always or (self._development and is_own(request))

    def _brings_credential(self, request: web.Request) -> bool:
        resource = request.match_info.route.resource
        if resource is None:
            return False
        path = resource.canonical
        folder = "/".join(path.split("/")[:2]) + "/"
        named = (f"{request.method} {path}", path, folder)
        headers = next((self._credentials[name] for name in named if name in self._credentials), ())
        return any(header in request.headers for header in headers)

    def _over(self, request: web.Request) -> web.Response | None:
        """Counts the request; the answer where it is one too many."""
        wait = self._rate.take(client_address(request, self._hops), self._clock())
        if not wait:
            return None
        self._refused.inc()
        data = {"code": "too_many_requests", "message": "Too many requests without a valid signature or token."}
        return answer(429, data, {"Retry-After": str(math.ceil(wait))})


__all__ = ["Rate", "RateLimit"]
