"""Liveness, readiness and metrics, as a platform and a Prometheus see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from handlers.health import LIVE, METRICS, READY, Health, Metrics
from relay.telemetry import Telemetry
from tests.handlers.standins import Clock, serving


class Dependency:
    """Answers with a word, an error, or not at all; counts how often it was asked."""

    def __init__(self, answer: str | Exception | None = "ok") -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def health(checks: Mapping[str, Dependency], clock: Clock | None = None, *, draining: bool = False) -> Health:
    return Health("1.2.3", checks, deadline=0.02, clock=clock or Clock(), draining=lambda: draining)


async def test_live_tells_the_version() -> None:
    """The process lives, whatever its dependencies do, and says which version it is."""
    async with serving(web.get(LIVE, health({"redis": Dependency(None)}).live)) as client:
        response = await client.get(LIVE)
        assert (response.status, await response.json()) == (200, {"status": "ok", "version": "1.2.3"})


@pytest.mark.parametrize(
    ("redis", "model", "expected"),
    [
        ("ok", "ok", {"status": "ok", "redis": "ok", "model": "ok"}),
        ("ok", "rehearsal", {"status": "ok", "redis": "ok", "model": "rehearsal"}),
        ("away", "ok", {"status": "degraded", "redis": "away", "model": "ok"}),
        ("evicts", "ok", {"status": "degraded", "redis": "evicts", "model": "ok"}),
        (OSError("no"), "rehearsal", {"status": "degraded", "redis": "away", "model": "rehearsal"}),
        (None, None, {"status": "degraded", "redis": "away", "model": "away"}),
    ],
)
async def test_outage_degrades_and_does_not_fail(
    redis: str | Exception | None, model: str | Exception | None, expected: dict[str, str]
) -> None:
    """Readiness is 200 whatever is away; an error and no answer within the deadline are both an absence."""
    probes = health({"redis": Dependency(redis), "model": Dependency(model)})
    async with serving(web.get(READY, probes.ready)) as client, asyncio.timeout(20):
        response = await client.get(READY)
        assert (response.status, await response.json()) == (200, expected)
        assert response.headers["Content-Type"].startswith("application/json")


async def test_leaving_process_is_not_ready_at_once() -> None:
    """While draining readiness is 503, and waits for no dependency to say so."""
    redis = Dependency(None)
    async with serving(web.get(READY, health({"redis": redis}, draining=True).ready)) as client:
        response = await client.get(READY)
        assert (response.status, (await response.json())["status"]) == (503, "draining")
        assert redis.asked == 0


async def test_checks_are_asked_once_a_second() -> None:
    """Many probes at once and within a second are answered from one round of checks; later ones ask again."""
    redis, clock = Dependency(), Clock()
    async with serving(web.get(READY, health({"redis": redis}, clock).ready)) as client:
        await asyncio.gather(*(client.get(READY) for _ in range(10)))
        clock.now += 0.9
        await client.get(READY)
        assert redis.asked == 1
        redis.answer = "away"
        clock.now += 0.2
        assert (await (await client.get(READY)).json())["redis"] == "away"
        assert redis.asked == 2


@pytest.mark.parametrize("public", [True, False])
async def test_metrics_are_open_to_this_machine(public: bool) -> None:
    """A loopback peer without a forwarding header reads the Prometheus text in either mode, token or not."""
    telemetry = Telemetry()
    telemetry.interrupts.inc(3)
    for token in ("", "secret"):
        async with serving(web.get(METRICS, Metrics(telemetry, token, public=public).show)) as client:
            response = await client.get(METRICS)
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            assert "relay_interrupts_total 3.0" in await response.text()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer secret", 200),
        ("bearer secret", 200),
        ("Bearer secre", 401),
        ("Bearer secret2", 401),
        ("Bearer", 401),
        ("Basic secret", 401),
        ("secret", 401),
        ("Bearer sécret", 401),
        (None, 401),
    ],
)
async def test_metrics_for_others_need_the_token(authorization: str | None, status: int) -> None:
    """Through a proxy the bearer token opens, and nothing else does."""
    headers = {"X-Forwarded-For": "127.0.0.1"} | ({"Authorization": authorization} if authorization else {})
    async with serving(web.get(METRICS, Metrics(Telemetry(), "secret", public=True).show)) as client:
        response = await client.get(METRICS, headers=headers)
        assert response.status == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_metrics_without_a_token_are_closed_to_others() -> None:
    """With no METRICS_TOKEN a public process answers 404 with an empty body, also to an empty token."""
    async with serving(web.get(METRICS, Metrics(Telemetry(), public=True).show)) as client:
        for authorization in ("", "Bearer ", "Bearer"):
            response = await client.get(METRICS, headers={"Via": "1.1 proxy", "Authorization": authorization})
            assert (response.status, await response.read()) == (404, b"")


async def test_metrics_of_development_mode_stay_on_this_machine() -> None:
    """Without PUBLIC_URL somebody from outside gets 403 and the log says what to set."""
    async with serving(web.get(METRICS, Metrics(Telemetry(), public=False).show)) as client:
        with capture_logs() as logs:
            assert (await client.get(METRICS, headers={"CF-Ray": "1"})).status == 403
        assert "PUBLIC_URL" in logs[0]["event"]


@pytest.mark.parametrize(
    "header", [("Host", "rebound.example"), ("Host", "relay.example.com"), ("Origin", "https://a.example")]
)
async def test_metrics_are_closed_to_web_pages(header: tuple[str, str]) -> None:
    """A page in a browser of this machine is no program of this machine, by whatever name it reaches loopback; nor is
    a tunnel that adds no header."""
    async with serving(web.get(METRICS, Metrics(Telemetry(), public=True).show)) as client:
        assert (await client.get(METRICS, headers=dict([header]))).status == 404
