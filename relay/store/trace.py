"""Traces, written behind the calls by one task a process, which also tells whoever watches.

``conversation:{id}:trace``   stream, field ``j``: one entry's JSON (``relay/trace.py``); capped, and kept as long as
                              the conversation's history
``person_hash:{hash}``        the latest conversation of the person with this keyed hash; it names nobody, and finds
                              nothing once that conversation is gone

Nothing here is ever waited for, and nothing is tried again: what Redis does not take, and what is too much, is dropped
and counted. A trace may have a gap, a call never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from relay.errors import StoreError
from relay.store.client import translate
from relay.store.events import Event, Events
from relay.store.person import person_hash
from relay.trace import Entry

if TYPE_CHECKING:
    from redis.asyncio import Redis

LONGEST_CALL_MS = 3_600_000  # what leads to a person outlives the beginning of a call by so much more
WINDOW = 0.25  # seconds in which entries join the first: a round trip of one costs four times its share in one of ten
MOST_AT_ONCE = 50  # entries of one round trip
MOST_WAITING = 2000  # entries
MOST_KEPT = 1000  # entries of a conversation, about

log = structlog.get_logger(__name__)


def trace_key(conversation: str) -> str:
    return f"conversation:{{{conversation}}}:trace"


def hash_key(hashed: str) -> str:
    return f"person_hash:{{{hashed}}}"


class Traces:
    """``ttl``: seconds a trace is kept after its latest entry; ``ttls``: the same of channels that have their own.
    ``key``: of the hashes that stand for people. ``model``: the one of requests that name none. ``lost``: told how many
    entries were dropped. ``start`` begins the one task, ``close`` ends it."""

    def __init__(
        self,
        redis: Redis,
        events: Events,
        *,
        ttl: float,
        ttls: Mapping[str, float] = MappingProxyType({}),
        key: bytes,
        model: str = "",
        lost: Callable[[int], object],
        window: float = WINDOW,
        most: int = MOST_WAITING,
    ) -> None:
        self._redis = redis
        self._events = events
        self._ttl = ttl
        self._ttls = ttls
        self._key = key
        self._model = model
        self._lost = lost
        self._window = window
        self._most = most
        self._waiting: deque[tuple[ConversationTrail, Entry]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._away = False

    def of(self, conversation: str, channel: str, person: str) -> ConversationTrail:
        """Where the trace of a session of this conversation goes."""
        ttl_ms = int(self._ttls.get(channel, self._ttl) * 1000)
        return ConversationTrail(self, conversation, channel, person_hash(self._key, person), ttl_ms)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="traces")

    async def close(self, timeout: float) -> None:
        """Writes what waits, at once and within ``timeout`` seconds; the rest is dropped."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._waiting:
            self._lost(len(self._waiting))
            self._waiting.clear()

    def add(self, trail: ConversationTrail, entry: Entry) -> None:
        """Never waits, never raises."""
        for asked in entry.get("rounds", ()):
            asked["model"] = asked["model"] or self._model
        if len(self._waiting) < self._most:
            self._waiting.append((trail, entry))
            self._wake.set()
        else:
            self._lost(1)

    async def _run(self) -> None:
        while not self._closing.is_set() or self._waiting:
            await self._wake.wait()
            try:
                async with asyncio.timeout(self._window):
                    await self._closing.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            while self._waiting:
                await self._write()

    async def _write(self) -> None:
        """The oldest of what waits. A cancel drops what was on its way."""
        batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
        written = False
        try:
            with translate():
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for trail, entry in batch:
                        pipeline.xadd(trail.key, {"j": orjson.dumps(entry)}, maxlen=MOST_KEPT, approximate=True)
                        if (event := trail.event(entry)) is not None:
                            self._events.publish(event, pipeline)
                        # Not at its end: who was forgotten meanwhile stays so.
                        if entry["kind"] == "session":
                            pipeline.set(hash_key(trail.person), trail.conversation, px=trail.ttl_ms + LONGEST_CALL_MS)
                    for key, ttl_ms in {(trail.key, trail.ttl_ms) for trail, _ in batch}:
                        pipeline.pexpire(key, ttl_ms)
                    await pipeline.execute()
            written = True
        except StoreError as error:
            if not self._away:
                log.warning("traces not written", code=error.code)
        except Exception as error:
            log.error("bug in traces", error=type(error).__name__, exc_info=error)
        finally:
            self._away = not written
            if not written:
                self._lost(len(batch))


class ConversationTrail:
    """A ``relay.trace.Trail``. ``person``: the keyed hash of whom the conversation is with. ``ttl_ms``: how long it is
    kept after its latest entry."""

    __slots__ = ("_channel", "_traces", "conversation", "key", "person", "ttl_ms")

    def __init__(self, traces: Traces, conversation: str, channel: str, person: str, ttl_ms: int) -> None:
        self._traces = traces
        self._channel = channel
        self.conversation = conversation
        self.person = person
        self.key = trace_key(conversation)
        self.ttl_ms = ttl_ms

    def add(self, entry: Entry, /) -> None:
        self._traces.add(self, entry)

    def event(self, entry: Entry) -> Event | None:
        """What whoever watches is told of it."""
        told: dict[str, Any] = {"id": self.conversation, "at": entry["at"]}
        match entry["kind"]:
            case "session":
                told |= {"event": "call_started", "channel": self._channel, "person": self.person}
                names = ["agent", "resumed"]
            case "turn":
                tools = [tool["name"] for tool in entry["tools"]]
                tokens = {kind: sum(each[kind] for each in entry["rounds"]) for kind in ("input", "cached", "output")}
                told |= {"event": "turn", "tools": tools, "tokens": tokens}
                names = ["agent", "turn", "outcome", "first_text_ms", "segments_ms"]
            case "ended" if entry["reason"] != "fenced":
                told |= {"event": "call_ended", "unsaid": entry.get("unsaid", 0)}
                names = ["reason", "seconds", "turns"]
            case _:
                return None  # another session has the call by now
        return told | {name: entry[name] for name in names}


__all__ = ["ConversationTrail", "Traces", "hash_key", "trace_key"]
