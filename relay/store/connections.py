"""Connections to a Redis server: one try, short deadlines, and none to a server that has become a replica.

How a URL reads is in ``client.py``; who is connected to, in ``sentinel.py`` and ``cluster.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, ResponseError

DEADLINE = 0.5
"""Seconds for a connect, for a reply and for a free connection, each."""

T = TypeVar("T")
Node = tuple[str, int]


class _Leaving(AbstractConnection):
    """Leaves a server that takes no writes, so that the next command asks anew where the master is."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            # Before Redis 7 a script's error has this one's name in the middle of it.
            if not isinstance(error, ReadOnlyError) and "-READONLY" not in str(error):
                raise
            await self.disconnect()
            raise ConnectionError("the server has become a replica") from error


class TcpConnection(_Leaving, Connection):
    pass


class TlsConnection(_Leaving, SSLConnection):
    pass


class UnixConnection(_Leaving, UnixDomainSocketConnection):
    pass


class MasterConnection(_Leaving, SentinelManagedConnection):
    pass


class MasterTlsConnection(_Leaving, SentinelManagedSSLConnection):
    pass


@dataclass(frozen=True, slots=True)
class Ways:
    """How connections are made: ``options`` go to each, ``connections`` is the most of a pool."""

    tls: bool
    connections: int
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    def pool(self, kind: type[AbstractConnection] | None = None, **more: Any) -> BlockingConnectionPool:
        """Connects when first used; who finds no connection free waits for ``DEADLINE``."""
        return BlockingConnectionPool(
            connection_class=kind or (TlsConnection if self.tls else TcpConnection),
            **self.pooled(),
            **more,
        )

    def pooled(self) -> dict[str, Any]:
        """What a blocking pool takes."""
        own = {"max_connections": self.connections, "timeout": DEADLINE}
        return own | tried_once() | self.options


def tried_once() -> dict[str, Any]:
    """Options of a connection on which nothing is tried again: the library's own wait 3.7 s on a refused and over 40 s
    on a silent server."""
    return {
        "socket_timeout": DEADLINE,
        "socket_connect_timeout": DEADLINE,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,  # two commands fewer at every connect
    }


async def first(questions: Iterable[Coroutine[Any, Any, T | None]]) -> T | None:
    """Asks all at once: the first answer that is one, None where nobody has one. Who has not answered by then is not
    waited for. A cancel ends all of them."""
    asked = {asyncio.create_task(question, name="redis question") for question in questions}
    pending = asked
    try:
        while pending:
            answered, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in answered:
                try:
                    answer = task.result()
                except (RedisError, OSError):
                    continue
                if answer is not None:
                    return answer
        return None
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


__all__ = [
    "DEADLINE",
    "MasterConnection",
    "MasterTlsConnection",
    "Node",
    "UnixConnection",
    "Ways",
    "first",
    "tried_once",
]
