"""The model's endpoint: whether it is there, takes the key, and has the models that agents name."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from commands.doctor.clock import Dates
from commands.doctor.finding import Finding, failed, ok, warning
from handlers.modelling import Endpoint
from relay.models.client import ModelClient, make_client
from relay.models.enquiry import Told, enquire

SHOWN = 8

REHEARSAL = warning(
    "No model is set: callers hear the script of a rehearsal.",
    "Set OPENAI_API_KEY (platform.openai.com > API keys), or OPENAI_BASE_URL of a compatible server.",
)

_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")


async def look(
    endpoint: Endpoint, models: Iterable[str], names: Sequence[str], context: ssl.SSLContext, dates: Dates
) -> Finding:
    """``names``: the settings of the base URL, the key and the model, in this order."""
    client = make_client(endpoint.base_url, endpoint.api_key, context=context)
    host = urlsplit(client.base_url).netloc
    wanted = sorted(set(models))
    try:
        for model in wanted:
            told = await enquire(client, model)
            dates.note("the model's endpoint", told.date)
            if told.status == 404 and not client.is_openai:
                told = await _listed(client, model)
            if told.status != 200 or not told.models:
                return wrong(told, client, model, names, has_key=bool(endpoint.api_key))
    finally:
        await client.close()
    return ok(f"{host} has {', '.join(wanted)}{' and takes the key' if endpoint.api_key else ''}.")


async def _listed(client: ModelClient, model: str) -> Told:
    """A compatible server may know its models only as a list."""
    told = await enquire(client)
    return told if told.status != 200 or model in told.models else Told(404, models=told.models)


def wrong(told: Told, client: ModelClient, model: str, names: Sequence[str], *, has_key: bool) -> Finding:
    """What an answer without the model means."""
    base_url, key, name = names
    host = urlsplit(client.base_url).netloc
    match told.status:
        case 0 if told.reason == "SSLCertVerificationError":
            return failed(f"The certificate of {host} is not accepted.", f"Check {base_url}, or set SSL_CERT_FILE.")
        case 0 if told.reason == "TimeoutError":
            return failed(f"{host} did not answer in time.", f"Check {base_url} and the network.")
        case 0:
            return failed(f"{host} cannot be reached ({told.reason}).", f"Check {base_url} and what runs there.")
        case 401 | 403 if not has_key:
            return failed(f"{host} wants a key ({told.status}).", f"Set {key}.")
        case 401 | 403:
            return failed(
                f"{host} does not take the key ({told.status}{_code(told)}).",
                f"Set {key} to a key of that provider which may use {model}.",
            )
        case 404 if told.models:
            more = "" if len(told.models) <= SHOWN else ", ..."
            return failed(
                f"{host} has no model {model}; it has {', '.join(told.models[:SHOWN])}{more}.",
                f"Set {name}, or the agent's model, to one of them.",
            )
        case 404 if client.is_openai:
            return failed(
                f"{host} has no model {model}, or the key may not use it (404).",
                f"Set {name}, or the agent's model, to one that the account has.",
            )
        case 404:
            return warning(
                f"{host} does not tell which models it has (404), so {model} cannot be looked for.",
                f"Check {base_url}, which ends in /v1; if calls are answered all is well.",
            )
        case 402 | 429 if told.status == 402 or told.reason in _QUOTA:
            return failed(f"The account at {host} has no quota left ({told.status}).", f"Pay, or change {key}.")
        case 429:
            return warning(f"{host} asks for patience (429).", "Try again in a minute; see the account's rate limits.")
        case 200:
            return failed(f"{host} answers with something else than a model.", f"Check {base_url}; it ends in /v1.")
    return failed(f"{host} answers with an error ({told.status}{_code(told)}).", "Try again later.")


def _code(told: Told) -> str:
    return f", {told.reason}" if told.reason.isidentifier() else ""
