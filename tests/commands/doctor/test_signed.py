"""The signature path and the websocket: a relay behind a TLS proxy, asked with the same settings or with others."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from commands.doctor import serving, signature, websocket
from commands.doctor.asking import Asker, asking
from commands.doctor.clock import Dates
from handlers.keys import DRAIN, RELAY_SOCKET
from tests.calls.front import Front
from tests.fakes.stranger import stranger
from tests.running import Running, running, write_agent

TOKEN = "0123456789abcdef0123456789abcdef"
CLOSED_AGENT = 'greeting = "Hi"\n[hours]\nmon = ["09:00-09:01"]\n'


class Relays:
    """Starts relays behind a proxy; ``url`` is the proxy's."""

    def __init__(self, redis_url: str, folder: Path, front: Front) -> None:
        self._redis_url = redis_url
        self._folder = folder
        self.front = front
        self.url = front.url

    @asynccontextmanager
    async def relay(self, agent: str = 'greeting = "Hi"', **environ: str) -> AsyncIterator[Running]:
        """``environ``: its settings; PUBLIC_URL and TWILIO_AUTH_TOKEN are ours unless they are given, "" for none."""
        variables = {"PUBLIC_URL": self.url, "TWILIO_AUTH_TOKEN": TOKEN, **environ}
        agents = write_agent(self._folder / "agents", agent)
        async with running(self._redis_url, self._folder / "data", agents=agents, environ=variables) as relay:
            self.front.fail_over(relay.url)
            yield relay


@pytest.fixture
async def relays(redis_url: str, redis: Redis, tmp_path: Path, server_tls: ssl.SSLContext) -> AsyncIterator[Relays]:
    async with Front(tls=server_tls) as front:
        yield Relays(redis_url, tmp_path, front)


async def test_everything_fits(relays: Relays, asker: Asker, client_tls: ssl.SSLContext) -> None:
    """Signed is taken, unsigned is refused, and a websocket opens. Nothing is left in Redis, and no call is open."""
    async with relays.relay() as relay:
        assert (await serving.look(relays.url, asker)).status == "ok"
        finding = await signature.look(relays.url, [TOKEN], asker)
        assert (finding.status, finding.detail) == ("ok", "What is signed is taken, and what is not is refused.")
        assert (await websocket.look(relays.url, TOKEN, client_tls)).status == "ok"
        assert await relay.redis.keys("*") == []


async def test_outside_business_hours(relays: Relays, asker: Asker) -> None:
    """The signature is tried all the same, and nobody is called for it."""
    async with relays.relay(CLOSED_AGENT, TRANSFER_TO="+15550100900") as relay:
        assert (await signature.look(relays.url, [TOKEN], asker)).status == "ok"
        assert await relay.redis.keys("*") == []


def without_prefix(data: bytes) -> bytes:
    return data.replace(b" /agents/", b" /", 1)


async def test_a_prefix_that_the_proxy_takes_off(relays: Relays, asker: Asker, client_tls: ssl.SSLContext) -> None:
    """It belongs to what is signed."""
    url = f"{relays.url}/agents"
    relays.front.rewrite = without_prefix
    async with relays.relay(PUBLIC_URL=url):
        assert (await serving.look(url, asker)).status == "ok"
        assert (await signature.look(url, [TOKEN], asker)).status == "ok"
        assert (await websocket.look(url, TOKEN, client_tls)).status == "ok"


@pytest.mark.parametrize(
    ("environ", "tokens", "words"),
    [
        ({}, ["another"], "another TWILIO_AUTH_TOKEN, or another PUBLIC_URL"),
        ({"PUBLIC_URL": "https://relay.example.com"}, [TOKEN], "another TWILIO_AUTH_TOKEN, or another PUBLIC_URL"),
        ({}, [TOKEN, "second"], "does not know all tokens"),
        ({"TWILIO_AUTH_TOKEN": ""}, [TOKEN], "has no TWILIO_AUTH_TOKEN"),
    ],
)
async def test_a_relay_with_other_settings(
    relays: Relays, asker: Asker, environ: dict[str, str], tokens: list[str], words: str
) -> None:
    """It has to be restarted with these."""
    async with relays.relay(**environ):
        finding = await signature.look(relays.url, tokens, asker)
    assert finding.status == "failed" and words in finding.detail and "Restart the running relay" in finding.fix


async def test_a_relay_in_development_mode(relays: Relays, asker: Asker) -> None:
    """Through a proxy that says so it takes nothing, through one that does not it would take everything."""
    async with relays.relay(PUBLIC_URL="", TWILIO_AUTH_TOKEN=""):
        finding = await signature.look(relays.url, [TOKEN], asker)
        assert finding.status == "failed" and "tells Twilio another address" in finding.detail
        relays.front.rewrite = lambda data: data.replace(b"\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\n", 1)
        finding = await signature.look(relays.url, [TOKEN], asker)
        assert finding.status == "failed" and "has no PUBLIC_URL" in finding.detail


async def test_a_relay_that_leaves(relays: Relays, asker: Asker, client_tls: ssl.SSLContext) -> None:
    """It is a warning: another one is about to come. Sockets of calls in progress are opened for some time yet."""
    async with relays.relay() as relay:
        drain = relay.app[DRAIN]
        await drain.run(relay.app[RELAY_SOCKET], lambda seconds: None)
        found = [await serving.look(relays.url, asker), await signature.look(relays.url, [TOKEN], asker)]
        assert (await websocket.look(relays.url, TOKEN, client_tls)).status == "ok"
        drain.handing_on = True
        found.append(await websocket.look(relays.url, TOKEN, client_tls))
        for finding in found:
            assert finding.status == "warning" and "is leaving" in finding.detail


async def test_what_nobody_has_signed(server_tls: ssl.SSLContext, asker: Asker) -> None:
    """Taken it must not be; a proxy that answers it otherwise is named."""
    async with stranger(server_tls) as server:
        server.otherwise = (200, {}, "<Response></Response>")
        finding = await signature.look(server.url, [TOKEN], asker)
        assert finding.status == "failed" and "nobody has signed" in finding.detail


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, "", "The running relay fails (500)"),
        (403, "<html>blocked</html>", "Something before the relay refuses"),
        (404, "not here", "Something else answers there (404)"),
        (502, "", "cannot reach the relay (502)"),
        (302, "", "It redirects"),
        (200, "<html>hello</html>", "A web page answers"),
    ],
)
async def test_what_stands_before_the_webhook(
    server_tls: ssl.SSLContext, asker: Asker, status: int, body: str, words: str
) -> None:
    """A path may be answered otherwise than /health is."""
    async with stranger(server_tls) as server:
        server.otherwise = (status, {}, body)
        finding = await signature.look(server.url, [TOKEN], asker)
    assert finding.status == "failed" and words in finding.detail and finding.fix


async def test_a_webhook_that_is_not_answered(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Time is up."""
    async with stranger(server_tls) as server, asking(client_tls, Dates(), 0.2) as hasty:
        server.silent = {"/voice/incoming"}
        finding = await signature.look(server.url, [TOKEN], hasty)
    assert finding.status == "failed" and "no answer within 0.2 s" in finding.detail


# -- the websocket


def without_upgrade(data: bytes) -> bytes:
    return data.replace(b"Upgrade: websocket\r\n", b"").replace(b"Connection: Upgrade\r\n", b"")


def without_signature(data: bytes) -> bytes:
    return data.replace(b"X-Twilio-Signature", b"X-Other")


@pytest.mark.parametrize(
    ("rewrite", "words"),
    [(without_upgrade, "arrives as an ordinary one (426)"), (without_signature, "The websocket is refused (403)")],
)
async def test_a_proxy_that_passes_no_websocket_on(
    relays: Relays, client_tls: ssl.SSLContext, rewrite: Callable[[bytes], bytes], words: str
) -> None:
    """What it must be told is in the fix."""
    relays.front.rewrite = rewrite
    async with relays.relay():
        finding = await websocket.look(relays.url, TOKEN, client_tls)
    assert finding.status == "failed" and words in finding.detail and "proxy_set_header Upgrade" in finding.fix


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        (200, "an ordinary answer (200)", "Upgrade"),
        (301, "an ordinary answer (301)", "Upgrade"),
        (400, "an ordinary one (400)", "Upgrade"),
        (404, "nothing at the websocket's path (404)", "Upgrade"),
        (418, "answered with 418", "Upgrade"),
        (502, "cannot reach the relay for a websocket (502)", "relay serve"),
        (503, "cannot reach the relay for a websocket (503)", "relay serve"),
    ],
)
async def test_an_upgrade_that_is_refused(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, status: int, words: str, fix: str
) -> None:
    """By its status."""
    async with stranger(server_tls) as server:
        server.otherwise = (status, {}, "")
        finding = await websocket.look(server.url, TOKEN, client_tls)
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix


async def test_an_upgrade_that_is_not_answered(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Time is up."""
    async with stranger(server_tls) as server:
        server.silent = {"/voice/relay"}
        finding = await websocket.look(server.url, TOKEN, client_tls, deadline=0.2)
    assert finding.status == "failed" and "not answered within 0.2 s" in finding.detail


async def test_an_upgrade_that_breaks(client_tls: ssl.SSLContext, unused_tcp_port: int) -> None:
    """The connection is gone."""
    finding = await websocket.look(f"https://localhost:{unused_tcp_port}", TOKEN, client_tls)
    assert finding.status == "failed" and "breaks when a websocket is asked for" in finding.detail
