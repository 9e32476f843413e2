"""The route table: which path is answered by what, and which routes a missing secret has closed."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from config.settings import Settings
from handlers.guard import closed
from handlers.health import LIVE, METRICS, READY, Health, Metrics
from handlers.relay_socket import RelaySocket
from handlers.twilio_status import STATUS, TwilioStatus
from handlers.voice import ACTION, INCOMING, RELAY, VoiceWebhooks


@dataclass(frozen=True, slots=True)
class Handlers:
    voice: VoiceWebhooks
    relay: RelaySocket
    status: TwilioStatus
    health: Health
    metrics: Metrics


async def _closed(request: web.Request) -> web.StreamResponse:
    raise closed()


def add_routes(app: web.Application, handlers: Handlers, *, twilio_closed: bool) -> None:
    """``twilio_closed``: the routes for Twilio look absent, whatever the method."""
    app.router.add_post(INCOMING, handlers.voice.incoming)
    app.router.add_post(ACTION, handlers.voice.action)
    app.router.add_get(RELAY, handlers.relay.handle, allow_head=False)
    app.router.add_post(STATUS, handlers.status.message)
    if twilio_closed:
        for path in (INCOMING, ACTION, RELAY, STATUS):
            app.router.add_route("*", path, _closed)
    app.router.add_get(LIVE, handlers.health.live)
    app.router.add_get(READY, handlers.health.ready)
    app.router.add_get(METRICS, handlers.metrics.show)


def route_table(settings: Settings) -> list[tuple[str, str]]:
    """(route, state) of every route as the settings have it; ``closed: NAME`` names the setting that would open it."""
    public = settings.public_url is not None
    twilio = "open" if settings.twilio_auth_token else "closed: TWILIO_AUTH_TOKEN"
    if not public:
        twilio = "this machine only: PUBLIC_URL is not set"
    metrics = "bearer token or this machine" if settings.metrics_token else "this machine only, closed: METRICS_TOKEN"
    return [
        (f"POST {INCOMING}", twilio),
        (f"POST {ACTION}", twilio),
        (f"GET  {RELAY}", twilio),
        (f"POST {STATUS}", twilio),
        (f"GET  {LIVE}", "open"),
        (f"GET  {READY}", "open"),
        (f"GET  {METRICS}", metrics),
    ]


def reports_state(settings: Settings) -> str:
    """Whether calls are reported: "on", or "off: NAME" with the setting that is missing."""
    if settings.report_url is None:
        return "off: REPORT_URL"
    return "on" if settings.report_secret else "off: REPORT_SECRET"
