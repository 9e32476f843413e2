"""How long a process stays before it leaves, and for what."""

from __future__ import annotations

import asyncio

import pytest

from handlers.drain import HAND_ON_SECONDS, LINGER_SECONDS, Drain


class Calls:
    """So many calls, until told otherwise."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.waited = 0
        self.handed: list[float] = []
        self.none = asyncio.Event()
        self.asked = asyncio.Event()

    async def none_open(self) -> None:
        self.waited += 1
        self.asked.set()
        await self.none.wait()

    def end(self) -> None:
        self.calls = 0
        self.none.set()

    def hand_on(self, limit: float) -> None:
        self.handed.append(limit)
        self.end()


async def test_without_calls_nothing_is_waited_for() -> None:
    """Nobody is on the line: the process may go at once."""
    calls, drain = Calls(0), Drain(25)
    await asyncio.wait_for(drain.run(calls, calls.hand_on), 0.5)
    assert drain.begun and calls.waited == 0 and calls.handed == []


async def test_calls_that_end_in_time_are_not_handed_on() -> None:
    """They are given their seconds; then the port stays for their last webhook."""
    calls, drain = Calls(2), Drain(25)
    leaving = asyncio.create_task(drain.run(calls, calls.hand_on))
    await calls.asked.wait()
    assert drain.begun and not drain.handing_on and drain.pause() == 0
    before = asyncio.get_running_loop().time()
    drain.expect("CA1")
    calls.end()
    await asyncio.wait_for(leaving, 20)
    assert asyncio.get_running_loop().time() - before >= LINGER_SECONDS - 0.1
    assert calls.handed == []
    assert drain.pause() == 4  # for one whose session's end is told later than that


async def test_when_the_last_webhook_has_come_nothing_is_waited_for() -> None:
    """One for each call."""
    calls, drain = Calls(1), Drain(25, clock=lambda: 100.0)
    for call in ("CA1", "CA2"):
        drain.expect(call)
    leaving = asyncio.create_task(drain.run(calls, calls.hand_on))
    await calls.asked.wait()
    calls.end()
    drain.settle("CA1")
    done, _ = await asyncio.wait([leaving], timeout=0.05)
    assert not done
    drain.settle("CA2")
    await asyncio.wait_for(leaving, 10)
    assert calls.handed == []


async def test_a_call_between_two_sessions_is_waited_for() -> None:
    """It broke, or was told to come here, just before the process was told to leave."""
    calls, drain = Calls(0), Drain(25)
    drain.expect("CA1")
    calls.none.set()
    leaving = asyncio.create_task(drain.run(calls, calls.hand_on))
    await calls.asked.wait()
    calls.asked.clear()
    calls.none.clear()
    await asyncio.wait_for(calls.asked.wait(), 20)
    assert not drain.handing_on and not leaving.done()  # by now its socket is open
    calls.end()
    await asyncio.wait_for(leaving, 20)
    assert calls.handed == []


async def test_hurried_it_hands_on_at_once() -> None:
    """Whoever does not want to wait need not, at any moment."""
    calls, drain = Calls(1), Drain(3600)
    leaving = asyncio.create_task(drain.run(calls, calls.hand_on))
    await calls.asked.wait()
    drain.hurry()
    await asyncio.wait_for(leaving, 20)
    assert calls.handed == [HAND_ON_SECONDS] and drain.handing_on


async def test_a_call_that_is_handed_on_by_us_waits_for_our_end() -> None:
    """As long as others are open the pause is that of the slowest; behind the last one it is short."""
    now = 100.0
    calls, drain = Calls(2), Drain(0, clock=lambda: now)
    handed = asyncio.Event()
    leaving = asyncio.create_task(drain.run(calls, lambda limit: handed.set()))
    await calls.asked.wait()
    drain.hurry()
    await handed.wait()
    assert drain.pause() == 12
    now += 5
    assert drain.pause() == 7
    calls.end()
    await asyncio.wait_for(leaving, 20)
    assert drain.pause() == 4


async def test_a_cancel_leaves_no_task() -> None:
    """What it had waiting is gone."""
    calls, drain = Calls(1), Drain(25)
    leaving = asyncio.create_task(drain.run(calls, calls.hand_on))
    await calls.asked.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert asyncio.all_tasks() == {asyncio.current_task()}
