"""Events of calls: told in this process at once, and to every process that listens to Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.store.events import CHANNEL, Event, Events

TURN = {"event": "turn", "id": "CA1", "turn": 1}


async def test_an_event_reaches_this_process_and_all_others(redis: Redis) -> None:
    """Both are told the same, with the name of the process it happened in."""
    events, here = Events("desk-1"), list[Event]()
    unsubscribe = events.subscribe(here.append)
    async with redis.pubsub() as elsewhere:
        await elsewhere.subscribe(CHANNEL)
        async with redis.pipeline(transaction=False) as pipeline:
            events.publish(TURN, pipeline)
            assert here == [{**TURN, "worker": "desk-1"}]
            await pipeline.execute()
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while not any(message["type"] == "message" for message in messages):
                if (message := await elsewhere.get_message(timeout=1)) is not None:
                    messages.append(message)
    assert orjson.loads(messages[-1]["data"]) == here[0]
    unsubscribe()
    unsubscribe()
    events.publish(TURN, redis.pipeline(transaction=False))
    assert len(here) == 1


async def test_a_watcher_with_a_bug_keeps_nobody_else_from_an_event(redis: Redis) -> None:
    """It is logged; whoever watches besides, and Redis, are told."""
    events, here = Events("desk-1"), list[Event]()

    def broken(event: Event) -> None:
        raise RuntimeError("a bug")

    events.subscribe(broken)
    events.subscribe(here.append)
    pipeline = redis.pipeline(transaction=False)
    with capture_logs() as records:
        events.publish(TURN, pipeline)
    assert [each["event"] for each in here] == ["turn"]
    assert len(pipeline) == 1
    assert [(record["log_level"], record["error"]) for record in records] == [("error", "RuntimeError")]
