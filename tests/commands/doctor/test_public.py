"""PUBLIC_URL: its name, port and certificate, and what may answer there in our place."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
import trustme

from commands.doctor import address, certificate, serving
from commands.doctor.asking import Asker, asking
from commands.doctor.clock import Dates
from tests.fakes.stranger import stranger

# -- name and port


async def test_a_name_nobody_knows() -> None:
    """The fix says that a tunnel's name may be new."""

    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    finding = await address.look("https://nowhere.example.com", resolve=unknown)
    assert (finding.status, finding.detail) == ("failed", "The name nowhere.example.com is not known.")
    assert "DNS record" in finding.fix and "tunnel" in finding.fix


async def test_a_name_that_is_looked_up_for_ever() -> None:
    """Time is up, and DNS is named."""

    async def silent(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    finding = await address.look("https://slow.example.com", resolve=silent, deadline=0.05)
    assert finding.status == "failed" and "DNS" in finding.fix


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """The port is named."""
    finding = await address.look(f"https://localhost:{unused_tcp_port}")
    assert (finding.status, finding.detail) == ("failed", f"Nothing listens on port {unused_tcp_port} of localhost.")
    assert "Start the proxy or tunnel" in finding.fix


async def test_a_port_that_swallows_connections() -> None:
    """As a firewall does: a listener whose queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        finding = await address.look(f"https://127.0.0.1:{port}", deadline=0.2)
        for each in fill:
            each.close()
    assert finding.status == "failed" and f"takes no connection on port {port}" in finding.detail
    assert "firewall" in finding.fix


async def test_an_address_of_this_network(server_tls: ssl.SSLContext) -> None:
    """Twilio cannot reach it; whoever tries it out at home goes on."""
    async with stranger(server_tls) as server:
        finding = await address.look(server.url)
    assert finding.status == "warning" and "Twilio cannot reach it" in finding.detail and "ngrok" in finding.fix


async def test_a_public_address(server_tls: ssl.SSLContext) -> None:
    """All is well."""

    async def public(host: str, port: int) -> list[str]:
        return ["10.0.0.7", "8.8.8.8"]

    async with stranger(server_tls) as server:
        assert (await address.look(server.url, resolve=public)).status == "ok"


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ((301, {"Location": "https://localhost/health/live"}, ""), "ok", "sent on to HTTPS"),
        ((200, {}, '{"status":"ok","version":"1"}'), "warning", "plain HTTP"),
        ((403, {}, "no"), "ok", "(403)"),
    ],
)
async def test_plain_http(asker: Asker, answer: tuple[int, dict[str, str], str], status: str, words: str) -> None:
    """It should lead to HTTPS or nowhere."""
    async with stranger() as server:
        server.otherwise = answer
        port = int(server.url.rpartition(":")[2])
        finding = await address.plain("https://localhost", asker, port=port)
    assert finding.status == status and words in finding.detail


async def test_no_plain_http(asker: Asker, unused_tcp_port: int) -> None:
    """A closed port is fine."""
    assert (await address.plain("https://localhost", asker, port=unused_tcp_port)).status == "ok"


# -- the certificate


def context_of(leaf: trustme.LeafCert, *, chain: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if chain:
        leaf.configure_cert(context)
    else:
        with leaf.private_key_pem.tempfile() as key, leaf.cert_chain_pems[0].tempfile() as certificate_file:
            context.load_cert_chain(certificate_file, key)
    return context


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


async def test_a_good_certificate(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """It says until when."""
    async with stranger(server_tls) as server:
        finding = await certificate.look(server.url, client_tls)
    assert finding.status == "ok" and "TLSv1.3" in finding.detail and "GMT" in finding.detail


@pytest.mark.parametrize(
    ("kind", "words", "fix"),
    [
        ("expired", "has expired", "certbot renew"),
        ("other name", "is for another name than localhost", "Have one made for localhost"),
        ("self-signed", "is signed by itself", "public authority"),
        ("unknown", "comes without those between it and a known authority", "public authority"),
        ("no chain", "comes without those between it and a known authority", "fullchain.pem"),
    ],
)
async def test_a_bad_certificate(
    authority: trustme.CA, client_tls: ssl.SSLContext, tmp_path: Path, kind: str, words: str, fix: str
) -> None:
    """What is wrong with it is told apart: each is mended otherwise."""
    match kind:
        case "expired":
            tls = context_of(authority.issue_cert("localhost", not_after=in_days(-1)))
        case "other name":
            tls = context_of(authority.issue_cert("relay.example.com"))
        case "self-signed":
            lone = trustme.CA()
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with lone.private_key_pem.tempfile() as key, lone.cert_pem.tempfile() as file:
                tls.load_cert_chain(file, key)
        case "unknown":
            tls = context_of(trustme.CA().issue_cert("localhost"))
        case _:
            tls = context_of(authority.create_child_ca().issue_cert("localhost"), chain=False)
    async with stranger(tls) as server:
        finding = await certificate.look(server.url, client_tls)
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix


async def test_a_certificate_that_nobody_renews(authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    """Two weeks before its end it is said."""
    async with stranger(context_of(authority.issue_cert("localhost", not_after=in_days(10)))) as server:
        finding = await certificate.look(server.url, client_tls)
    assert finding.status == "warning" and "ends in 10 days" in finding.detail and "renew" in finding.fix


async def test_no_tls_there(client_tls: ssl.SSLContext) -> None:
    """The port speaks plain HTTP."""
    async with stranger() as server:
        finding = await certificate.look(server.url, client_tls)
    assert finding.status == "failed" and "perhaps plain HTTP" in finding.detail and "port" in finding.fix


async def test_a_port_that_says_nothing(client_tls: ssl.SSLContext) -> None:
    """Connected, and no handshake."""

    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()
        left.set()

    quiet = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with quiet:
        port = quiet.sockets[0].getsockname()[1]
        finding = await certificate.look(f"https://localhost:{port}", client_tls, deadline=0.1)
        await asyncio.wait_for(left.wait(), 20)
    assert finding.status == "failed" and "does not speak TLS" in finding.detail


# -- who answers


OURS = (200, {"Content-Type": "application/json"}, f'{{"status":"ok","version":"{version("relay")}"}}')
READY = (200, {}, '{"status":"ok","redis":"ok","model":"ok"}')
PAGE = "<!doctype html><html><body>Welcome to nginx</body></html>"


async def test_this_relay(server_tls: ssl.SSLContext, asker: Asker) -> None:
    """Its version is told."""
    async with stranger(server_tls) as server:
        server.answers = {"/health/live": OURS, "/health/ready": READY}
        finding = await serving.look(server.url, asker)
    assert (finding.status, finding.detail) == ("ok", f"Relay {version('relay')} answers.")


@pytest.mark.parametrize(
    ("live", "ready", "words", "fix"),
    [
        ((200, {}, '{"status":"ok","version":"0.0.7"}'), READY, "Relay 0.0.7 answers", "Restart"),
        (OURS, (503, {}, '{"status":"draining"}'), "is leaving", "relay serve"),
        (OURS, (200, {}, '{"status":"degraded","redis":"away","model":"ok"}'), "does not reach: redis", "restart it"),
    ],
)
async def test_a_relay_that_is_not_quite_well(
    server_tls: ssl.SSLContext,
    asker: Asker,
    live: tuple[int, dict[str, str], str],
    ready: tuple[int, dict[str, str], str],
    words: str,
    fix: str,
) -> None:
    """A warning: calls may be answered all the same."""
    async with stranger(server_tls) as server:
        server.answers = {"/health/live": live, "/health/ready": ready}
        finding = await serving.look(server.url, asker)
    assert finding.status == "warning" and words in finding.detail and fix in finding.fix


@pytest.mark.parametrize(
    ("status", "headers", "body", "words", "fix"),
    [
        (
            301,
            {"Location": "https://www.example.com/health/live"},
            "",
            "redirects to https://www.example.com (301)",
            "Set",
        ),
        (308, {"Location": "/elsewhere/health/live"}, "", "/elsewhere (308)", "PUBLIC_URL"),
        (401, {}, "", "asks for a password (401)", "signatures guard them"),
        (403, {"Server": "cloudflare"}, PAGE, "refuses the request (403) by cloudflare", "firewall"),
        (404, {}, "", "Something else answers there (404)", "PUBLIC_URL"),
        (429, {}, "", "too many requests (429)", "RATE_PER_MINUTE"),
        (502, {"Server": "nginx/1.29"}, PAGE, "cannot reach the relay (502) by nginx/1.29", "relay serve"),
        (503, {}, "", "cannot reach the relay (503)", "relay serve"),
        (504, {}, "", "cannot reach the relay (504)", "relay serve"),
        (530, {}, "error code: 1033", "cannot reach the relay (530)", "relay serve"),
        (200, {}, PAGE, "A web page answers instead of the relay (200)", "PUBLIC_URL"),
        (200, {}, '{"hello":"world"}', "Something else answers (200)", "PUBLIC_URL"),
        (
            404,
            {"ngrok-error-code": "ERR_NGROK_3200"},
            PAGE,
            "tunnel is not running",
            "ngrok http PORT --url https://loc",
        ),
        (502, {}, f"{PAGE} ERR_NGROK_8012", "nothing listens where it leads", "relay serve"),
        (200, {"ngrok-error-code": "ERR_NGROK_6024"}, PAGE, "shows its warning page", "browser"),
        (403, {"ngrok-error-code": "ERR_NGROK_727"}, PAGE, "ERR_NGROK_727", "ngrok.com/docs/errors/err_ngrok_727"),
    ],
)
async def test_a_stranger_is_told_by_its_answer(
    server_tls: ssl.SSLContext,
    asker: Asker,
    status: int,
    headers: dict[str, str],
    body: str,
    words: str,
    fix: str,
) -> None:
    """A proxy, a tunnel, a firewall, another page: each has its fix."""
    async with stranger(server_tls) as server:
        server.otherwise = (status, headers, body)
        finding = await serving.look(server.url, asker)
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix


async def test_a_prefix_that_is_not_taken_off(server_tls: ssl.SSLContext, asker: Asker) -> None:
    """The proxy passes the path on as it is."""
    async with stranger(server_tls) as server:
        server.answers = {"/health/live": OURS}
        finding = await serving.look(f"{server.url}/agents", asker)
    assert finding.status == "failed" and "PUBLIC_URL ends in /agents" in finding.fix


async def test_silence(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """It is told from a connection that breaks."""
    async with stranger(server_tls) as server, asking(client_tls, Dates(), 0.2) as hasty:
        server.silent = {"/health/live"}
        finding = await serving.look(server.url, hasty)
    assert finding.status == "failed" and "no answer within 0.2 s" in finding.detail


async def test_a_connection_that_breaks(server_tls: ssl.SSLContext, asker: Asker) -> None:
    """Accepted, and closed without a word: nothing stands behind the proxy."""
    cut = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_tls)
    async with cut:
        finding = await serving.look(f"https://localhost:{cut.sockets[0].getsockname()[1]}", asker)
    assert finding.status == "failed" and "broke without an answer" in finding.detail and "relay serve" in finding.fix
