"""Twilio's REST API for commands: the client of the settings, and what its refusals mean to an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from config.settings import Settings
from handlers.messaging import make_rest
from relay.errors import ChannelError, ConfigError

if TYPE_CHECKING:
    from channels.twilio.rest import TwilioRest

SUSPENDED, NO_PERMISSION = "20403", "70051"


@asynccontextmanager
async def twilio_of(settings: Settings) -> AsyncIterator[TwilioRest]:
    """The client; raises ConfigError for settings that are missing, and says of Twilio's refusals what mends them."""
    if missing := missing_for_rest(settings):
        raise ConfigError([f"{name} is missing; without it Twilio's API cannot be asked." for name in missing])
    rest = make_rest(settings)
    assert rest is not None  # nothing is missing
    try:
        yield rest
    except ChannelError as error:
        raise ConfigError([" ".join(refusal(error, settings))]) from error
    finally:
        await rest.close()


def missing_for_rest(settings: Settings) -> list[str]:
    missing = [] if settings.twilio_account_sid else ["TWILIO_ACCOUNT_SID"]
    if settings.twilio_api_key is None and not settings.twilio_auth_token:
        missing.append("TWILIO_AUTH_TOKEN (or TWILIO_API_KEY)")
    return missing


def lacks_permission(error: ChannelError) -> bool:
    """Whether Twilio knows the key, which may not do what was asked."""
    return error.vendor_code == NO_PERMISSION or (error.status == 403 and error.vendor_code != SUSPENDED)


def refusal(error: ChannelError, settings: Settings) -> tuple[str, str]:
    """What Twilio, or nobody, has answered; and the setting or the permission that mends it."""
    code = f", its error {error.vendor_code}" if error.vendor_code else ""
    said = f"({error.status}{code})"
    pair = "TWILIO_API_KEY and TWILIO_API_SECRET" if settings.twilio_api_key else "TWILIO_AUTH_TOKEN"
    base = " and TWILIO_API_BASE" if settings.twilio_api_base else ""
    if lacks_permission(error):
        return (
            f"The API key may not do this {said}.",
            "Give it the permissions to read and update Phone Numbers, or set TWILIO_API_KEY to a Standard key.",
        )
    match error.status:
        case 401:
            return f"Twilio does not accept the credentials {said}.", f"Check TWILIO_ACCOUNT_SID, {pair}."
        case 403:
            return f"The account is suspended or closed {said}.", "See the Console, or ask Twilio's support."
        case 404:
            return f"Twilio knows no such thing {said}.", f"Check TWILIO_ACCOUNT_SID{base}."
        case 400:
            return f"Twilio does not take these values {said}.", "Change them."
        case 0:
            doubt = "" if error.undone else " What was asked for may have been done."
            return f"{error}{doubt}", f"Check the network{base}."
    return f"Twilio answers with an error {said}.", "Try again later; status.twilio.com tells of outages."
