"""Many conversations' writes on one round trip.

A script called by itself costs this process about 200 us of CPU, most of it on the way through the client; in a
pipeline of ten it costs 25. Writes behind a call can wait the few milliseconds in which others join them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from relay.errors import StoreError
from relay.store.client import translate
from relay.store.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

WINDOW = 0.02  # seconds in which calls join the first
MOST = 100  # calls of one round trip

Call = tuple[list[Any], "asyncio.Future[Any]"]


class Batch:
    """Calls of one script, sent together. A call fails or succeeds by itself, but for the connection they share.

    Calls of one key keep their order only where each waits for the one before. The task that sends lives while calls
    wait for it, and each of these waits for its answer: there is nothing to close.
    """

    def __init__(self, redis: Redis, script: Script, window: float = WINDOW) -> None:
        self._redis = redis
        self._script = script
        self._window = window
        self._waiting: list[Call] = []
        self._task: asyncio.Task[None] | None = None
        self._resting = False

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """The script's answer. Raises StoreError. A cancel leaves it run or not."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = ([len(keys), *keys, *args], answer)
        self._waiting.append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send_all(), name="store batch")
        try:
            return await answer
        except asyncio.CancelledError:
            self._drop(call)
            raise

    def _drop(self, call: Call) -> None:
        """Nobody waits for it any more: it is not sent, and where it was the last nothing is."""
        if call in self._waiting:
            self._waiting.remove(call)
        if self._task is not None and self._resting and not self._waiting:
            self._task.cancel()
            self._task = None

    async def _send_all(self) -> None:
        while self._waiting:
            self._resting = True
            await asyncio.sleep(self._window)
            self._resting = False
            calls, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                with translate():
                    await self._send(calls)
            except Exception as error:
                for _, answer in calls:
                    if not answer.done():
                        # One each: an error that is raised in many places collects all their traces.
                        answer.set_exception(StoreError(str(error)) if isinstance(error, StoreError) else error)

    async def _send(self, calls: list[Call]) -> None:
        answers = await self._execute(calls, "EVALSHA", self._script.digest)
        lacking = [call for call, answer in zip(calls, answers, strict=True) if isinstance(answer, NoScriptError)]
        if lacking:
            again = iter(await self._execute(lacking, "EVAL", self._script.source))
            answers = [next(again) if isinstance(answer, NoScriptError) else answer for answer in answers]
        for (_, waiting), answer in zip(calls, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                try:
                    with translate():
                        raise answer
                except Exception as error:
                    waiting.set_exception(error)
            else:
                waiting.set_result(answer)

    async def _execute(self, calls: list[Call], command: str, script: str) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for args, _ in calls:
                pipeline.execute_command(command, script, *args)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


__all__ = ["Batch"]
