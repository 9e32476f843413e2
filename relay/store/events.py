"""What happens to calls as it happens, for whoever watches: told in this process, and through Redis in all of them.

An event is one flat JSON object; it names the process (``worker``) that it happened in, and never has a word or a
number of anybody's. On the channel ``events`` each is one message:

    {"event": "call_started", "id", "agent", "channel", "person", "resumed", "at", "worker"}
    {"event": "turn", "id", "agent", "turn", "outcome", "first_text_ms", "segments_ms", "tools": [name],
     "tokens": {"input", "cached", "output"}, "at", "worker"}
    {"event": "call_ended", "id", "agent", "reason", "seconds", "turns", "unsaid", "at", "worker"}

``at`` is ms since 1970, ``person`` a keyed hash (``person.py``). Each session of a call starts and ends it: one that is
taken up again starts once more, ``resumed``. ``unsaid``: lines of an operator's that it did not say.

Whoever listens to Redis hears this process's own events too; by ``worker`` they can be told from others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

CHANNEL = "events"

Event = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Events:
    """One a process; ``worker`` is its name."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._takers: list[Callable[[Event], None]] = []

    def subscribe(self, take: Callable[[Event], None]) -> Callable[[], None]:
        """``take`` is called with every event of this process from now on, whether Redis answers or not: on the event
        loop, behind the calls, in the order of each call's events. It must not wait. Returns what ends it."""
        self._takers.append(take)
        return lambda: self._takers.remove(take) if take in self._takers else None

    def publish(self, event: Event, pipeline: Pipeline) -> None:
        """Tells this process now, and all others when the pipeline is carried out."""
        event = {**event, "worker": self.worker}
        for take in [*self._takers]:
            try:
                take(event)
            except Exception as error:  # the others, and Redis, are told all the same
                log.error("bug in what watches calls", error=type(error).__name__, exc_info=error)
        pipeline.publish(CHANNEL, orjson.dumps(event))


__all__ = ["CHANNEL", "Event", "Events"]
