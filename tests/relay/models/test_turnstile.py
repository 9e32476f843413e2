"""One at a time through each of many doors."""

from __future__ import annotations

import asyncio

import pytest

from relay.models.turnstile import Turnstile


class Visitors:
    """Who go through a door and stay inside until they are let out."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.inside: list[str] = []
        self._out: dict[str, asyncio.Event] = {}

    def come(self, name: str, door: str = "a") -> asyncio.Task[None]:
        self._out[name] = asyncio.Event()
        return asyncio.create_task(self._visit(name, door))

    async def leave(self, name: str) -> None:
        self._out[name].set()
        await asyncio.sleep(0.01)

    async def _visit(self, name: str, door: str) -> None:
        async with self.turnstile.through(door, 5.0):
            self.inside.append(name)
            await self._out[name].wait()
            self.inside.remove(name)


async def test_in_the_order_they_came() -> None:
    """One at a door, many at many; and nothing is held once they are gone."""
    visitors = Visitors()
    tasks = [visitors.come("1"), visitors.come("2"), visitors.come("3"), visitors.come("other", "b")]
    await asyncio.sleep(0.01)
    assert visitors.inside == ["1", "other"] and len(visitors.turnstile) == 2
    await visitors.leave("1")
    assert visitors.inside == ["other", "2"]
    for name in ("other", "2", "3"):
        await visitors.leave(name)
    await asyncio.gather(*tasks)
    assert len(visitors.turnstile) == 0


async def test_a_door_that_stays_shut() -> None:
    """Is left after a while; who is inside stays there."""
    visitors = Visitors()
    task = visitors.come("1")
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with visitors.turnstile.through("a", 0.01):
            pass
    assert visitors.inside == ["1"]
    await visitors.leave("1")
    await task
    assert len(visitors.turnstile) == 0


@pytest.mark.parametrize("gone", ["1", "2"], ids=["inside", "waiting"])
async def test_a_cancel(gone: str) -> None:
    """Lets the next one in."""
    visitors = Visitors()
    tasks = {name: visitors.come(name) for name in ("1", "2", "3")}
    await asyncio.sleep(0.01)
    tasks[gone].cancel()
    await asyncio.wait([tasks[gone]])
    visitors.inside = [name for name in visitors.inside if name != gone]
    left = [name for name in tasks if name != gone]
    for name in left:
        async with asyncio.timeout(5):
            while name not in visitors.inside:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await visitors.leave(name)
    await asyncio.gather(*(tasks[name] for name in left))
    assert len(visitors.turnstile) == 0
