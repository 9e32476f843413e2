"""The limits of a process, put together from the settings (docs/limits.md)."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from config.settings import Settings
from handlers.debate import debate_credentials
from handlers.intake import Intake
from handlers.rate_limit import Rate, RateLimit
from handlers.room import Room
from handlers.routes import CREDENTIALS
from handlers.stores import Stores
from relay.budget import Budget
from relay.telemetry import Telemetry


def make_rate_limit(settings: Settings, telemetry: Telemetry) -> list[Middleware]:
    """What stands before all routes; nothing where strangers may make any number of requests."""
    if not settings.rate_per_minute:
        return []
    limit = RateLimit(
        Rate(settings.rate_per_minute),
        {**CREDENTIALS, **debate_credentials(settings)},
        telemetry.refused.labels("rate"),
        hops=settings.trusted_hops,
        development=settings.public_url is None,
    )
    return [limit.handle]


def make_intake(settings: Settings, stores: Stores, telemetry: Telemetry) -> Intake:
    """The places for calls, the budget and what else a new call is asked about. Its budget is to be started."""
    return Intake(
        Room(settings.max_calls),
        Budget(
            stores.spending,
            per_day=settings.budget_tokens_per_day,
            per_person=settings.budget_tokens_per_person_day,
        ),
        stores.callers,
        busy_url=settings.busy_redirect_url or "",
        refused=lambda reason: telemetry.refused.labels(reason).inc(),
    )


__all__ = ["make_intake", "make_rate_limit"]
