"""Which ways of sending messages the settings provide, put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config.settings import Settings
from handlers.signatures import PublicAddress
from handlers.twilio_status import STATUS
from relay.jobs import Jobs
from relay.messages import MailSender, TextSender
from relay.models.client import tls_context
from relay.store.messages import Messages
from tools.texting import Texting

if TYPE_CHECKING:
    from channels.twilio.rest import TwilioRest

FOLLOWED = 1000
"""Text messages whose status is followed at a time, at most."""


def make_rest(settings: Settings) -> TwilioRest | None:
    """A client of Twilio's REST API: with the API key, or the account's own token; None where neither is set."""
    if settings.twilio_account_sid is None:
        return None
    if settings.twilio_api_key is not None and settings.twilio_api_secret is not None:
        user, secret = settings.twilio_api_key.get_secret_value(), settings.twilio_api_secret.get_secret_value()
    elif settings.twilio_auth_token:
        user, secret = settings.twilio_account_sid, settings.twilio_auth_token[0].get_secret_value()
    else:
        return None
    from channels.twilio.rest import Account, TwilioRest  # takes a while to import, which only these processes need

    return TwilioRest(Account(settings.twilio_account_sid, user, secret, settings.twilio_api_base or ""))


@dataclass(frozen=True, slots=True)
class Messaging:
    """What tools send messages with, and who follows them."""

    texting: Texting
    _followers: Jobs = field(repr=False)

    async def close(self) -> None:
        """Nobody is followed any more: what becomes of a message is in Redis."""
        await self._followers.drain(0)


def make_messaging(settings: Settings, messages: Messages, rest: TwilioRest | None) -> Messaging:
    """Raises ConfigError where MAIL_FROM names nobody."""
    public = PublicAddress.parse(settings.public_url) if settings.public_url else None
    followers = Jobs(FOLLOWED)
    texting = Texting(
        _texts(settings, messages, rest, public.http(STATUS) if public else ""),
        _mails(settings, messages),
        messages if public else None,  # without an address Twilio reports nothing
        followers,
    )
    return Messaging(texting, followers)


def _texts(settings: Settings, messages: Messages, rest: TwilioRest | None, callback: str) -> TextSender | None:
    if rest is None:
        return None
    from channels.twilio.texting import TwilioTexts

    return TwilioTexts(rest, messages, number=settings.twilio_phone_number or "", status_callback=callback)


def _mails(settings: Settings, messages: Messages) -> MailSender | None:
    if settings.smtp_url is None or settings.mail_from is None:
        return None
    from channels.mail.sender import MailServer, SmtpMails

    server = MailServer.parse(settings.smtp_url.get_secret_value())
    return SmtpMails(server, settings.mail_from, messages, context=tls_context)
