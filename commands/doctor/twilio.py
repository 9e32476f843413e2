"""The Twilio account: whether it is there, and takes the token and the key of the settings."""

from __future__ import annotations

from channels.twilio.account import Standing, may_list_numbers, standing
from commands.doctor.clock import Dates
from commands.doctor.finding import Finding, failed, ok, warning
from commands.twilio_account import lacks_permission, refusal
from config.settings import Settings
from handlers.messaging import make_rest
from relay.errors import ChannelError, ChannelRejected

ADDENDUM = warning(
    "Twilio does not tell whether ConversationRelay is switched on; without it calls end at once.",
    "In the Console, once: Voice > Settings > General: switch Predictive and Generative AI/ML Features Addendum on.",
)


async def look(settings: Settings, dates: Dates) -> Finding:
    """TWILIO_AUTH_TOKEN, which signs webhooks, and TWILIO_API_KEY, which requests are made with, are asked apart."""
    try:
        own = await _by_tokens(settings, dates)
        if settings.twilio_api_key is not None:
            await _by_key(settings, dates)
    except ChannelError as error:
        return refused(error, settings)
    if own is None and settings.twilio_auth_token:
        return failed(
            "TWILIO_AUTH_TOKEN is not that of TWILIO_ACCOUNT_SID: its calls are refused, for no signature matches.",
            "Copy both from the Console's first page (Account Info), and restart the relay.",
        )
    if own is not None and own.status != "active":
        return failed(f"The account is {own.status}.", "See the Console, or ask Twilio's support.")
    if own is not None and own.type == "Trial":
        return ok("The account is a trial: callers hear Twilio's notice first, and only verified numbers are called.")
    return ok("The account takes the credentials.")


def refused(error: ChannelError, settings: Settings) -> Finding:
    """A key that may not look at numbers may be all that calls and texts need."""
    return (warning if lacks_permission(error) else failed)(*refusal(error, settings))


async def _by_tokens(settings: Settings, dates: Dates) -> Standing | None:
    """The account as the first token shows it that is taken; None where none is. While one is replaced by another it is
    enough that one is."""
    for token in settings.twilio_auth_token:
        alone = settings.model_copy(update={"twilio_api_key": None, "twilio_auth_token": (token,)})
        rest = make_rest(alone)
        assert rest is not None and settings.twilio_account_sid is not None  # who calls has looked
        try:
            found = await standing(rest, settings.twilio_account_sid)
        except ChannelRejected as error:
            if error.status != 401:
                raise
        else:
            dates.note("Twilio", found.date)
            return found
        finally:
            await rest.close()
    return None


async def _by_key(settings: Settings, dates: Dates) -> None:
    rest = make_rest(settings)
    assert rest is not None  # there is a key
    try:
        dates.note("Twilio", await may_list_numbers(rest))
    finally:
        await rest.close()
