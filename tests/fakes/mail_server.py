"""A mail server on a real socket (aiosmtpd), which keeps what it was given."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "relay", "mail-secret"


@dataclass
class MailServer:
    """``url`` is the value of SMTP_URL. ``refuse``: the reply to the next recipients, such as "550 no such user";
    ``refuse_content``: to the next mails' content. ``encrypted``: whether each mail came over TLS; ``who``: who signed
    in for it. ``held``: while it is there, the content of a mail waits for it to be set; ``given``: one has come."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuse: list[str] = field(default_factory=list)
    refuse_content: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    who: list[str] = field(default_factory=list)
    held: asyncio.Event | None = None
    given: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a process that uses this server."""
        return {"SMTP_URL": self.url, "MAIL_FROM": "Relay <relay@example.com>"}

    async def until(self, true: Callable[[], object], within: float = 20.0) -> None:
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
        self.given.set()
        if self.held is not None:
            await self.held.wait()
        if self.refuse_content:
            return self.refuse_content.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        parsed: Any = message_from_bytes(content, policy=policy.default)
        self.mails.append(parsed)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None or self.url.startswith("smtps:"))
        self.who.append(session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else "")
        self.arrived.set()
        return "250 OK"


@asynccontextmanager
async def mail_server(
    *, login: bool = True, tls: ssl.SSLContext | None = None, implicit: bool = False, user: str = USER
) -> AsyncIterator[MailServer]:
    """``login``: it wants the user and the password that stand in ``url``. ``tls``: STARTTLS is offered, or with
    ``implicit`` the connection is encrypted from its first byte."""
    mail = MailServer()

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good, auth_data=data)

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
                tls_context=None if implicit else tls,
                loop=asyncio.get_running_loop(),
            )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
    who = f"{quote(user, safe='')}:{quote(PASSWORD)}@" if login else ""
    mail.url = f"{'smtps' if implicit else 'smtp'}://{who}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield mail
    finally:
        server.close()
        await server.wait_closed()
