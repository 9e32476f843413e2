"""A socket of the live chat is in the registry of all processes as long as it is open (``relay.store.presence``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from relay.errors import StoreError

log = structlog.get_logger(__name__)


class Presence(Protocol):
    """``relay.store.presence.Presence``."""

    def new_socket(self) -> str: ...

    async def enter(self, visitor: str, socket: str, replaced: Callable[[], object], /) -> None: ...

    async def renew(self, visitor: str, socket: str, /) -> bool: ...

    async def leave(self, visitor: str, socket: str, /) -> None: ...


@asynccontextmanager
async def present(
    presence: Presence, visitor: str, replaced: Callable[[], object], *, every: float
) -> AsyncIterator[None]:
    """Other processes know that the visitor is here, by a sign ``every`` so many seconds. Who enters waits for nobody;
    what Redis cannot be told is told with the next sign, and the end not at all: it expires. ``replaced`` is called
    when a newer socket has the visitor."""
    socket = presence.new_socket()
    staying = asyncio.create_task(_stay(presence, visitor, socket, replaced, every), name="chat: present")
    try:
        yield
    finally:
        staying.cancel()
        await asyncio.wait([staying])
        try:
            await presence.leave(visitor, socket)
        except StoreError:
            pass  # it expires


async def _stay(presence: Presence, visitor: str, socket: str, replaced: Callable[[], object], every: float) -> None:
    try:
        await presence.enter(visitor, socket, replaced)
    except StoreError as error:
        log.warning("chat not registered", code=error.code)
    while True:
        await asyncio.sleep(every)
        try:
            if not await presence.renew(visitor, socket):
                replaced()
        except StoreError as error:
            log.warning("chat not registered", code=error.code)


__all__ = ["Presence", "present"]
