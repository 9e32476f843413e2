"""The Redis client: one try, short deadlines, errors of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from relay.errors import StoreError

DEADLINE = 0.5
"""Seconds for a connect, for a reply and for a free connection, each."""


def connect(url: str, *, connections: int = 50) -> Redis:
    """A client for ``redis://``, ``rediss://`` or ``unix://``; bytes in, bytes out. Connects when first used.

    A command is tried once and fails within three times ``DEADLINE``: the library's own defaults wait 3.7 s on a
    refused and over 40 s on a silent server. Who calls decides what may be tried again. Close it with ``aclose()``.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=DEADLINE,
        socket_timeout=DEADLINE,
        socket_connect_timeout=DEADLINE,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # two commands fewer at every connect
    )
    return Redis.from_pool(pool)


@contextmanager
def translate() -> Iterator[None]:
    """Turns whatever the client raises into ``StoreError``, which names the kind of error and never a key or value.

    On Python 3.11 the client can swallow the cancel of a task (``asyncio.wait_for`` hands on the result, or the error,
    of an inner task that has just ended): it is raised anew here.
    """
    task = asyncio.current_task()
    cancels = task.cancelling() if task is not None else 0
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError from error
        raise StoreError(f"Redis: {type(error).__name__}") from error
    if task is not None and task.cancelling() > cancels:
        raise asyncio.CancelledError
