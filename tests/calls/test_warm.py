"""Connections that are lost in the quiet are open again when the turn comes, counted where they are accepted."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from benchmarks.warm import make_certificate
from phone.caller import FAST, Caller
from phone.model import ModelServer
from relay.frames import ClientSpeaking, Dtmf, Incoming, Prompt
from tests.calls.checks import eventually
from tests.running import Running, running, write_agent

SIGNS = [ClientSpeaking(True), Prompt("Is", "en-US", last=False), Dtmf("1")]
TLS = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture(params=["http", pytest.param("https", marks=TLS)])
async def relay(
    request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """The application and its endpoint; the start of a call counts as long ago."""
    monkeypatch.setattr("handlers.warmth.EVERY", 0.0)
    tls = None
    if request.param == "https":
        make_certificate(tmp_path)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    agents = write_agent(tmp_path / "agents", 'title = "Test"\n[limits]\ninterdigit = 60')
    async with running(redis_url, tmp_path / "data", agents=agents, model=ModelServer(tls=tls)) as app:
        yield app


def warming() -> bool:
    return any(task.get_name() == "warm model" for task in asyncio.all_tasks())


async def talked(relay: Running, call: Caller) -> None:
    """A turn, after which the endpoint closes what is idle."""
    await call.say("Hello?")
    await call.reply()
    await eventually(lambda: not warming())
    relay.model.close_idle()
    await eventually(lambda: relay.model.open == 0)


async def connection_of(relay: Running, call: Caller, words: str) -> int:
    """Which connection the request of these words came by."""
    await call.send(Prompt(words, "en-US"))
    return (await relay.model.received(2)).connection


@pytest.mark.parametrize("sign", SIGNS, ids=["speech", "partial prompt", "key"])
async def test_a_sign_of_the_caller_opens_connections(relay: Running, sign: Incoming) -> None:
    """Once the caller is heard two are opened; the turn that follows takes one of them and opens none."""
    async with Caller(relay.url, pace=FAST) as call:
        await talked(relay, call)
        await call.send(sign)
        await eventually(lambda: relay.model.open == 2 and not warming())
        opened = relay.model.connections
        assert await connection_of(relay, call, "Is it free?") <= opened


async def test_a_turn_nothing_foretold_opens_its_own(relay: Running) -> None:
    """What the test above would see if nothing were opened ahead."""
    async with Caller(relay.url, pace=FAST) as call:
        await talked(relay, call)
        opened = relay.model.connections
        assert await connection_of(relay, call, "Is it free?") > opened
