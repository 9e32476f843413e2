"""The master of a service, as its Sentinels know it.

Every new connection asks them, and one is new after every error: also after the answer of a server that takes no
writes any more (``connections.py``). So the first command after a failover that fails is the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from relay.store.connections import MasterConnection, MasterTlsConnection, Node, Ways, first, tried_once

OF_SENTINELS = "sentinel_"
"""What the names of options begin with that are the Sentinels' own: they may have other passwords than the master."""


class Sentinels(Sentinel):
    """Asked all at once, so that those that are down cost nothing."""

    def __init__(self, nodes: Sequence[Node], ways: Ways) -> None:
        theirs = {
            name.removeprefix(OF_SENTINELS): value
            for name, value in ways.options.items()
            if name.startswith((OF_SENTINELS, "ssl_"))
        }
        options: dict[str, Any] = {**tried_once(), **theirs, "ssl": ways.tls}
        super().__init__(nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> Node:
        async def ask(sentinel: Redis) -> Node | None:
            # Not the list of masters, as the library has it: until a failover is all over it names the old one.
            found: Any = await sentinel.sentinel_get_master_addr_by_name(service_name)
            return found and (found[0].decode(), int(found[1]))

        found = await first(ask(sentinel) for sentinel in self.sentinels)
        if found is None:
            raise MasterNotFoundError("no Sentinel knows a master of this service")
        return found


class MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the service's master, whoever that is; closes those to the Sentinels with its own."""

    def __init__(self, service: str, sentinels: Sentinels, ways: Ways) -> None:
        kind = MasterTlsConnection if ways.tls else MasterConnection
        own = {name: value for name, value in ways.pooled().items() if not name.startswith(OF_SENTINELS)}
        super().__init__(service, sentinels, connection_class=kind, **own)  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def master_of(sentinels: Sequence[Node], service: str, ways: Ways) -> Redis:
    """A client of the service's master."""
    return Redis.from_pool(MasterPool(service, Sentinels(sentinels, ways), ways))


__all__ = ["master_of"]
