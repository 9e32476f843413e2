"""What every test may use: a real Redis server, and no way out of this machine."""

from __future__ import annotations

import gc
import importlib
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import hypothesis
import pytest
import redis as blocking
from redis.asyncio import Redis

from config.values import CHECKOUT
from relay.store.client import connect
from relay.store.embedded import EmbeddedRedis
from tests.browser.chromium import MISSING
from tests.relay.store.groups import RedisCluster, RedisSentinels, redis_cluster, redis_sentinels
from tests.relay.store.servers import FragileRedis, fragile_redis, patient

# `make test` runs these tests: a make that one of them starts is not to take itself for a part of that one.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)

# A busy machine must not fail an example for its time, and every run tries the same ones.
hypothesis.settings.register_profile("relay", deadline=None, derandomize=True)
hypothesis.settings.load_profile("relay")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What is collected stays: looking for garbage in it would take a third of that time, and more later."""
    gc.disable()
    try:
        compile_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def compile_share(config: pytest.Config) -> None:
    """Where workers share all tests each begins with its share of the modules. What it compiles the others find
    compiled: that takes longer than all other imports, and every worker imports everything."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is None or config.args != config.getini("testpaths"):
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(CHECKOUT.glob("tests/**/test_*.py"))[number::count]:
        try:
            importlib.import_module(".".join(file.relative_to(CHECKOUT).with_suffix("").parts))
        except (Exception, pytest.skip.Exception):  # told where the module is collected
            pass


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out for want of a browser is said, not only counted."""
    if any(MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(MISSING)


def _is_local(address: object) -> bool:
    """A unix socket's path, or an IP address of the loopback."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0]).partition("%")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A test that reaches for another machine fails where it does so."""
    guarding = True

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if not guarding:
            return
        if event in ("socket.connect", "socket.sendto") and not _is_local(arguments[1]):
            raise AssertionError(f"a test must not leave this machine: {arguments[1]}")
        if event == "socket.getaddrinfo" and not _is_local((arguments[0] or "",)):
            raise AssertionError(f"a test must not look up names: {arguments[0]}")

    sys.addaudithook(guard)  # under every library, and it cannot be taken off, hence the switch
    yield
    guarding = False


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded server that lives as long as the test run; what it holds belongs to the test running."""
    embedded = EmbeddedRedis.start(tmp_path_factory.mktemp("data"))
    with blocking.Redis.from_url(embedded.url) as admin:
        admin.config_set("appendfsync", "no")  # what lasts is asked of servers that end
    yield patient(embedded.url)
    embedded.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """A Cluster of three masters that lives as long as the test run."""
    with redis_cluster() as made:
        yield made


@pytest.fixture(scope="session")
def sentinels() -> Iterator[RedisSentinels]:
    """A master with a replica and a Sentinel that live as long as the test run; which is which changes."""
    with redis_sentinels() as made:
        yield made


@pytest.fixture
def fragile() -> Iterator[FragileRedis]:
    with fragile_redis() as server:
        yield server


@pytest.fixture
async def weak(fragile: FragileRedis) -> AsyncIterator[Redis]:
    """A client of a server that the test stops."""
    client = connect(fragile.url)
    yield client
    await client.aclose()
