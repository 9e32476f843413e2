"""A history that tests can watch and hold back, and short words for what they put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from relay.conversations import Conversations
from relay.items import AssistantItem, Item, UserItem, load_item
from relay.store.history import History, Loaded
from relay.writer import ConversationWriter, Pace

CALL = "CA0123"
QUICK = Pace(open_reply=60.0, backoff=(0.01, 0.02))  # an open reply is never due by itself within a test

PATIENT = Pace(open_reply=60.0, backoff=(60.0, 60.0))  # nothing is tried again within a test


class WatchedHistory(History):
    """Keeps what was put, holds puts back while the gate is closed, and loads nothing while it is away."""

    def __init__(self, redis: Redis, ttl: float = 60) -> None:
        super().__init__(redis, ttl)
        self.puts: list[list[tuple[int, Item | None]]] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    async def load(self, conversation: str, epoch: int) -> Loaded:
        if self.away:
            await asyncio.Event().wait()
        return await super().load(conversation, epoch)

    async def put(
        self,
        conversation: str,
        epoch: int,
        entries: Sequence[tuple[int, bytes]],
        state: Mapping[str, str] | None = None,
        *,
        mark: str = "",
        after: str = "",
    ) -> None:
        self.puts.append([(position, load_item(raw) if raw else None) for position, raw in entries])
        self.waiting.set()
        await self.gate.wait()
        await super().put(conversation, epoch, entries, state, mark=mark, after=after)


async def session(conversations: Conversations, epoch: int, conversation: str = CALL) -> ConversationWriter:
    writer = conversations.open(conversation, epoch)
    await writer.prepare(1)
    return writer


async def written(writer: ConversationWriter) -> None:
    """Waits without hurrying the writer, as ``flush`` would."""
    async with asyncio.timeout(20):
        while writer.pending:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def items(redis: Redis, conversation: str = CALL) -> list[Item]:
    """What the next session would find, unrepaired."""
    return [item for _, item in (await History(redis, 60).load(conversation, 1 << 40)).entries]


def hi(number: int) -> UserItem:
    return UserItem(f"words {number}")


def reply(text: str, heard: int = 0) -> AssistantItem:
    return AssistantItem(text, "open", heard=heard)
