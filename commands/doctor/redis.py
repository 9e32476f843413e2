"""Redis: reachable, new enough, and never throwing anything away by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from commands.doctor.finding import Finding, failed, ok, warning
from relay.errors import ConfigError, StoreError
from relay.store.client import connect
from relay.store.embedded import EmbeddedRedis
from relay.store.server import OLDEST
from relay.store.survey import Survey, survey, why

NOEVICTION = "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in its settings or the provider's console."


async def look_at_own(url: str) -> Finding:
    """The server of REDIS_URL."""
    where = urlsplit(url)
    host = where.netloc.rpartition("@")[2] or where.path
    try:
        client = connect(url, connections=2)
    except ConfigError as error:
        return failed(" ".join(error.problems), "Correct REDIS_URL.")
    try:
        return _judged(await survey(client), f"at {host}")
    except StoreError as error:
        return _away(error, host)
    finally:
        await client.aclose()


async def look_at_embedded(data_dir: Path, platform: str) -> Finding:
    """The server of DATA_DIR: the one a running relay uses, or one for the moment. ``platform``: one that may run us on
    several machines, "" for none."""
    try:
        # Neither start nor close waits long, and a cancel would leave the server to whoever comes next.
        embedded = await asyncio.to_thread(EmbeddedRedis.start, data_dir)
    except ConfigError as error:
        return failed(" ".join(error.problems), "Set REDIS_URL, or mend what it says.")
    try:
        finding = await look_at_own(embedded.url)
    finally:
        await asyncio.to_thread(embedded.close)
    if finding.status == "ok" and platform:
        return warning(
            f"The embedded server is used, which each machine of {platform} has for itself.",
            "Set REDIS_URL before there is more than one machine: calls, people and tickets are in Redis.",
        )
    return ok(f"{finding.detail} Embedded, in {data_dir}.") if finding.status == "ok" else finding


def _judged(found: Survey, where: str) -> Finding:
    if found.version < OLDEST:
        oldest = ".".join(map(str, OLDEST[:2]))
        return failed(f"Redis {found} {where} is older than {oldest}.", f"Update it to {oldest} or newer.")
    if found.policy not in ("noeviction", ""):
        if found.limited:
            return failed(f"Redis {where} throws entries away when its memory is full ({found.policy}).", NOEVICTION)
        return warning(f"Redis {where} would throw entries away under a limit of memory ({found.policy}).", NOEVICTION)
    return ok(f"Redis {found} {where}.")


def _away(error: StoreError, host: str) -> Finding:
    match why(error):
        case "access":
            return failed(f"Redis at {host} does not take user and password.", "Correct them in REDIS_URL.")
        case "refused":
            return failed(f"Nothing listens at {host}.", "Start it (redis-server), or correct REDIS_URL.")
        case "late":
            return failed(f"Redis at {host} did not answer within half a second.", "Look at its load and the network.")
        case "tls":
            return failed(f"TLS with Redis at {host} fails.", "rediss:// is for servers with TLS, redis:// for others.")
    return failed(f"Redis at {host} cannot be asked ({error}).", "Check REDIS_URL.")
