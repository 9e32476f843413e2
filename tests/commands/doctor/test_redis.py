"""Redis as an operator may have set it up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.doctor import redis
from relay.store.client import connect
from tests.fakes.old_redis import old_redis
from tests.relay.store.servers import FragileRedis, fragile_redis


@pytest.fixture
def server() -> Iterator[FragileRedis]:
    with fragile_redis() as running:
        yield running


async def configure(server: FragileRedis, **values: str) -> None:
    client = connect(server.url)
    for name, value in values.items():
        await client.config_set(name.replace("_", "-"), value)
    await client.aclose()


async def test_a_good_server(redis_url: str) -> None:
    """Its version is told."""
    finding = await redis.look_at_own(redis_url)
    assert finding.status == "ok" and finding.detail.startswith("Redis ")


async def test_a_server_that_throws_away(server: FragileRedis) -> None:
    """Under a limit it does; without one it only would."""
    await configure(server, maxmemory_policy="allkeys-lru")
    finding = await redis.look_at_own(server.url)
    assert finding.status == "warning" and "(allkeys-lru)" in finding.detail
    await configure(server, maxmemory="100mb")
    finding = await redis.look_at_own(server.url)
    assert finding.status == "failed" and "when its memory is full (allkeys-lru)" in finding.detail
    assert finding.fix.startswith("redis-cli CONFIG SET maxmemory-policy noeviction")


async def test_a_password(server: FragileRedis) -> None:
    """None, or a wrong one; it is not shown."""
    await configure(server, requirepass="right")
    for url in (server.url, server.url.replace("unix://", "unix://:wrong-one@")):
        finding = await redis.look_at_own(url)
        assert finding.status == "failed" and "user and password" in finding.detail and "REDIS_URL" in finding.fix
        assert "wrong-one" not in finding.detail


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """How one is started is said; a password of the URL is not."""
    finding = await redis.look_at_own(f"redis://me:secret@127.0.0.1:{unused_tcp_port}/0")
    assert (finding.status, finding.detail) == ("failed", f"Nothing listens at 127.0.0.1:{unused_tcp_port}.")
    assert "redis-server" in finding.fix


async def test_a_server_that_does_not_answer(server: FragileRedis) -> None:
    """It is given no more time than calls give it."""
    server.freeze()
    finding = await redis.look_at_own(server.url)
    server.thaw()
    assert finding.status == "failed" and "did not answer within half a second" in finding.detail


async def test_an_old_server() -> None:
    """6.2 is the oldest."""
    async with old_redis("6.0.16") as url:
        finding = await redis.look_at_own(url)
    assert finding.status == "failed" and "Redis 6.0.16" in finding.detail and "is older than 6.2" in finding.detail


async def test_no_tls_there(unused_tcp_port: int) -> None:
    """rediss:// at a server that speaks none."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"-ERR Protocol error\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", unused_tcp_port):
        finding = await redis.look_at_own(f"rediss://127.0.0.1:{unused_tcp_port}/0")
    assert finding.status == "failed" and "TLS with Redis" in finding.detail and "rediss://" in finding.fix


async def test_the_embedded_server(tmp_path: Path) -> None:
    """It is started for the moment; on a platform it is one machine's own."""
    assert (await redis.look_at_embedded(tmp_path, "")).status == "ok"
    finding = await redis.look_at_embedded(tmp_path, "Fly")
    assert finding.status == "warning" and "each machine of Fly" in finding.detail and "REDIS_URL" in finding.fix


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """The embedded server does not start, and says why."""
    (tmp_path / "data").write_text("a file")
    finding = await redis.look_at_embedded(tmp_path / "data", "")
    assert finding.status == "failed" and "cannot be used" in finding.detail and "REDIS_URL" in finding.fix
