"""Delivering reports over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from channels.reports import HttpReports, sign
from relay.errors import ChannelRejected, ChannelUnavailable
from tests.fakes.report_server import SECRET, ReportServer, report_server

BODY = b'{"call_sid":"CA1"}'


@pytest.fixture
async def server() -> AsyncIterator[ReportServer]:
    async with report_server() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as http:
        yield http


def test_a_signature_that_others_can_check() -> None:
    """HMAC-SHA256 of the raw body, as the standard library of any language makes it."""
    assert sign("key", b"The quick brown fox jumps over the lazy dog") == (
        "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    )


async def test_a_report_arrives_signed(server: ReportServer, http: ClientSession) -> None:
    """The bytes as they are, as JSON."""
    await HttpReports(http, server.url, SECRET).send(BODY)
    [delivered] = server.received
    assert (delivered.body, delivered.content_type, delivered.signed) == (BODY, "application/json", True)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
async def test_a_report_that_is_refused(server: ReportServer, http: ClientSession, status: int) -> None:
    """The status is told, and nothing of the report."""
    server.answers = [status]
    with pytest.raises(ChannelRejected) as refused:
        await HttpReports(http, server.url, SECRET).send(BODY)
    assert refused.value.status == status
    assert "CA1" not in str(refused.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_server_that_cannot_take_it_now(server: ReportServer, http: ClientSession, status: int) -> None:
    """It may be delivered later."""
    server.answers = [status]
    with pytest.raises(ChannelUnavailable):
        await HttpReports(http, server.url, SECRET).send(BODY)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(server: ReportServer, http: ClientSession, status: int) -> None:
    """What a caller said goes to the address that was set, and to no other."""
    server.answers = [status]
    with pytest.raises(ChannelRejected):
        await HttpReports(http, server.url, SECRET).send(BODY)
    assert server.elsewhere == 0


async def test_a_server_that_does_not_answer(server: ReportServer, http: ClientSession) -> None:
    """It is waited for until the deadline; one that is not there not at all."""
    server.held = asyncio.Event()
    with pytest.raises(ChannelUnavailable):
        await HttpReports(http, server.url, SECRET, deadline=0.05).send(BODY)
    server.held.set()
    with pytest.raises(ChannelUnavailable):
        await HttpReports(http, "http://127.0.0.1:9/", SECRET).send(BODY)
