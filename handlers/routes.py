"""The route table: which path is answered by what, and which routes a missing secret has closed."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from config.settings import Settings
from handlers.callbacks import ACTION, AMD, DIALLED, FALLBACK, INCOMING, OUTBOUND, RELAY, STATUS, WHISPER
from handlers.chat_history import HISTORY
from handlers.chat_pages import PAGE, SCRIPT
from handlers.chat_tickets import TICKET
from handlers.dashboard_access import DASHBOARD, Access
from handlers.dashboard_api import add_rest
from handlers.dashboard_login import Login
from handlers.dashboard_pages import Pages
from handlers.debate_api import CHAT, ONE, OPENAPI
from handlers.dialling import missing_for_calls
from handlers.fallback import Fallback
from handlers.guard import closed
from handlers.handover import Handover
from handlers.health import LIVE, METRICS, READY, Health, Metrics
from handlers.live_chat import SOCKET
from handlers.monitoring import Monitoring
from handlers.operating import OperatorRoutes
from handlers.outbound import OutboundRoute
from handlers.progress import CallProgress
from handlers.relay_socket import RelaySocket
from handlers.signatures import SIGNATURE_HEADER
from handlers.summary import Summary
from handlers.twilio_status import STATUS as MESSAGE_STATUS
from handlers.twilio_status import TwilioStatus
from handlers.voice import VoiceWebhooks
from handlers.watching import Watching

TWILIO = (INCOMING, ACTION, DIALLED, WHISPER, STATUS, AMD, RELAY, MESSAGE_STATUS)
"""What only Twilio may ask."""

CREDENTIALS = {
    **dict.fromkeys((*TWILIO, FALLBACK), (SIGNATURE_HEADER,)),
    **dict.fromkeys((OUTBOUND, METRICS, SOCKET, TICKET), ("Authorization",)),
    f"{DASHBOARD}/": ("Authorization", "Cookie"),
}
"""The headers in which a route looks for a credential, or all routes with the same first part; on all other routes
everybody is a stranger."""


@dataclass(frozen=True, slots=True)
class Handlers:
    voice: VoiceWebhooks
    fallback: Fallback
    handover: Handover
    progress: CallProgress
    outbound: OutboundRoute
    relay: RelaySocket
    status: TwilioStatus
    health: Health
    metrics: Metrics
    login: Login
    pages: Pages
    monitoring: Monitoring
    summary: Summary
    watching: Watching
    operator: OperatorRoutes
    access: Access


async def _closed(request: web.Request) -> web.StreamResponse:
    raise closed()


def add_routes(app: web.Application, handlers: Handlers, *, twilio_closed: bool, outbound_closed: bool) -> None:
    """``twilio_closed``, ``outbound_closed``: these routes look absent, whatever the method."""
    app.router.add_post(INCOMING, handlers.voice.incoming)
    app.router.add_post(ACTION, handlers.voice.action)
    app.router.add_post(DIALLED, handlers.handover.dialled)
    app.router.add_post(WHISPER, handlers.handover.whisper)
    app.router.add_post(STATUS, handlers.progress.status)
    app.router.add_post(AMD, handlers.progress.amd)
    app.router.add_get(RELAY, handlers.relay.handle, allow_head=False)
    app.router.add_post(MESSAGE_STATUS, handlers.status.message)
    if twilio_closed:
        for path in TWILIO:
            app.router.add_route("*", path, _closed)
    app.router.add_get(FALLBACK, handlers.fallback.apologise)
    app.router.add_post(FALLBACK, handlers.fallback.apologise)
    app.router.add_post(OUTBOUND, handlers.outbound.place)
    if outbound_closed:
        app.router.add_route("*", OUTBOUND, _closed)
    app.router.add_get(LIVE, handlers.health.live)
    app.router.add_get(READY, handlers.health.ready)
    app.router.add_get(METRICS, handlers.metrics.show)
    app.router.add_route("*", METRICS, handlers.metrics.refuse)
    handlers.login.add_routes(app)
    handlers.pages.add_routes(app)
    handlers.monitoring.add_routes(app)
    handlers.summary.add_routes(app)
    handlers.watching.add_routes(app)
    handlers.operator.add_routes(app)
    add_rest(app, handlers.access)


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
        (f"POST {DIALLED}", twilio),
        (f"POST {WHISPER}", twilio),
        (f"POST {STATUS}", twilio),
        (f"POST {AMD}", twilio),
        (f"GET  {RELAY}", twilio),
        (f"POST {MESSAGE_STATUS}", twilio),
        (f"GET  {FALLBACK}", "open"),
        (f"POST {FALLBACK}", "open"),
        (f"POST {OUTBOUND}", _outbound(settings)),
        (f"GET  {LIVE}", "open"),
        (f"GET  {READY}", "open"),
        (f"GET  {METRICS}", metrics),
        (f"GET  {DASHBOARD}", _dashboard(settings)),
        (f"POST {CHAT}", "bearer token" if settings.debate_api_key else "open to all: DEBATE_API_KEY is not set"),
        (f"GET  {ONE}", "bearer token" if settings.debate_api_key else "open to who has the id"),
        (f"GET  {CHAT}", "bearer token" if settings.api_token else "closed: API_TOKEN"),
        (f"GET  {OPENAPI}", "open"),
        (f"GET  {SOCKET}", _chat(settings)),
        (f"POST {TICKET}", _chat(settings)),
        (f"GET  {HISTORY}", _chat(settings)),
        (f"GET  {PAGE}", "open"),
        (f"GET  {SCRIPT}", "open"),
    ]


def reports_state(settings: Settings) -> str:
    """Whether calls are reported: "on", or "off: NAME" with the setting that is missing."""
    if settings.report_url is None:
        return "off: REPORT_URL"
    return "on" if settings.report_secret else "off: REPORT_SECRET"


def provided(settings: Settings) -> list[tuple[str, str]]:
    """What agents can do with these settings besides talking: (what, "on" or what is missing)."""
    if settings.twilio_account_sid is None:
        texts = "off: TWILIO_ACCOUNT_SID"
    else:
        texts = "on" if settings.twilio_api_key or settings.twilio_auth_token else "off: TWILIO_AUTH_TOKEN"
    if settings.transfer_studio_flow:
        person = "Studio flow"
    elif settings.transfer_workflow_sid:
        person = "TaskRouter queue"
    else:
        person = "on" if settings.transfer_to else "nobody: TRANSFER_TO"
    return [
        ("text messages", texts),
        ("mail", "on" if settings.smtp_url else "off: SMTP_URL"),
        ("handing over", person),
        ("reports", reports_state(settings)),
    ]


def _outbound(settings: Settings) -> str:
    if settings.api_token is None:
        return "closed: API_TOKEN"
    if missing := missing_for_calls(settings):
        return f"bearer token; places no calls: {', '.join(missing)}"
    return "bearer token" if settings.outbound_countries else "bearer token; places no calls: OUTBOUND_COUNTRIES"


def _chat(settings: Settings) -> str:
    if settings.public_url is None:
        return "this machine only: PUBLIC_URL is not set"
    programs = "" if settings.api_token is None else ", and with the bearer token"
    return f"from our own pages and {len(settings.chat_origins)} other sites{programs}"


def _dashboard(settings: Settings) -> str:
    if settings.dashboard_token:
        return "login or bearer token"
    return "closed: DASHBOARD_TOKEN" if settings.public_url else "this machine only: DASHBOARD_TOKEN is not set"
