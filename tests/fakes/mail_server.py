"""A mail server on a real socket (aiosmtpd), which keeps what it was given."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "relay", "mail-secret"


@dataclass
class MailServer:
    """``url`` is the value of SMTP_URL. ``refuse``: the reply to the next recipients, such as "550 no such user"."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuse: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a process that uses this server."""
        return {"SMTP_URL": self.url, "MAIL_FROM": "Relay <relay@example.com>"}

    async def until(self, true: Callable[[], object], within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while not true():
                self.arrived.clear()
                await self.arrived.wait()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse:
            return self.refuse.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        parsed: Any = message_from_bytes(content, policy=policy.default)
        self.mails.append(parsed)
        self.recipients.append(list(envelope.rcpt_tos))
        self.arrived.set()
        return "250 OK"


@asynccontextmanager
async def mail_server(*, login: bool = True) -> AsyncIterator[MailServer]:
    """``login``: it wants the user and the password that stand in ``url``."""
    mail = MailServer()

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)

    def protocol() -> SMTP:
        with warnings.catch_warnings():  # it warns of passwords without TLS, which is what this one wants
            warnings.simplefilter("ignore")
            return SMTP(
                mail,
                hostname="localhost",
                ident="fake",
                enable_SMTPUTF8=True,
                authenticator=authenticate,
                auth_required=login,
                auth_require_tls=False,
                loop=asyncio.get_running_loop(),
            )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    who = f"{USER}:{PASSWORD}@" if login else ""
    mail.url = f"smtp://{who}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield mail
    finally:
        server.close()
        await server.wait_closed()
