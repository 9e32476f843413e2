"""Which visitors of the live chat are here, and on which socket.

``chat:{visitor}``    hash: the live socket, ``<process>/<chance>`` -> when it is over unless renewed (ms since 1970, by
                      Redis's clock); the key is gone by then too, so nothing is left of a process that was killed

A visitor has one socket, the newest: the one before it is told, in whichever process it is, as that one enters. Where
nobody could be told, it learns when it renews. Without Redis only sockets of the same process replace each other.
A socket that is nobody's, and has a conversation to itself, goes by the name of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from relay.store.batch import Batch
from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import script, text
from relay.store.subscription import Subscription

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIVES = 55.0  # seconds after it was renewed that a socket counts as living: two pings may be late
CHANNEL = "chats replaced"
"""The channel on which sockets that were replaced are named, a line each."""

PERSON = "chat:"
"""What the id of a visitor as a person begins with."""


def sockets_key(visitor: str) -> str:
    return f"chat:{{{visitor}}}"


class Presence:
    """One a process, by the name ``worker``. ``lives``: seconds. Every coroutine raises StoreError; a cancel leaves it
    done or not."""

    def __init__(self, redis: Redis, *, worker: str = "", lives: float = LIVES) -> None:
        self._redis = redis
        self._worker = worker
        self._lives_ms = int(lives * 1000)
        self._enter = Batch(redis, script(redis, "chat_enter", fenced=False))
        self._renew = Batch(redis, script(redis, "chat_renew", fenced=False))
        self._here: dict[str, Callable[[], object]] = {}  # sockets -> what tells them that they were replaced
        self._newest: dict[str, str] = {}  # visitors -> sockets

    def __len__(self) -> int:
        """Sockets of this process."""
        return len(self._here)

    def listen(self, subscription: Subscription) -> None:
        """Sockets of this process learn what other processes have replaced."""
        subscription.on(CHANNEL, self._replaced)

    def new_socket(self) -> str:
        """A name that no other has."""
        return f"{self._worker}/{uuid4().hex}"

    async def holder(self, conversation: str) -> str:
        """The process that has the socket of whom this conversation is with; "" for none, and as long as nothing was
        answered in it."""
        with translate():
            person = text(await self._redis.hget(state_key(conversation), "person") or "")
            visitor = person.removeprefix(PERSON) if person.startswith(PERSON) else conversation
            sockets = await self._redis.hkeys(sockets_key(visitor))
        return next((text(each).rpartition("/")[0] for each in sockets), "")

    async def enter(self, visitor: str, socket: str, replaced: Callable[[], object]) -> None:
        """A socket (``new_socket``) of the visitor is here from now on, whether or not Redis takes it; until
        ``leave``, which follows in any case. ``replaced`` is called once a newer one is; it must not wait."""
        before = self._newest.get(visitor)
        self._here[socket], self._newest[visitor] = replaced, socket
        if before is not None and before != socket:
            self._tell(before)
        with translate():
            await self._enter(keys=[sockets_key(visitor)], args=[socket, self._lives_ms, CHANNEL])

    async def renew(self, visitor: str, socket: str) -> bool:
        """It is still here: to be called with every ping. False where a newer one has replaced it."""
        with translate():
            return bool(await self._renew(keys=[sockets_key(visitor)], args=[socket, self._lives_ms]))

    async def leave(self, visitor: str, socket: str) -> None:
        """It is gone from this process at once, and from Redis where that answers."""
        self._here.pop(socket, None)
        if self._newest.get(visitor) == socket:
            del self._newest[visitor]
        with translate():
            await self._redis.hdel(sockets_key(visitor), socket)

    async def forget(self, person: str) -> int:
        """As ``relay.store.forgetting.Forgetter``. A socket that is still open comes back when it renews."""
        if not person.startswith(PERSON):
            return 0
        with translate():
            return int(await self._redis.delete(sockets_key(person.removeprefix(PERSON))))

    def _replaced(self, data: bytes) -> None:
        for socket in data.decode().split("\n"):
            self._tell(socket)

    def _tell(self, socket: str) -> None:
        """Once: it is still counted until it leaves."""
        if (replaced := self._here.get(socket)) is not None:
            self._here[socket] = _told
            replaced()


def _told() -> None:
    """Stands for a socket that knows."""


__all__ = ["Presence", "sockets_key"]
