"""The Redis client: one try, short deadlines, errors of ours."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from relay.errors import ConfigError, StoreError
from relay.store.client import connect, translate
from relay.store.scripts import Script
from tests.fakes.redis_front import redis_front
from tests.relay.store.servers import FragileRedis


async def test_bytes_come_back(redis: Redis) -> None:
    """Replies are bytes."""
    await redis.set("key", "välue")
    assert await redis.get("key") == "välue".encode()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "unix:///nonexistent.sock"])
async def test_refused(url: str) -> None:
    """A refused connection is a StoreError at once, for all three kinds of URL."""
    client = connect(url)
    before = time.monotonic()
    with pytest.raises(StoreError), translate():
        await client.ping()
    assert time.monotonic() - before < 3.5  # the library alone would try for longer
    await client.aclose()


async def test_encrypted(fragile: FragileRedis, tmp_path: Path) -> None:
    """``rediss`` asks for a certificate by somebody it trusts, of the host it calls; the URL says whom to trust."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with redis_front(fragile.url, tls=tls) as front:
        for query, works in (("", False), (f"?ssl_ca_certs={tmp_path / 'ca.pem'}", True)):
            client = connect(front.url + query)
            if works:
                await client.set("key", "value")
            else:
                with pytest.raises(StoreError), translate():
                    await client.ping()
            await client.aclose()
    assert fragile.admin("GET", "key") == b"value"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://127.0.0.1:1/0?sssl_ca_certs=ca.pem", "sssl_ca_certs"),
        ("rediss://127.0.0.1:1/0?ssl_cert_reqs=perhaps", "perhaps"),
        ("redis://127.0.0.1:1/0?socket_timeout=soon", "socket_timeout"),
        ("redis+sentinel://127.0.0.1:1/relay/0?sentinel_pasword=x", "pasword"),
        ("redis+cluster://127.0.0.1:1?sssl=1", "sssl"),
        ("redis+cluster://127.0.0.1:1?db=2", "no databases"),
    ],
)
def test_what_nobody_knows_is_said_at_once(url: str, named: str) -> None:
    """An option of a URL that is none, or cannot have this value, is named before anything is connected."""
    with pytest.raises(ConfigError, match=named):
        connect(url)


async def test_a_server_that_has_become_a_replica_is_left(fragile: FragileRedis) -> None:
    """What it answers to a write, in a script too, ends the connection: by the next one there may be another server
    behind the name."""
    client = connect(fragile.url)
    write = Script(client, "return redis.call('SET', KEYS[1], ARGV[1])")
    await write(keys=["key"], args=["value"])
    before = await client.client_id()
    fragile.admin("REPLICAOF", "127.0.0.1", "1")
    for attempt in (client.set("key", "other"), write(keys=["key"], args=["other"])):
        with pytest.raises(StoreError), translate():
            await attempt
        assert (before, before := await client.client_id())[0] != before
    fragile.admin("REPLICAOF", "NO", "ONE")
    await write(keys=["key"], args=["other"])
    assert await client.get("key") == b"other"
    await client.aclose()


async def test_silent(fragile: FragileRedis) -> None:
    """A server that accepts and does not answer costs one deadline, not several tries."""
    client = connect(fragile.url)
    await client.ping()
    fragile.freeze()
    before = time.monotonic()
    with pytest.raises(StoreError, match="TimeoutError"), translate():
        await client.ping()
    assert 0.4 < time.monotonic() - before < 0.95
    fragile.thaw()
    await client.aclose()


async def test_full_pool(fragile: FragileRedis) -> None:
    """A command beyond the pool's size waits for the deadline, and works once a connection is free."""
    client = connect(fragile.url, connections=1)
    async with client.client():
        before = time.monotonic()
        with pytest.raises(StoreError), translate():
            await client.ping()
        assert time.monotonic() - before > 0.4
    assert await client.ping()
    await client.aclose()


async def test_goes_on_after_an_outage(fragile: FragileRedis) -> None:
    """The same client works again once the server is back."""
    client = connect(fragile.url)
    await client.ping()
    fragile.stop()
    with pytest.raises(StoreError), translate():
        await client.ping()
    fragile.start()
    assert await client.ping()
    await client.aclose()


async def test_error_names_no_value(redis: Redis) -> None:
    """The message says what kind of error it was and repeats nothing of the command."""
    await redis.set("person:+15550100200", "x")
    with pytest.raises(StoreError) as caught, translate():
        await redis.lpush("person:+15550100200", "secret")
    assert str(caught.value) == "Redis: ResponseError"


async def test_cancel_passes() -> None:
    """A cancel is not an error of the store."""
    with pytest.raises(asyncio.CancelledError), translate():
        raise asyncio.CancelledError


@pytest.mark.parametrize("instead", [None, ConnectionResetError("lost"), TimeoutError()])
async def test_a_cancel_that_the_client_swallows_is_raised_anew(instead: Exception | None) -> None:
    """Whether it goes on as if nothing had been, or with an error of its own."""
    begun = asyncio.Event()

    async def command() -> None:
        with translate():
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if instead is not None:
                    raise instead from None

    task = asyncio.create_task(command())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_bugs_pass() -> None:
    """An error of our own is not dressed up as one of the store."""
    with pytest.raises(KeyError), translate():
        raise KeyError("bug")
