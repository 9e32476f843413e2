"""Orders to the process that holds a conversation, and its answers.

``commands:{worker}``   pub/sub channel of one process. A request is ``{"v": 1, "request": id, "from": worker,
                        "conversation", "action", "fields": {}}``, its answer, on the channel of who asked, ``{"v": 1,
                        "answer": id, "result"}``.

Nothing is kept: an order reaches its process within the deadline or nobody carries it out. Where the answer is lost it
may have been carried out all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import structlog

from relay.errors import StoreError
from relay.jobs import Jobs
from relay.store.client import translate
from relay.store.history import state_key
from relay.store.scripts import text
from relay.store.subscription import Subscription

if TYPE_CHECKING:
    from redis.asyncio import Redis

VERSION = 1
ANSWER_WITHIN = 1.0  # seconds
MOST_ANSWERS = 100  # that are on their way at once; more orders than that are not answered

CarryOut = Callable[[str, str, Mapping[str, Any]], str | None]
"""(conversation, action, fields) -> the result, None where the conversation is not here. It does not wait."""

log = structlog.get_logger(__name__)


async def _nowhere(conversation: str) -> str:
    return ""


def channel_of(worker: str) -> str:
    return f"commands:{worker}"


class Commands:
    """One a process, by the name ``worker``. ``carry_out``: does here what another process asks for. ``socket_of``: the
    process that has the socket of a chat, "" for none; it raises StoreError."""

    def __init__(
        self,
        redis: Redis,
        worker: str,
        subscription: Subscription,
        carry_out: CarryOut,
        *,
        socket_of: Callable[[str], Awaitable[str]] = _nowhere,
        within: float = ANSWER_WITHIN,
    ) -> None:
        self._redis = redis
        self._worker = worker
        self._carry_out = carry_out
        self._socket_of = socket_of
        self._within = within
        self._asked: dict[str, asyncio.Future[str | None]] = {}
        self._answers = Jobs(MOST_ANSWERS)
        subscription.on(channel_of(worker), self._take)

    async def holder(self, conversation: str) -> str:
        """The process whose session, or socket, has the conversation; "" where none has. Raises StoreError."""
        if holder := await self._socket_of(conversation):
            return holder
        with translate():
            found = await self._redis.hmget(state_key(conversation), ["worker", "left", "epoch"])
        worker, left, epoch = (None if value is None else text(value) for value in found)
        return worker or "" if left != epoch else ""

    async def ask(self, worker: str, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None:
        """Has that process carry it out. The result; None where it has not the conversation. Raises StoreError where no
        answer comes in time: then, as after a cancel, it may have been carried out."""
        number = uuid4().hex
        request = {"v": VERSION, "request": number, "from": self._worker}
        request |= {"conversation": conversation, "action": action, "fields": fields}
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            with translate():
                async with asyncio.timeout(self._within):
                    await self._redis.publish(channel_of(worker), orjson.dumps(request))
                    return await answer
        finally:
            del self._asked[number]

    async def close(self) -> None:
        await self._answers.drain(self._within)

    def _take(self, data: bytes) -> None:
        """A message of another process; what is not understood is another release's."""
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError:
            message = None
        match message:
            case {"v": int(version)} if version > VERSION:
                log.warning("an order of a newer release", version=version)
            case {"answer": str(number), "result": str() | None as result}:
                waiting = self._asked.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(result)
            case {
                "request": str(number),
                "from": str(asker),
                "conversation": str(conversation),
                "action": str(action),
                "fields": dict(fields),
            }:
                result = self._carry_out(conversation, action, fields)
                answer = {"v": VERSION, "answer": number, "result": result}
                self._answers.start(self._answer(channel_of(asker), answer), f"answer {action} {conversation}")
            case _:
                log.warning("an order that cannot be read")

    async def _answer(self, channel: str, answer: Mapping[str, Any]) -> None:
        try:
            with translate():
                await self._redis.publish(channel, orjson.dumps(answer))
        except StoreError as error:
            log.warning("an order's answer is lost", code=error.code)


__all__ = ["CarryOut", "Commands", "channel_of"]
