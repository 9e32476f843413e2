"""The model's endpoint: its connections are opened before they are needed, and its last answer is remembered.

Asking costs no tokens but is a request to the provider: readiness, which a platform may probe every second, is told
what was heard last, and asks again in the background when that is old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from relay.models.base import LanguageModel

DEADLINE = 3.0
# Between two askings because a caller is heard: less than the shortest time after which servers close what is idle
# (5 s: uvicorn, Node), so that what was open then is open still, or is opened anew.
EVERY = 4.0
# A request that leaves in this moment already takes an open connection for itself, not one that is busy with this.
GIVE_WAY = 0.05
GOOD_FOR = 30.0  # seconds for which "it answers" is believed
BAD_FOR = 5.0  # seconds for which "it does not" is

log = structlog.get_logger(__name__)


class Warmth:
    """Asks ``model`` for nothing but to be there. Owns the tasks that do; ``close`` ends them."""

    def __init__(self, model: LanguageModel, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock
        self._problem = ""
        self._asked = float("-inf")
        self._believed_until = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, *, after: float = 0.0) -> asyncio.Task[None]:
        """Warms the connections in the background, within ``DEADLINE`` seconds. What is wrong is logged, not raised."""
        self._asked = self._clock()
        task = asyncio.create_task(self._ask(after), name="warm model")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def expect(self) -> None:
        """A caller is heard, so a turn is to come: opens the connections that may have been closed in the quiet before.

        Returns at once, and may be called as often as anything is heard: the endpoint is asked every ``EVERY`` seconds
        at the most, however many callers there are, and not while it is being asked.
        """
        if not self._tasks and self._clock() - self._asked >= EVERY:
            self.ask(after=GIVE_WAY)

    def answers(self) -> bool:
        """Whether the endpoint answered when it was last asked; asks anew in the background if that is long ago."""
        if not self._tasks and self._clock() >= self._believed_until:
            self.ask()
        return not self._problem

    async def close(self) -> None:
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _ask(self, after: float) -> None:
        if after:
            await asyncio.sleep(after)
        try:
            async with asyncio.timeout(DEADLINE):
                problem = await self._model.warm()
        except TimeoutError:
            problem = "it did not answer in time"
        if problem and problem != self._problem:
            log.warning("the model is not ready", problem=problem)
        self._problem = problem
        self._believed_until = self._clock() + (BAD_FOR if problem else GOOD_FOR)
