"""Mail through a server on a real socket: what is in it, what is refused, and what is known after a failure."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from benchmarks.warm import make_certificate
from channels.mail.addresses import is_address
from channels.mail.sender import MailServer as Server
from channels.mail.sender import SmtpMails
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable, ConfigError
from relay.messages import Letter
from relay.store.client import connect
from relay.store.messages import Messages
from tests.fakes.mail_server import PASSWORD, USER, MailServer, mail_server

LETTER = Letter("ann@example.com", "Your order", "Soup: 5 €\n.\nThanks", "<p>Soup: 5&nbsp;€</p>", "Ann Lee")
FROM = "Park, View <relay@example.com>"
NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
def mails(server: MailServer, redis: Redis) -> SmtpMails:
    return sender(server, redis)


def sender(server: MailServer, redis: Redis, **options: Any) -> SmtpMails:
    return SmtpMails(Server.parse(server.url), FROM, Messages(redis), now=lambda: NOW, **options)


def parts(mail: EmailMessage) -> dict[str, str]:
    return {part.get_content_type(): part.get_content() for part in mail.iter_parts() if isinstance(part, EmailMessage)}


async def test_a_mail_is_sent_and_put_on_record(server: MailServer, mails: SmtpMails, redis: Redis) -> None:
    """With both texts, a date and an id, under which Redis has whose it is."""
    message = await mails.send(LETTER, conversation="CA1", person="phone:+15550100123")
    (mail,) = server.mails
    assert server.recipients == [["ann@example.com"]]
    assert mail["Message-ID"] == f"<{message}>" and message.endswith("@example.com")
    assert (mail["From"], mail["To"]) == ('"Park, View" <relay@example.com>', "Ann Lee <ann@example.com>")
    assert mail["Subject"] == "Your order"
    assert mail["Date"].datetime == NOW
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    texts = parts(mail)
    assert list(texts) == ["text/plain", "text/html"]
    assert texts["text/plain"].split() == LETTER.text.split()
    assert texts["text/html"].strip() == LETTER.html
    found = await Messages(redis).get(message)
    assert found is not None
    assert (found.kind, found.status, found.conversation) == ("mail", "sent", "CA1")
    assert await Messages(redis).of("phone:+15550100123") == [message]


@pytest.mark.parametrize("name", ["Zoë Müller", '"Q", the <b>', "李雷", "x" * 200, ""])
@pytest.mark.parametrize("subject", ["Bestätigung: größe ✓", "李" * 100, "a" * 200, ""])
async def test_names_and_subjects_arrive_as_they_are(
    server: MailServer, mails: SmtpMails, name: str, subject: str
) -> None:
    """In every script, long or empty; what goes over the line is ASCII."""
    await mails.send(Letter("ann@example.com", subject, "text", "<p>text</p>", name))
    (mail,) = server.mails
    (to,) = mail["To"].addresses
    assert (to.display_name, to.addr_spec) == (name, "ann@example.com")
    assert mail["Subject"] == subject
    assert mail.as_bytes().isascii()


@pytest.mark.parametrize("text", ["", "a" * 5000, "ü" * 5000, "bad \ud800 half", "From me\n..\n.", "nul \x00"])
async def test_any_text_can_be_mailed(server: MailServer, mails: SmtpMails, text: str) -> None:
    """Long lines, lines of dots; half a character and what no mail may hold are left out."""
    await mails.send(Letter("ann@example.com", "s", text, f"<pre>{text}</pre>"))
    (mail,) = server.mails
    wanted = text.replace("\ud800", "?").replace("\x00", "")
    assert parts(mail)["text/plain"].splitlines() == (wanted.splitlines() or [""])


@pytest.mark.parametrize("odd", ["\n", "\r", "\r\nBcc: eve@example.com", "\x00", "\x1b", "\u2028", "\x85", "\ud800"])
@pytest.mark.parametrize("where", ["to", "subject", "to_name"])
async def test_nothing_is_smuggled_into_a_header(server: MailServer, mails: SmtpMails, where: str, odd: str) -> None:
    """A line's end or another control character in a header's text is refused, and no connection is made."""
    values = {"to": "ann@example.com", "subject": "s", "to_name": "Ann"}
    values[where] += odd
    with pytest.raises(ChannelRejected) as caught:
        await mails.send(Letter(values["to"], values["subject"], "t", "h", values["to_name"]))
    assert caught.value.vendor_code == ("address" if where == "to" else "header")
    assert server.mails == []


async def test_a_header_has_its_length(mails: SmtpMails) -> None:
    """A subject of a novel's length is refused."""
    with pytest.raises(ChannelRejected):
        await mails.send(Letter("ann@example.com", "x" * 201, "t", "h"))


@pytest.mark.parametrize(
    "address",
    ["ann@example.com", "a.b+c_d@sub.example.co.uk", "o'neil@example.com", "1@x-y.de", "a" * 64 + "@example.com"],
)
def test_addresses(address: str) -> None:
    """What people have."""
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *["", "ann", "ann@", "@example.com", "ann@example", "ann@localhost", "ann@127.0.0.1", "ann@[127.0.0.1]"],
        *["ann@example..com", "ann@.example.com", "ann@-x.com", "ann@x-.com", "ann@example.com.", ".ann@example.com"],
        *[
            "ann.@example.com",
            "a..b@example.com",
            "a b@example.com",
            '"a b"@example.com',
            "ann@exa mple.com",
            "ann@x.1",
        ],
        *[
            "ann@example.com, bob@example.com",
            "ann@example.com;bob@example.com",
            "Ann <ann@example.com>",
            "<ann@example.com>",
        ],
        *[
            "a@b@example.com",
            "ann@bücher.example",
            "änn@example.com",
            "a" * 65 + "@example.com",
            "a@" + "b." * 130 + "com",
        ],
        *["ann@example.com\n", " ann@example.com", "ann@example.com>", "ann(comment)@example.com"],
    ],
)
def test_no_addresses(address: str) -> None:
    """Anything but exactly one address."""
    assert not is_address(address)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=30), st.text(alphabet="ab.-\n>,@ é", max_size=20))
def test_what_passes_is_safe_in_a_command(name: str, host: str) -> None:
    """No space, bracket, comma or control character gets through, whatever surrounds the @."""
    address = f"{name}@{host}"
    if is_address(address):
        assert address.isascii() and address.isprintable()
        assert not set(address) & set(' <>,;:"()[]\\')


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        ("550 5.1.1 no such user ann@example.com", ChannelRejected, "address"),
        ("550 no such user", ChannelRejected, "address"),
        ("553 5.1.3 bad address", ChannelRejected, "address"),
        ("550 5.7.1 relaying denied", ChannelRejected, ""),
        ("552 5.2.2 mailbox full", ChannelRejected, ""),
        ("554 no", ChannelRejected, ""),
        ("450 4.2.0 greylisted", ChannelUnavailable, ""),
        ("421 going away", ChannelUnavailable, ""),
    ],
)
async def test_a_refused_recipient(
    server: MailServer, mails: SmtpMails, reply: str, kind: type[ChannelError], code: str
) -> None:
    """5xx is for good, 4xx may pass; only what is about the mailbox is the address's fault. Nothing was sent, and the
    server's words, which may hold the address, are not told on."""
    server.refuse = [reply]
    with pytest.raises(kind) as caught:
        await mails.send(LETTER)
    error = caught.value
    assert (error.status, error.vendor_code, error.undone) == (int(reply[:3]), code, True)
    assert "ann" not in str(error)
    assert server.mails == []


@pytest.mark.parametrize(("reply", "kind"), [("554 spam", ChannelRejected), ("451 later", ChannelUnavailable)])
async def test_a_refused_text(server: MailServer, mails: SmtpMails, reply: str, kind: type[ChannelError]) -> None:
    """The server read it and did not take it: it was not sent."""
    server.refuse_content = [reply]
    with pytest.raises(kind) as caught:
        await mails.send(LETTER)
    assert caught.value.undone


async def test_silence_after_the_text(server: MailServer, redis: Redis) -> None:
    """The server has it and says nothing: nobody knows."""
    server.held = asyncio.Event()
    with pytest.raises(ChannelUnavailable) as caught:
        await sender(server, redis, deadline=0.3).send(LETTER)
    assert server.given.is_set() and not caught.value.undone
    server.held.set()


async def test_silence_before_the_text(redis: Redis) -> None:
    """A server that never says hello was given nothing."""
    finish = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await finish.wait()
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(ChannelUnavailable) as caught:
        await SmtpMails(Server("127.0.0.1", port), FROM, Messages(redis), deadline=0.1).send(LETTER)
    assert caught.value.undone
    finish.set()
    listener.close()
    await listener.wait_closed()


async def test_nobody_there(redis: Redis) -> None:
    """A port that refuses was given nothing."""
    with pytest.raises(ChannelUnavailable) as caught:
        await SmtpMails(Server("127.0.0.1", 1), FROM, Messages(redis)).send(LETTER)
    assert caught.value.undone


async def test_a_cancel_leaves_no_connection(server: MailServer, mails: SmtpMails) -> None:
    """It is closed at once, and the cancel goes on."""
    server.held = asyncio.Event()
    sending = asyncio.create_task(mails.send(LETTER))
    await asyncio.wait_for(server.given.wait(), 20)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    server.held.set()


async def test_a_wrong_password(redis: Redis, server: MailServer) -> None:
    """Is refused for good, and nothing of it is told."""
    server.url = server.url.replace(PASSWORD, "guessed")
    with pytest.raises(ChannelRejected) as caught:
        await sender(server, redis).send(LETTER)
    assert (caught.value.status, caught.value.vendor_code) == (535, "")
    assert "guessed" not in str(caught.value)


@pytest.mark.parametrize("user", [USER, "relay@example.com", "a b/c:ü%"])
async def test_the_user_is_percent_decoded(redis: Redis, user: str) -> None:
    """An address, or any other sign, may be the user of the URL."""
    async with mail_server(user=user) as server:
        await sender(server, redis).send(LETTER)
        assert server.who == [user]


async def test_a_server_that_wants_nobody_to_sign_in(redis: Redis) -> None:
    """A URL without a user signs nobody in."""
    async with mail_server(login=False) as server:
        await sender(server, redis).send(LETTER)
        assert (server.who, server.encrypted) == ([""], [False])


async def test_without_redis_it_is_sent_all_the_same(server: MailServer) -> None:
    """What the server has taken is sent; the log says that it is not on record."""
    redis = connect("unix:///nonexistent/redis.sock")
    with capture_logs() as logs:
        assert await sender(server, redis).send(LETTER)
    await redis.aclose()
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert len(server.mails) == 1


# -- encryption


@pytest.fixture
def theirs(tmp_path: Path) -> ssl.SSLContext:
    """The TLS context of a server, with a certificate of 127.0.0.1 that nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


@pytest.mark.parametrize("implicit", [False, True])
async def test_encrypted_where_it_can_be(redis: Redis, theirs: ssl.SSLContext, implicit: bool) -> None:
    """STARTTLS is used where it is offered, ``smtps`` from the first byte; on this machine by any certificate."""
    async with mail_server(tls=theirs, implicit=implicit) as server:
        await sender(server, redis).send(LETTER)
        assert (server.encrypted, server.who) == ([True], [USER])


class Elsewhere(Server):
    """A server that counts as another machine's."""

    @property
    def is_here(self) -> bool:
        return False


def elsewhere(server: MailServer) -> Server:
    known = Server.parse(server.url)
    return Elsewhere(known.host, known.port, known.implicit, known.user, known.password)


@pytest.mark.parametrize("implicit", [False, True])
async def test_another_machine_proves_who_it_is(
    redis: Redis, theirs: ssl.SSLContext, tmp_path: Path, implicit: bool
) -> None:
    """By a certificate that is trusted; otherwise neither the password nor the mail leaves."""

    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    async with mail_server(tls=theirs, implicit=implicit) as server:
        with pytest.raises(ChannelUnavailable) as caught:
            await SmtpMails(elsewhere(server), FROM, Messages(redis)).send(LETTER)
        assert caught.value.undone and server.mails == []
        await SmtpMails(elsewhere(server), FROM, Messages(redis), context=trusting).send(LETTER)
        assert server.encrypted == [True]


async def test_no_password_without_encryption(redis: Redis) -> None:
    """A server elsewhere that wants one and offers no STARTTLS gets neither password nor mail."""
    async with mail_server() as server:
        with pytest.raises(ChannelRejected):
            await SmtpMails(elsewhere(server), FROM, Messages(redis)).send(LETTER)
        assert server.mails == []


@pytest.mark.parametrize(
    ("url", "host", "port", "implicit", "is_here"),
    [
        ("smtp://u:p@mail.example.com:2525", "mail.example.com", 2525, False, False),
        ("smtp://u:p@mail.example.com", "mail.example.com", 587, False, False),
        ("smtp://mail.example.com/", "mail.example.com", 25, False, False),
        ("smtps://u:p@mail.example.com", "mail.example.com", 465, True, False),
        ("smtp://localhost", "localhost", 25, False, True),
        ("smtp://127.0.0.9:1025", "127.0.0.9", 1025, False, True),
        ("smtp://[::1]:1025", "::1", 1025, False, True),
        ("smtp://127.0.0.1.example.com", "127.0.0.1.example.com", 25, False, False),
        ("smtp://10.0.0.1", "10.0.0.1", 25, False, False),
    ],
)
def test_urls(url: str, host: str, port: int, implicit: bool, is_here: bool) -> None:
    """Host, port with its usual values, and whether it is this machine."""
    server = Server.parse(url)
    assert (server.host, server.port, server.implicit, server.is_here) == (host, port, implicit, is_here)
    assert "u" not in server.user or (server.user, server.password) == ("u", "p")


def test_a_server_prints_no_password() -> None:
    """Nor its user."""
    shown = repr(Server.parse("smtp://someone:secret@mail.example.com"))
    assert "someone" not in shown and "secret" not in shown


@pytest.mark.parametrize(
    ("mail_from", "name", "address"),
    [
        ("relay@example.com", "", "relay@example.com"),
        ("<relay@example.com>", "", "relay@example.com"),
        ("Relay <relay@example.com>", "Relay", "relay@example.com"),
        ('"Park, View" <relay@example.com>', "Park, View", "relay@example.com"),
        ("Zoë's Küche <relay@localhost>", "Zoë's Küche", "relay@localhost"),
    ],
)
async def test_senders(redis: Redis, mail_from: str, name: str, address: str) -> None:
    """MAIL_FROM is an address or a name and an address, quoted or not."""
    async with mail_server() as server:
        await SmtpMails(Server.parse(server.url), mail_from, Messages(redis)).send(LETTER)
        (from_,) = server.mails[0]["From"].addresses
        assert (from_.display_name, from_.addr_spec) == (name, address)


@pytest.mark.parametrize("mail_from", ["relay@bücher.example", "a b@example.com", "<>", "Relay <a@b> x@y", "a@b\x00"])
def test_no_sender(redis: Redis, mail_from: str) -> None:
    """One that cannot be is found at the start, not with the first mail."""
    with pytest.raises(ConfigError):
        SmtpMails(Server("localhost", 25), mail_from, Messages(redis))
