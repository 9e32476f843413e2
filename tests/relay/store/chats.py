"""The log of chats as a process has it, and who follows a conversation there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from relay.store.chat_log import ChatLog
from relay.store.subscription import Subscription
from tests.calls.checks import eventually

CHAT, OTHER = "chat-1", "chat-2"


class Process:
    """The log as one process has it, and how many frames it has lost."""

    def __init__(self, redis: Redis, **options: Any) -> None:
        self.lost = 0
        settings = {"ttl": 60.0, "window": 0.005, "patience": (0.005,), **options}
        self.log = ChatLog(redis, lost=self._lose, **settings)
        self.subscription = Subscription(redis, again=(0.01, 0.05))
        self.log.listen(self.subscription)

    def _lose(self, count: int) -> None:
        self.lost += count

    def add(self, *numbers: int, ends: bool = False, conversation: str = CHAT) -> None:
        """Frames with these numbers; ``ends``: the last of them ends its turn."""
        for number in numbers:
            self.log.add(conversation, number, frame(number), ends=ends and number == numbers[-1])

    async def turn(self, frames: int, *, conversation: str = CHAT) -> list[int]:
        """A whole turn, written; the numbers of its frames."""
        first = await self.log.begin(conversation) + 1
        numbers = [*range(first, first + frames)]
        self.add(*numbers, ends=True, conversation=conversation)
        await self.log.flush(conversation)
        return numbers


def frame(number: int) -> bytes:
    return b'{"type":"delta","seq":%d}' % number


def frames(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, frame(number)) for number in numbers]


@asynccontextmanager
async def process(
    redis: Redis, *, listens: bool = False, patient: float = 2.0, **options: Any
) -> AsyncIterator[Process]:
    made = Process(redis, **options)
    made.log.start()
    if listens:
        made.subscription.start()
        await eventually(lambda: made.subscription.listening, 5)
    yield made
    await made.subscription.close()
    await made.log.close(patient)


class Client:
    """Who follows a conversation."""

    def __init__(self, process: Process, after: int, conversation: str = CHAT) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.told_lost = 0
        self.unfollow = process.log.follow(conversation, after, self._take, self._lost)

    def _take(self, seq: int, frame: bytes) -> None:
        self.seen.append((seq, frame))

    def _lost(self) -> None:
        self.told_lost += 1

    async def sees(self, *numbers: int) -> None:
        await eventually(lambda: len(self.seen) >= len(numbers) or self.told_lost, 5)
        assert (self.seen, self.told_lost) == (frames(*numbers), 0)
