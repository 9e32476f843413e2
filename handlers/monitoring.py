"""What an operator is shown of calls, agents and people, put together from the settings."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import web

from config.definition import AgentDefinition
from config.settings import Settings
from handlers.conversations import ConversationRoutes, Views
from handlers.dashboard_access import Access
from handlers.dashboard_pages import AGENT, CALL, PERSON, ThereIs
from handlers.masking import Masking
from handlers.profiles import Profiles
from handlers.stores import Stores
from relay.toolbox import ToolBox
from relay.writer import epoch_ms

PEOPLE_LABEL = b"relay: key of people's hashes 1"


@dataclass(frozen=True, slots=True)
class Monitoring:
    """``there_is``: as of ``Pages``."""

    conversations: ConversationRoutes
    profiles: Profiles
    there_is: Mapping[str, ThereIs]

    def add_routes(self, app: web.Application) -> None:
        self.conversations.add_routes(app)
        self.profiles.add_routes(app)


def make_monitoring(
    settings: Settings,
    stores: Stores,
    access: Access,
    agents: Mapping[str, AgentDefinition],
    tools: ToolBox,
    key: bytes,
) -> Monitoring:
    """``key``: as made below."""
    views = Views(Masking(show=bool(settings.dashboard_show_words)), tools, key, epoch_ms)

    def model_name(agent: AgentDefinition) -> str:
        return agent.model or settings.openai_model

    profiles = Profiles(access, stores.monitor, stores.people, agents, model_name, views)
    return Monitoring(
        ConversationRoutes(access, stores.monitor, stores.people, views),
        profiles,
        {CALL: stores.monitor.keeps, AGENT: profiles.knows, PERSON: profiles.has_met},
    )


def is_watched(settings: Settings) -> bool:
    """Whether anybody may ever look at what is kept for an operator; if not, it is not kept."""
    return settings.dashboard_token is not None or settings.public_url is None


def people_key(settings: Settings, keys: Sequence[bytes]) -> bytes:
    """Of the hashes that stand for people; ``keys``: those of tickets. It is the same in all processes and, where there
    is TWILIO_AUTH_TOKEN, not known to who has DASHBOARD_TOKEN only: they could try all telephone numbers."""
    secret = keys[0]
    if settings.dashboard_token is not None and not settings.twilio_auth_token:
        secret = settings.dashboard_token.get_secret_value().encode()
    return hmac.digest(secret, PEOPLE_LABEL, sha256)


__all__ = ["Monitoring", "is_watched", "make_monitoring", "people_key"]
