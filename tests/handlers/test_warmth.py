"""The endpoint's connections, and what readiness is told of it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from handlers import warmth
from handlers.warmth import BAD_FOR, EVERY, GOOD_FOR, Warmth
from relay.models.base import ModelRequest, ModelStream


class Endpoint:
    """Answers with ``problem``, or not before ``free`` is set; counts how often it was asked."""

    def __init__(self) -> None:
        self.problem = ""
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()

    async def warm(self) -> str:
        self.asked += 1
        await self.free.wait()
        return self.problem

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        raise AssertionError("nobody asks for words here")

    async def close(self) -> None:
        pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def settled(each: Warmth) -> None:
    while each._tasks:
        await asyncio.wait(each._tasks)


async def test_an_answer_is_believed_for_a_while() -> None:
    """However often readiness asks, the endpoint is asked once in half a minute."""
    endpoint, clock = Endpoint(), Clock()
    each = Warmth(endpoint, clock=clock)
    await each.ask()
    for clock.now in (0.0, 1.0, GOOD_FOR - 0.1):
        assert each.answers()
    assert endpoint.asked == 1
    clock.now = GOOD_FOR
    assert each.answers()
    await settled(each)
    assert endpoint.asked == 2


async def test_a_failure_is_believed_for_less() -> None:
    """An endpoint that failed is asked again soon, and its return is seen."""
    endpoint, clock = Endpoint(), Clock()
    endpoint.problem = "it cannot be reached"
    each = Warmth(endpoint, clock=clock)
    await each.ask()
    assert not each.answers()
    endpoint.problem = ""
    clock.now = BAD_FOR
    assert not each.answers()  # what was heard last, while it is asked
    await settled(each)
    assert each.answers()
    assert endpoint.asked == 2


async def test_readiness_does_not_wait() -> None:
    """While a silent endpoint is being asked, the last answer is there at once and it is not asked again."""
    endpoint, clock = Endpoint(), Clock()
    each = Warmth(endpoint, clock=clock)
    await each.ask()
    endpoint.free.clear()
    clock.now = GOOD_FOR
    assert [each.answers() for _ in range(5)] == [True] * 5
    await asyncio.sleep(0)
    assert endpoint.asked == 2
    await each.close()
    assert each._tasks == set()


async def test_a_silent_endpoint_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not answer in time counts as away, and the log says so once."""
    monkeypatch.setattr(warmth, "DEADLINE", 0.02)
    endpoint = Endpoint()
    endpoint.free.clear()
    each = Warmth(endpoint)
    with capture_logs() as records:
        await each.ask()
        await each.ask()
    assert not each.answers()
    assert [record["event"] for record in records] == ["the model is not ready"]


async def test_a_caller_who_is_heard_has_the_endpoint_asked_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers are heard, the endpoint is asked at once and then no more often than it may be."""
    monkeypatch.setattr(warmth, "GIVE_WAY", 0.0)
    endpoint, clock = Endpoint(), Clock()
    each = Warmth(endpoint, clock=clock)
    for clock.now, asked in ((0.0, 1), (EVERY - 0.1, 1), (EVERY, 2), (EVERY + 0.1, 2)):
        for _ in range(5):
            each.expect()
        await settled(each)
        assert endpoint.asked == asked


async def test_a_request_that_leaves_in_the_same_moment_goes_first() -> None:
    """The endpoint is asked a moment later: until then an open connection is free for a turn."""
    endpoint = Endpoint()
    each = Warmth(endpoint, clock=Clock())
    each.expect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert endpoint.asked == 0
    await settled(each)
    assert endpoint.asked == 1


async def test_a_silent_endpoint_is_not_asked_again_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers who go on speaking do not heap up requests it does not answer."""
    monkeypatch.setattr(warmth, "GIVE_WAY", 0.0)
    endpoint, clock = Endpoint(), Clock()
    endpoint.free.clear()
    each = Warmth(endpoint, clock=clock)
    for clock.now in (0.0, EVERY, 2 * EVERY):
        each.expect()
        for _ in range(10):
            await asyncio.sleep(0)
    assert endpoint.asked == 1
    await each.close()
