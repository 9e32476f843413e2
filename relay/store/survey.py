"""What kind of server Redis is, for whoever looks for what is wrong with it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, ResponseError

from relay.errors import StoreError
from relay.store.checking import eviction_policy
from relay.store.client import translate

Why = Literal["access", "refused", "late", "tls", "other"]


@dataclass(frozen=True, slots=True)
class Survey:
    """``policy`` "" where the server does not tell it. ``limited``: whether its memory has a limit."""

    version: tuple[int, ...]
    policy: str
    limited: bool

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


async def survey(redis: Redis, *, tries: int = 3) -> Survey:
    """Raises StoreError. A server that is late is asked again: who looks for what is wrong may be busy itself."""
    for _ in range(tries - 1):
        try:
            return await _survey(redis)
        except StoreError as error:
            if why(error) != "late":
                raise
    return await _survey(redis)


async def _survey(redis: Redis) -> Survey:
    with translate():
        server: Mapping[str, Any] = await redis.info("server")
        memory: Mapping[str, Any] = await redis.info("memory")
    version = tuple(int(part) for part in str(server.get("redis_version", "")).split(".") if part.isdecimal())
    policy = await eviction_policy(redis)
    return Survey(version, policy, bool(memory.get("maxmemory", 0)))


def why(error: StoreError) -> Why:
    """What was wrong, from what the client raised."""
    cause: BaseException | None = error.__cause__
    while cause is not None:
        if isinstance(cause, (AuthenticationError, AuthorizationError, NoPermissionError)):
            return "access"
        if isinstance(cause, ResponseError):
            return "access" if str(cause).startswith(("NOAUTH", "WRONGPASS", "NOPERM")) else "other"
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, ConnectionRefusedError):
            return "refused"
        if isinstance(cause, TimeoutError):
            return "late"
        cause = cause.__cause__ or cause.__context__
    return "late" if "Timeout" in str(error) else "other"
