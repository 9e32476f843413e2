"""Whether the process lives, whether it can serve, and its metrics.

Readiness tells an outage of Redis or of the model without failing: calls go on through both, and a platform that took
the process out for them would end every call in it.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from handlers.guard import closed, from_outside, is_own, vouch
from relay.store.checking import EVICTS
from relay.telemetry import Telemetry

LIVE = "/health/live"
READY = "/health/ready"
METRICS = "/metrics"

CHECK_DEADLINE = 0.5
FRESH_FOR = 1.0
AWAY = "away"

Check = Callable[[], Awaitable[str]]
"""Asks one dependency; "ok", or another word that is shown as it is ("away", "evicts", "rehearsal"). An error means
"away"."""

log = structlog.get_logger(__name__)


class Health:
    """``checks`` by the name shown. They are asked at most once in ``fresh_for`` seconds, whoever probes how often."""

    def __init__(
        self,
        version: str,
        checks: Mapping[str, Check],
        *,
        draining: Callable[[], bool] = lambda: False,
        deadline: float = CHECK_DEADLINE,
        fresh_for: float = FRESH_FOR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._version = version
        self._checks = dict(checks)
        self._draining = draining
        self._deadline = deadline
        self._fresh_for = fresh_for
        self._clock = clock
        self._asking = asyncio.Lock()
        self._found: dict[str, str] = {}
        self._stale_at = float("-inf")

    async def live(self, request: web.Request) -> web.Response:
        """200 as long as the event loop runs."""
        return _json({"status": "ok", "version": self._version})

    async def ready(self, request: web.Request) -> web.Response:
        """200, "ok" or "degraded"; 503 only while the process is leaving. A cancel leaves the last answers."""
        if self._draining():
            return _json({"status": "draining", **self._found}, status=503)
        found = await self._ask()
        degraded = not {AWAY, EVICTS}.isdisjoint(found.values())
        return _json({"status": "degraded" if degraded else "ok", **found})

    async def _ask(self) -> dict[str, str]:
        async with self._asking:
            if self._clock() >= self._stale_at:
                async with asyncio.TaskGroup() as group:
                    asked = {
                        name: group.create_task(self._one(name, check), name=f"health check {name}")
                        for name, check in self._checks.items()
                    }
                self._found = {name: task.result() for name, task in asked.items()}
                self._stale_at = self._clock() + self._fresh_for
            return self._found

    async def _one(self, name: str, check: Check) -> str:
        try:
            async with asyncio.timeout(self._deadline):
                return await check()
        except Exception as error:
            log.warning("health check failed", check=name, error=type(error).__name__)
            return AWAY


class Metrics:
    """Prometheus text for this machine, or for whoever brings METRICS_TOKEN (``token``, "" where it is not set).

    ``public``: whether PUBLIC_URL is set; the route is then closed to others when there is no token.
    """

    def __init__(self, telemetry: Telemetry, token: str = "", *, public: bool) -> None:
        self._telemetry = telemetry
        self._token = token.encode()
        self._public = public

    async def show(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(body=self._telemetry.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def refuse(self, request: web.Request) -> web.Response:
        """For all other methods."""
        self._check(request)
        raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])

    def _check(self, request: web.Request) -> None:
        if self._brings_token(request):
            vouch(request)
        elif not is_own(request):
            if self._token:
                raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}, text="METRICS_TOKEN is needed.\n")
            raise closed() if self._public else from_outside(request)

    def _brings_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if not self._token or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode("utf-8", "surrogatepass"), self._token)


def _json(data: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")
