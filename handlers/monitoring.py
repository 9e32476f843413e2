"""What is kept of calls for an operator, and how it is shown, put together from the settings."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import web
from redis.asyncio import Redis

from config.definition import AgentDefinition
from config.settings import Settings
from handlers.conversations import ConversationRoutes, Views
from handlers.dashboard_access import Access
from handlers.masking import Masking
from handlers.profiles import Profiles
from handlers.stores import Stores
from relay.store.events import Events
from relay.store.monitor import Monitor
from relay.store.trace import Traces
from relay.telemetry import Telemetry
from relay.toolbox import ToolBox
from relay.trace import NoTrail, Trail
from relay.writer import epoch_ms

PEOPLE_LABEL = b"relay: key of people's hashes 1"


@dataclass(frozen=True, slots=True)
class Monitoring:
    """``traces`` is to be started, and closed when there are no more calls."""

    traces: Traces
    conversations: ConversationRoutes
    profiles: Profiles
    watched: bool

    def trail(self, conversation: str, channel: str, person: str) -> Trail:
        """Nothing is kept that nobody may ever look at."""
        return self.traces.of(conversation, channel, person) if self.watched else NoTrail()

    def add_routes(self, app: web.Application) -> None:
        self.conversations.add_routes(app)
        self.profiles.add_routes(app)


def make_monitoring(
    settings: Settings,
    redis: Redis,
    stores: Stores,
    access: Access,
    events: Events,
    agents: Mapping[str, AgentDefinition],
    tools: ToolBox,
    telemetry: Telemetry,
    keys: Sequence[bytes],
) -> Monitoring:
    """``keys``: those of tickets."""
    key = people_key(settings, keys)
    monitor = Monitor(redis, longest=stores.archive.longest, now_ms=epoch_ms)
    views = Views(Masking(show=bool(settings.dashboard_show_words)), tools, key, epoch_ms)
    return Monitoring(
        traces=Traces(
            redis,
            events,
            ttl=settings.call_history_hours * 3600,
            key=key,
            model=settings.openai_model,
            lost=telemetry.trace_dropped.inc,
        ),
        conversations=ConversationRoutes(access, monitor, stores.people, views),
        profiles=Profiles(
            access, monitor, stores.people, agents, lambda agent: agent.model or settings.openai_model, views
        ),
        watched=access.needs_token or settings.public_url is None,
    )


def people_key(settings: Settings, keys: Sequence[bytes]) -> bytes:
    """The same in all processes; and, as long as there is TWILIO_AUTH_TOKEN, not known to who has DASHBOARD_TOKEN only:
    they could try all telephone numbers."""
    secret = keys[0]
    if settings.dashboard_token is not None and not settings.twilio_auth_token:
        secret = settings.dashboard_token.get_secret_value().encode()
    return hmac.digest(secret, PEOPLE_LABEL, sha256)


__all__ = ["Monitoring", "make_monitoring", "people_key"]
