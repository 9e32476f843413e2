"""Mail through an SMTP server: a connection for each, encrypted unless the server is on this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import structlog
from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException

from channels.mail.addresses import is_address
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable, ConfigError, StoreError
from relay.messages import Letter, Record

DEADLINE = 7.0
CONNECT_DEADLINE = 4.0
FAREWELL = 1.0
"""Seconds for one mail, for the connection, and for the goodbye: together less than a tool has by default, so that it
is told what is known."""

MAX_HEADER = 200
"""Characters of a subject or of a name."""

_POLICY = SMTP_POLICY.clone(cte_type="7bit")  # every server takes seven bits
_SENDER = re.compile(r'(?:"?([^"<>]*?)"?\s*<([^<>]*)>|([^<>]*))')
# Replies that are about the mailbox, if their text does not say that it is a matter of policy (RFC 3463, X.7.X).
_MAILBOX = frozenset({501, 510, 511, 512, 513, 550, 551, 553})
_POLICY_CODE = re.compile(r"\s*5\.7\.")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over. ``implicit``: TLS from the first byte. ``user`` "": nobody signs in."""

    host: str
    port: int
    implicit: bool = False
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """From the setting SMTP_URL, which has been checked. Without a port: 465 for ``smtps``, 587 to sign in, 25."""
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        implicit = parts.scheme == "smtps"
        usual = 465 if implicit else 587 if user else 25
        return cls(parts.hostname or "", parts.port or usual, implicit, user, password)

    @property
    def is_here(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class SmtpMails:
    """Satisfies ``relay.messages.MailSender``. ``sender``: the setting MAIL_FROM; ConfigError where it names nobody.
    ``context`` makes the TLS context, once, off the loop."""

    def __init__(
        self,
        server: MailServer,
        sender: str,
        record: Record,
        *,
        context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        deadline: float = DEADLINE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._server = server
        self._sender = _sender(sender)
        self._record = record
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._deadline = deadline
        self._now = now

    async def send(self, letter: Letter, *, conversation: str = "", person: str = "") -> str:
        """Returns once the server has taken it, with its Message-ID. Raises ChannelRejected for a letter that cannot be
        one, or that the server refuses for good (5xx), ChannelUnavailable for the rest.

        A cancel, or silence after the server was given the words, leaves it sent or not. One that was sent and could
        not be put on record is sent: that is a warning in the log.
        """
        message_id = f"{uuid4().hex}@{self._sender.domain}"
        content = self._compose(letter, message_id).as_bytes()
        await self._hand_over(letter.to, content)
        try:
            await self._record.sent(message_id, kind="mail", conversation=conversation, person=person)
        except StoreError as error:
            log.warning("mail sent without a record", code=error.code)
        return message_id

    def _compose(self, letter: Letter, message_id: str) -> EmailMessage:
        if not is_address(letter.to):
            raise ChannelRejected("The recipient is no e-mail address.", vendor_code="address")
        for text in (letter.subject, letter.to_name):
            if len(text) > MAX_HEADER or any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text):
                raise ChannelRejected("The subject or the name cannot stand in a header.", vendor_code="header")
        message = EmailMessage(policy=_POLICY)
        message["From"] = self._sender
        message["To"] = Address(letter.to_name.strip(), addr_spec=letter.to)
        message["Subject"] = letter.subject
        message["Date"] = self._now()
        message["Message-ID"] = f"<{message_id}>"
        message["Auto-Submitted"] = "auto-generated"  # no answer from somebody's absence is wanted
        message.set_content(_mailable(letter.text))
        message.add_alternative(_mailable(letter.html), subtype="html")
        return message

    async def _hand_over(self, to: str, content: bytes) -> None:
        client, given = await self._client(), False
        try:
            async with asyncio.timeout(self._deadline):
                await client.connect(timeout=CONNECT_DEADLINE)
                await client.mail(self._sender.addr_spec)
                await client.rcpt(to)
                given = True
                await client.data(content)
        except SMTPResponseException as error:
            raise _refused(error) from None  # its text is the server's, which may repeat the address
        except (SMTPException, OSError) as error:
            if not isinstance(error, OSError):
                # The library's own refusals: no STARTTLS there, or no way to sign in that it knows.
                raise ChannelRejected(f"The mail server cannot be used ({type(error).__name__}).") from None
            raise ChannelUnavailable(
                f"No answer of the mail server ({type(error).__name__}).", undone=not given
            ) from None
        else:
            await _leave(client)
        finally:
            client.close()

    async def _client(self) -> SMTP:
        server = self._server
        if self._context is None:
            self._context = await asyncio.to_thread(self._make_context)
            if server.is_here:  # nobody can be in between, and local servers sign their own certificates
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
        must_encrypt = bool(server.user) and not server.is_here
        return SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password if server.user else None,
            local_hostname=self._sender.domain,
            timeout=self._deadline,
            use_tls=server.implicit,
            start_tls=False if server.implicit else True if must_encrypt else None,
            tls_context=self._context,
        )


async def _leave(client: SMTP) -> None:
    """Says goodbye; the mail has been taken, whatever comes of it."""
    try:
        async with asyncio.timeout(FAREWELL):
            await client.quit()
    except (SMTPException, OSError):
        pass


def _refused(error: SMTPResponseException) -> ChannelError:
    told = f"The mail server answered {error.code} ({type(error).__name__})."
    if error.code < 500:
        return ChannelUnavailable(told, status=error.code, undone=True)
    about_mailbox = error.code in _MAILBOX and not _POLICY_CODE.match(error.message)
    mailbox = isinstance(error, SMTPRecipientRefused) and about_mailbox
    return ChannelRejected(told, status=error.code, vendor_code="address" if mailbox else "")


def _sender(mail_from: str) -> Address:
    """The name and the address of the setting, whose name need not be quoted. Raises ConfigError."""
    found = _SENDER.fullmatch(mail_from.strip())
    try:
        if found is None or not mail_from.isprintable():
            raise ValueError
        address = (found[2] or found[3] or "").strip()
        address.encode("ascii")
        return Address((found[1] or "").strip(), addr_spec=address)
    except (ValueError, HeaderParseError, IndexError):
        raise ConfigError(["MAIL_FROM must be an address, or Name <address>; the address in ASCII."]) from None


def _mailable(text: str) -> str:
    """Without the control characters that no mail may hold, and without halves of characters."""
    kept = (each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")
    return "".join(kept).encode("utf-8", "replace").decode()


__all__ = ["MailServer", "SmtpMails"]
