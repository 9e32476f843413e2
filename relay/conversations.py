"""The process' memory of its conversations: who writes each, what a dropped call left, and the last flush."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from relay.errors import Fenced
from relay.items import ToolItem
from relay.store.history import HistoryStore
from relay.writer import USUAL_PACE, ConversationWriter, Pace, epoch_ms

log = structlog.get_logger()


class Conversations:
    """The process' conversations: one writer each, the newest session's.

    After its session has left a conversation is remembered for ``keep`` seconds, and until it is written; of those at
    most ``limit``, the oldest going first. For as long the session may come back on another socket, in any process.
    """

    def __init__(
        self,
        history: HistoryStore,
        *,
        keep: float = 60.0,
        limit: int = 2000,
        pace: Pace = USUAL_PACE,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._history = history
        self._keep = keep
        self._limit = limit
        self._pace = pace
        self._now_ms = now_ms
        self._writers: dict[str, ConversationWriter] = {}
        self._kept: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._writers)

    def open(
        self,
        conversation: str,
        epoch: int,
        *,
        session: str | None = None,
        on_fenced: Callable[[], None] | None = None,
        on_late: Callable[[ToolItem], None] | None = None,
    ) -> ConversationWriter:
        """The writer of a new session, to be prepared. An older session of the conversation in this process is fenced
        at once, and what it left is taken over. Raises Fenced if this session is the older one.

        ``session``: Twilio's name for it. Another socket of a session is a new one by the same name.
        """
        older = self._writers.get(conversation)
        if older is not None and older.epoch > epoch:
            raise Fenced("a newer session of this conversation is open in this process")
        self._unkeep(conversation)
        writer = ConversationWriter(
            self._history,
            conversation,
            epoch,
            session=session,
            spawn=self._spawn,
            on_fenced=on_fenced,
            on_late=on_late,
            predecessor=older,
            pace=self._pace,
            now_ms=self._now_ms,
        )
        self._writers[conversation] = writer
        return writer

    def release(self, writer: ConversationWriter) -> None:
        """The writer's session has ended; repeated calls change nothing."""
        conversation = writer.conversation
        writer.leave()
        if self._writers.get(conversation) is not writer or conversation in self._kept:
            return
        if writer.over:
            del self._writers[conversation]
            writer.let_go()
            return
        self._keep_on(conversation)
        while len(self._kept) > self._limit:
            # The oldest that is written; only when Redis has been away for very long is there none.
            oldest = next((name for name in self._kept if not self._writers[name].pending), next(iter(self._kept)))
            self._forget(oldest)

    def noted(self, conversation: str) -> Mapping[str, str]:
        """What sessions of this process have noted of the conversation, as long as it is remembered here."""
        writer = self._writers.get(conversation)
        return {} if writer is None else dict(writer.noted)

    def known_here(self, conversation: str, session: str) -> bool | None:
        """Whether the session may come back: its socket is open or was lost lately, and it has not ended. None if this
        process cannot tell."""
        writer = self._writers.get(conversation)
        if writer is None or writer.over or writer.session != session:
            return None
        if writer.ended:
            return False
        return self._lately(writer.lost_ms) or None  # it may have come back elsewhere since

    async def known_to_store(self, conversation: str, session: str) -> bool | None:
        """The same, as Redis knows it. Raises StoreError. Claims nothing."""
        name, lost_ms = await self._history.session(conversation)
        return None if name is None else name == session and self._lately(lost_ms)

    def _lately(self, lost_ms: int) -> bool:
        return not lost_ms or self._now_ms() - lost_ms <= self._keep * 1000

    async def close(self, timeout: float) -> int:
        """Writes everything within ``timeout`` seconds and forgets it. How many conversations could not be written."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        for writer in self._writers.values():
            writer.leave()
            writer.hurry()
        # A result that comes meanwhile begins another task.
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        self._closed = True
        unwritten = sum(writer.pending for writer in self._writers.values())
        for conversation in [*self._writers]:
            self._unkeep(conversation)
            writer = self._writers.pop(conversation)
            writer.close()
            writer.let_go()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Again, if need be: before Python 3.12 wait_for(), which the client writes under, can swallow a cancel.
            await asyncio.wait(self._tasks, timeout=0.1)
        return unwritten

    def _keep_on(self, conversation: str) -> None:
        loop = asyncio.get_running_loop()
        self._kept[conversation] = loop.call_later(self._keep, self._expire, conversation)

    def _unkeep(self, conversation: str) -> None:
        handle = self._kept.pop(conversation, None)
        if handle is not None:
            handle.cancel()

    def _expire(self, conversation: str) -> None:
        if self._writers[conversation].pending:
            self._keep_on(conversation)
        else:
            self._forget(conversation)

    def _forget(self, conversation: str) -> None:
        self._unkeep(conversation)
        writer = self._writers.pop(conversation)
        writer.let_go()
        if writer.pending:
            log.error("history lost: too many conversations wait for Redis", conversation=conversation)
            writer.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._closed:
            coroutine.close()
            return None
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("history writer failed", task=task.get_name(), exc_info=error)


__all__ = ["Conversations"]
