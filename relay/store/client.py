"""The Redis client: one try, short deadlines, errors of ours; for one server, for Sentinels and for a Cluster.

    redis://user:password@host:6379/0                        rediss:// with TLS
    unix:///path
    redis+sentinel://user:password@host:26379,host:26379/SERVICE/0        rediss+sentinel://
    redis+cluster://user:password@host:7000,host:7001                     rediss+cluster://

User and password are the server's own; the Sentinels' are ``?sentinel_username=`` and ``sentinel_password=``. What else
may stand behind the ``?`` is redis-py's (``ssl_ca_certs``, ``ssl_check_hostname``, ``health_check_interval`` ...).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from relay.errors import ConfigError, StoreError
from relay.store.cluster import Cluster
from relay.store.connections import DEADLINE, Node, UnixConnection, Ways
from relay.store.sentinel import master_of

STORED_WITHIN = 0.6
"""Seconds that a webhook waits for what it has to store: what is answered later than a second may be given up."""

REDIS_PORT, SENTINEL_PORT = 6379, 26379


def connect(url: str, *, connections: int = 50) -> Redis:
    """A client for a URL as above; bytes in, bytes out. Connects when first used.

    A command is tried once and fails within a few times ``DEADLINE``. Who calls decides what may be tried again. The
    client finds a new master, and where a slot has gone, by itself: the next command succeeds. ``connections``: the
    most to a server. Close it with ``aclose()``. Raises ConfigError where the URL has an option that nobody knows.
    """
    try:
        client = _client(urlsplit(url), url, connections)
        client.connection_pool.make_connection()  # nothing is connected: this only takes the options
    except (TypeError, ValueError, RedisError) as error:
        raise ConfigError([f"REDIS_URL has an option that cannot be used: {error}"]) from None
    return client


def _client(parts: SplitResult, url: str, connections: int) -> Redis:
    kind, _, group = parts.scheme.partition("+")
    tls = kind == "rediss"
    if not group:
        options: dict[str, Any] = dict(parse_url(url))
        options.pop("connection_class", None)
        ways = Ways(tls, connections, options)
        return Redis.from_pool(ways.pool(UnixConnection if kind == "unix" else None))
    access, _, places = parts.netloc.rpartition("@")
    _, service, *database = f"{parts.path}//".split("/")
    options = dict(parse_url(f"redis://{access}@any/{database[0]}?{parts.query}"))
    del options["host"]
    ways = Ways(tls, connections, options)
    if group == "sentinel":
        return master_of(_nodes(places, SENTINEL_PORT), service, ways)
    if options.pop("db", 0):
        raise ValueError("a Cluster has no databases")
    return Cluster(_nodes(places, REDIS_PORT), ways)


def _nodes(places: str, port: int) -> list[Node]:
    named = (urlsplit(f"//{place}") for place in places.split(","))
    return [(each.hostname or "", each.port or port) for each in named]


@contextmanager
def translate() -> Iterator[None]:
    """Turns whatever the client raises into ``StoreError``, which names the kind of error and never a key or value.

    On Python 3.11 the client can swallow the cancel of a task (``asyncio.wait_for`` hands on the result of an inner
    task that has just ended): it is raised anew here.
    """
    task = asyncio.current_task()
    cancels = task.cancelling() if task is not None else 0
    try:
        yield
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"Redis: {type(error).__name__}") from error


__all__ = ["DEADLINE", "STORED_WITHIN", "connect", "translate"]
