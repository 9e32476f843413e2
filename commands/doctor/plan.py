"""Which checks there are, what each needs, and with what of the settings it is made."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from commands.agents import look_at
from commands.doctor import (
    address,
    agents,
    certificate,
    dialogflow,
    model,
    number,
    redis,
    serving,
    signature,
    twilio,
    websocket,
)
from commands.doctor.asking import Asker, asking
from commands.doctor.clock import Dates
from commands.doctor.finding import Check, Finding, News, examine, failed, ok, skipped, warning
from config.definition import DIALOGFLOW, OPENAI
from config.settings import Settings, platform
from config.tokens import BETTER, weak_tokens
from handlers.modelling import Endpoint, bot_of, endpoint_of, fallback_endpoint_of, make_model
from relay.errors import ConfigError
from relay.models.client import tls_context
from relay.telemetry import Telemetry

PUBLIC = ("public URL", "TLS", "plain HTTP", "relay", "signature", "websocket")
NAMES = (
    "settings",
    "tokens",
    "agents",
    "Redis",
    "model",
    "fallback model",
    "Dialogflow",
    *PUBLIC,
    "Twilio account",
    "number",
    "clock",
    "addendum",
)

_MODEL = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")
_FALLBACK = ("OPENAI_FALLBACK_BASE_URL", "OPENAI_FALLBACK_API_KEY", "OPENAI_FALLBACK_MODEL")


async def unreadable(error: ConfigError) -> dict[str, Finding]:
    """The findings where the settings themselves are wrong."""
    wrong = failed("\n".join(error.problems), "Correct it in .env or in the environment (README, Settings).")
    checks = [Check("settings", _found(wrong))]
    checks += [Check(name, _found(wrong), needs=("settings",)) for name in NAMES[1:-1]]
    return await examine([*checks, Check("addendum", _found(twilio.ADDENDUM))])


async def diagnose(settings: Settings, news: News) -> dict[str, Finding]:
    """All checks with these settings. Nothing is left behind, also by a cancel."""
    context, dates = await asyncio.to_thread(tls_context), Dates()
    async with asking(context, dates) as asker:
        checks = [
            Check("settings", _found(ok("They are complete and well-formed."))),
            Check("tokens", _found(_tokens(settings))),
            *_parts(settings, context, dates),
            *_public(settings, asker, context),
            *_account(settings, dates),
            Check("clock", _as_check(dates.look), after=("model", "public URL", *PUBLIC[3:], "Twilio account")),
            Check("addendum", _found(twilio.ADDENDUM)),
        ]
        return await examine(checks, news)


def _tokens(settings: Settings) -> Finding:
    """What opens our routes."""
    weak = weak_tokens(settings)
    if not weak:
        return ok("None that is set is short or easy to guess.")
    again = f"{BETTER}: once for each, and restart the relay with them."
    return warning("\n".join(f"{name} {why}." for name, why in weak.items()), again)


def _parts(settings: Settings, context: ssl.SSLContext, dates: Dates) -> list[Check]:
    """What a relay needs whether anybody can reach it or not."""
    models, engines = {settings.openai_model}, {OPENAI}

    async def the_agents() -> Finding:
        try:
            looked = await asyncio.to_thread(look_at, settings.agents_dir, settings)
        except ConfigError as error:
            return failed("\n".join(error.problems), "Correct AGENTS_DIR.")
        if there := [each.agent for each in looked if each.agent is not None]:
            engines.clear()
            engines.update(agent.engine for agent in there)
        if named := {agent.model or settings.openai_model for agent in there if agent.engine == OPENAI}:
            models.clear()
            models.update(named)
        return agents.found(looked, settings)

    async def the_store() -> Finding:
        if settings.redis_url is not None:
            return await redis.look_at_own(settings.redis_url.get_secret_value())
        return await redis.look_at_embedded(settings.data_dir, platform())

    endpoint = endpoint_of(settings)

    async def the_model() -> Finding:
        if endpoint is None:
            return model.REHEARSAL if OPENAI in engines else skipped("No agent asks one.")
        try:
            await make_model(settings, endpoint, Telemetry()).close()
        except ConfigError as error:
            return failed(" ".join(error.problems), "Change one of the two.")
        return await model.look(endpoint, models, _MODEL, context, dates)

    async def the_fallback() -> Finding:
        if not settings.openai_fallback_model:
            return skipped("OPENAI_FALLBACK_MODEL is not set: no other model steps in.")
        second = fallback_endpoint_of(settings, endpoint or Endpoint())
        return await model.look(second, {settings.openai_fallback_model}, _FALLBACK, context, dates)

    async def the_dialogflow() -> Finding:
        bot = bot_of(settings) if DIALOGFLOW in engines else None
        return dialogflow.UNUSED if bot is None else await dialogflow.look(bot)

    return [
        Check("agents", the_agents),
        Check("Redis", the_store),
        Check("model", the_model, after=("agents",)),
        Check("fallback model", the_fallback),
        Check("Dialogflow", the_dialogflow, after=("agents",)),
    ]


def _public(settings: Settings, asker: Asker, context: ssl.SSLContext) -> list[Check]:
    url, tokens = settings.public_url, [token.get_secret_value() for token in settings.twilio_auth_token]
    if url is None:
        alone = warning(
            "PUBLIC_URL is not set: calls are taken from this machine only (development mode).",
            "Set PUBLIC_URL to the address of a proxy or tunnel that leads here.",
        )
        rest = skipped("It needs PUBLIC_URL.")
        return [Check(name, _found(alone if name == "public URL" else rest)) for name in PUBLIC]
    account = settings.twilio_account_sid or ""
    checks = [
        Check("public URL", lambda: address.look(url)),
        Check("TLS", lambda: certificate.look(url, context), needs=("public URL",)),
        Check("plain HTTP", lambda: address.plain(url, asker), needs=("public URL",)),
        Check("relay", lambda: serving.look(url, asker), needs=("TLS",)),
    ]
    if not tokens:
        closed = failed("TWILIO_AUTH_TOKEN is not set: the routes for Twilio are closed.", "Set TWILIO_AUTH_TOKEN.")
        return [*checks, Check("signature", _found(closed)), Check("websocket", _found(closed), needs=("signature",))]
    return [
        *checks,
        Check("signature", lambda: signature.look(url, tokens, asker, account_sid=account), needs=("relay",)),
        Check("websocket", lambda: websocket.look(url, tokens[0], context), needs=("signature",)),
    ]


def _account(settings: Settings, dates: Dates) -> list[Check]:
    if settings.twilio_account_sid is None or not (settings.twilio_auth_token or settings.twilio_api_key):
        unset = "TWILIO_AUTH_TOKEN" if settings.twilio_account_sid else "TWILIO_ACCOUNT_SID"
        lacking = warning(f"{unset} is not set: no texts, no calls by us, no look at the number.", f"Set {unset}.")
        return [Check("Twilio account", _found(lacking)), Check("number", _found(skipped(f"It needs {unset}.")))]
    account = Check("Twilio account", lambda: twilio.look(settings, dates))
    if settings.public_url is None:
        return [account, Check("number", _found(skipped("It needs PUBLIC_URL.")))]
    return [account, Check("number", lambda: number.look(settings), needs=("Twilio account",))]


def _found(finding: Finding) -> Callable[[], Coroutine[Any, Any, Finding]]:
    """A check of which all is known already."""
    return _as_check(lambda: finding)


def _as_check(look: Callable[[], Finding]) -> Callable[[], Coroutine[Any, Any, Finding]]:
    async def found() -> Finding:
        return look()

    return found
