"""Who may add to a text conversation: one turn at a time, in the order they came, in whichever processes they are.

``conversation:{id}:lease``   hash: ``holder`` (a token), ``till`` (ms since 1970, by the server's clock), ``epoch`` (of
                              the holder's turn), ``count`` and ``w:{token}`` -> ``number:seen`` of those that wait

A lease is prolonged while its turn goes on, and lost with its process a few seconds later. Where it was lost to another
turn before its own was over, that turn's newer epoch keeps the old one from writing (``history.py``). The epoch is made
by the server that has the conversation, so no clock of ours that is slow can lock a process out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from relay.errors import StoreError, TooManyTurns, TurnTimeout, UnknownConversation
from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import script

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIFE = 6.0  # seconds
POLLS = (0.02, 0.2)  # seconds between two questions whether one's turn has come: the first, and at most
MOST_WAITING = 20  # of one conversation, in one process and in all of them

WAIT, TOO_MANY, UNKNOWN = 0, -1, -2

log = structlog.get_logger()


def lease_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:lease"


@dataclass(frozen=True, slots=True)
class Lease:
    """``epoch``: of the turn that holds it. ``exists``: something was said in the conversation before."""

    epoch: int
    exists: bool


@dataclass(slots=True)
class _Line:
    """Who is at a conversation in this process. ``lock``: is given in the order it was asked for. ``failures``: of the
    first questions. ``left``: set, and another one in its place, as soon as somebody has left."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    failures: int = 0


class Leases:
    """``life``: seconds until a lease whose process has died is another's."""

    def __init__(self, redis: Redis, *, life: float = LIFE, polls: tuple[float, float] = POLLS) -> None:
        self._life = life
        self._polls = polls
        self._lines: dict[str, _Line] = {}
        self._take = script(redis, "lease_take", fenced=False)
        self._leave = script(redis, "lease_leave", fenced=False)

    def __len__(self) -> int:
        return len(self._lines)

    @asynccontextmanager
    async def hold(self, conversation: str, channel: str, *, create: bool, wait: float) -> AsyncIterator[Lease]:
        """Waits for its turn ``wait`` seconds at most. ``create``: the conversation may be a new one.

        Raises TurnTimeout; TooManyTurns, a TurnTimeout, at once; UnknownConversation; StoreError. However it is left,
        the lease is given back; where Redis cannot be told, it runs out."""
        line = self._lines.setdefault(conversation, _Line())
        line.inside += 1
        token = uuid4().hex
        failures = line.failures
        asked = False
        try:
            if line.inside > MOST_WAITING:
                raise TooManyTurns("too many turns of this conversation wait already")
            try:
                async with asyncio.timeout(wait):
                    async with line.lock:  # so that Redis hears of them in the order they came
                        if line.failures != failures:
                            raise StoreError("Redis did not answer the one before")
                        asked = True
                        try:
                            lease = await self._once(conversation, channel, token, create=create)
                        except StoreError:
                            line.failures += 1  # whoever stands behind would find out the same, so much later
                            raise
                    if lease is None:
                        lease = await self._wait(line, conversation, channel, token, create=create)
            except TimeoutError:
                raise TurnTimeout("the turns before this one have taken too long") from None
            renewing = asyncio.create_task(self._renew(conversation, channel, token), name="lease")
            try:
                yield lease
            finally:
                renewing.cancel()
        finally:
            try:
                if asked:
                    await self._give_back(conversation, token)
            finally:  # a cancel may have come meanwhile
                line.left.set()
                line.left = asyncio.Event()
                line.inside -= 1
                if not line.inside and self._lines.get(conversation) is line:
                    del self._lines[conversation]

    async def _wait(self, line: _Line, conversation: str, channel: str, token: str, *, create: bool) -> Lease:
        """Asks again from time to time, which keeps the place in the line, and when somebody here has left it."""
        pause, longest = self._polls
        left = line.left
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await left.wait()
            left = line.left  # who leaves while it is asked may be missed by the answer
            if (lease := await self._once(conversation, channel, token, create=create)) is not None:
                return lease
            pause = min(longest, pause * 1.5)

    async def _once(self, conversation: str, channel: str, token: str, *, create: bool) -> Lease | None:
        life = int(self._life * 1000)
        # A waiter whose process has died is passed over as soon as a holder would be.
        args = [token, life, life, MOST_WAITING, channel, int(create)]
        with translate():
            answer = await self._take(keys=[lease_key(conversation), state_key(conversation)], args=args)
        if isinstance(answer, list):
            return Lease(int(answer[0]), bool(answer[1]))
        if answer == TOO_MANY:
            raise TooManyTurns("too many turns of this conversation wait already")
        if answer == UNKNOWN:
            raise UnknownConversation("there is no such conversation")
        return None

    async def _renew(self, conversation: str, channel: str, token: str) -> None:
        """Asked again, the script prolongs what is held. Lost to another turn, it is not taken again."""
        while True:
            await asyncio.sleep(self._life / 3)
            try:
                if await self._once(conversation, channel, token, create=True) is None:
                    log.warning("lease lost", conversation=conversation)
                    await self._give_back(conversation, token)  # asking has made it wait in the line
                    return
            except (StoreError, TurnTimeout, UnknownConversation) as error:
                log.warning("lease not prolonged", conversation=conversation, code=error.code)

    async def _give_back(self, conversation: str, token: str) -> None:
        """To its end, a cancel or not: others wait for it, and Redis has a deadline."""
        giving = asyncio.create_task(self._tell_left(conversation, token), name="lease given back")
        try:
            await asyncio.wait([giving])
        finally:
            if not giving.done():
                await asyncio.wait([giving])

    async def _tell_left(self, conversation: str, token: str) -> None:
        try:
            with translate():
                await self._leave(keys=[lease_key(conversation)], args=[token])
        except StoreError as error:
            log.warning("lease not given back", conversation=conversation, code=error.code)


__all__ = ["Lease", "Leases", "lease_key"]
