"""Which messages a process can send, by its settings."""

from __future__ import annotations

import subprocess
import sys

import pytest
from redis.asyncio import Redis

from config.settings import load_settings
from handlers.messaging import make_messaging, make_rest
from relay.errors import ConfigError, ToolError
from relay.messages import Letter
from relay.store.messages import Messages
from relay.toolbox import ToolContext
from tests.fakes.mail_server import mail_server
from tests.fakes.twilio_rest import twilio_rest

CONTEXT = ToolContext("CA1", "voice", "default", "phone:+15555550100", address="+15555550100")
SID, TOKEN = "AC" + "0" * 32, "rest-token"


@pytest.mark.parametrize(
    ("environ", "texts", "mails"),
    [
        ({}, False, False),
        ({"TWILIO_AUTH_TOKEN": TOKEN}, False, False),
        ({"TWILIO_ACCOUNT_SID": SID}, False, False),
        ({"TWILIO_API_KEY": "SK1", "TWILIO_API_SECRET": "s"}, False, False),
        ({"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN}, True, False),
        ({"TWILIO_ACCOUNT_SID": SID, "TWILIO_API_KEY": "SK1", "TWILIO_API_SECRET": "s"}, True, False),
        ({"SMTP_URL": "smtp://localhost", "MAIL_FROM": "relay@example.com"}, False, True),
        ({"MAIL_FROM": "relay@example.com"}, False, False),
    ],
)
async def test_what_the_settings_provide(redis: Redis, environ: dict[str, str], texts: bool, mails: bool) -> None:
    """Texts need an account and a way to sign in; mail needs a server and a sender."""
    settings = load_settings(None, environ)
    rest = make_rest(settings)
    texting = make_messaging(settings, Messages(redis), rest).texting
    assert (texting.can_text, texting.can_mail) == (texts, mails)
    if rest is not None:
        await rest.close()


async def test_mail_by_the_settings(redis: Redis) -> None:
    """SMTP_URL and MAIL_FROM are all it takes."""
    async with mail_server() as server:
        messaging = make_messaging(load_settings(None, server.environ), Messages(redis), None)
        await messaging.texting.mail(CONTEXT, Letter("ann@example.com", "s", "t", "<p>t</p>"))
        await messaging.close()
        assert server.recipients == [["ann@example.com"]]
        assert server.mails[0]["From"] == "Relay <relay@example.com>"


@pytest.mark.parametrize(
    ("public", "callback"),
    [("", None), ("https://relay.example.com/phone", "https://relay.example.com/phone/twilio/status")],
)
async def test_statuses_are_asked_for_where_they_can_come(redis: Redis, public: str, callback: str | None) -> None:
    """Without PUBLIC_URL Twilio has nowhere to report to, and nobody waits for a report."""
    async with twilio_rest() as server:
        settings = load_settings(None, {**server.environ, "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": public})
        rest = make_rest(settings)
        assert rest is not None
        messaging = make_messaging(settings, Messages(redis), rest)
        await messaging.texting.text(CONTEXT, "hello")
        assert server.messages()[0].get("StatusCallback") == callback
        assert len(messaging._followers) == (1 if callback else 0)
        await messaging.close()
        assert len(messaging._followers) == 0
        await rest.close()


async def test_no_number_to_send_from(redis: Redis) -> None:
    """A caller who dialled no number, and no number in the settings: the model is told that it cannot be done."""
    async with twilio_rest() as server:
        settings = load_settings(None, {**server.environ, "TWILIO_PHONE_NUMBER": ""})
        rest = make_rest(settings)
        assert rest is not None
        with pytest.raises(ToolError, match="cannot be sent from here"):
            await make_messaging(settings, Messages(redis), rest).texting.text(CONTEXT, "hello")
        assert server.asked == []
        await rest.close()


async def test_a_sender_that_is_none(redis: Redis) -> None:
    """MAIL_FROM is complained about when the process starts."""
    environ = {"SMTP_URL": "smtp://localhost", "MAIL_FROM": "Relay <relay@bücher.example>"}
    with pytest.raises(ConfigError, match="MAIL_FROM"):
        make_messaging(load_settings(None, environ), Messages(redis), None)


def test_a_process_that_sends_nothing_imports_no_client() -> None:
    """The libraries of Twilio's REST API and of SMTP take their time to import."""
    code = "import sys, handlers.app; print([name for name in ('twilio.rest', 'aiosmtplib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
