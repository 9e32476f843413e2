"""The order in which the messages of a conversation are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.jobs import Jobs
from relay.live.line import Line, Wish


class Desk:
    """Answers when it is told to."""

    def __init__(self, most: int = 2, jobs: int = 10) -> None:
        self.answered: list[str] = []
        self.idle = 0
        self.jobs = Jobs(jobs)
        self.go = asyncio.Semaphore(0)
        self.line = Line("c", self._answer, self.jobs.start, self._rest, most=most)

    def submit(self, key: str, **fields: Any) -> str:
        return self.line.submit(Wish(key, key=key, **fields))

    async def _answer(self, wish: Wish) -> None:
        await self.go.acquire()
        self.answered.append(f"{wish.text}, stopped" if wish.stopped else wish.text)

    def _rest(self) -> None:
        self.idle += 1


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.jobs.drain(0)


async def rest() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_after_another(desk: Desk) -> None:
    """By one task, which ends when nothing is left; then another one begins."""
    for round in range(2):
        assert [desk.submit(f"{round}{key}") for key in "ab"] == ["", ""]
        assert desk.line.busy and len(desk.jobs) == 1
        for _ in range(2):
            desk.go.release()
        await rest()
        assert not desk.line.busy and desk.idle == round + 1 and len(desk.jobs) == 0
    assert desk.answered == ["0a", "0b", "1a", "1b"]


async def test_a_few_wait_and_no_more(desk: Desk) -> None:
    """Whether or not the first one is being answered already."""
    assert [desk.submit(key) for key in "abcd"] == ["", "", "", "busy"]
    await rest()
    assert desk.submit("e") == "busy"
    desk.go.release()
    await rest()
    assert desk.submit("f") == ""


async def test_what_is_there_is_not_taken_twice(desk: Desk) -> None:
    """Whether it waits or is answered; once it is over, it may come again. What has no name is never the same."""
    assert [desk.submit(key) for key in "aab"] == ["", "known", ""]
    await rest()
    assert desk.submit("a") == "known" and desk.line.find("b") is not None
    assert desk.line.current is not None
    desk.line.current.over = True
    assert desk.submit("a") == ""
    for _ in range(3):
        desk.go.release()
    await rest()
    assert [desk.submit(key) for key in ("a", "", "")] == ["", "", ""]
    assert desk.answered == ["a", "b", "a"]


async def test_stop_is_for_what_is_answered(desk: Desk) -> None:
    """By its name, or whichever it is; not for what is over, and not for a look at what others have left."""
    assert not desk.line.stop()
    ended: list[str] = []
    wish = Wish("a", key="a", turn="t_1", ending=lambda: ended.append("a"))
    desk.line.submit(wish)
    desk.submit("b")
    await rest()
    assert not desk.line.stop("t_2") and desk.line.stop("t_1") and desk.line.stop()
    wish.over = True
    assert not desk.line.stop("t_1")
    wish.let_go()
    wish.stop()
    assert ended == ["a", "a"]
    desk.go.release()
    desk.go.release()
    await rest()
    assert desk.answered == ["a, stopped", "b"]
    assert [desk.line.submit(Wish(kind="look")) for _ in range(2)] == ["", "known"]
    await rest()
    assert desk.line.submit(Wish(kind="look")) == "known" and not desk.line.stop()


async def test_stop_may_come_with_its_message(desk: Desk) -> None:
    """Before anything is done for it, or while the end of the one before is noted; what waits behind is answered."""
    desk.submit("a")
    desk.submit("b")
    assert not desk.line.stop("t_1") and desk.line.stop()
    await rest()
    assert desk.line.current is not None
    desk.line.current.over = True
    assert desk.line.stop()
    desk.submit("c")
    for _ in range(3):
        desk.go.release()
    await rest()
    assert desk.answered == ["a, stopped", "b, stopped", "c"]


async def test_ceasing_begins_nothing_more(desk: Desk) -> None:
    """What is answered is stopped."""
    for key in "abc":
        desk.submit(key)
    await rest()
    desk.line.cease()
    desk.go.release()
    await rest()
    assert desk.answered == ["a, stopped"] and desk.idle == 1


async def test_a_process_that_takes_no_more_is_busy() -> None:
    """Nothing of it is kept."""
    desk = Desk(jobs=0)
    assert desk.submit("a") == "busy" and not desk.line.busy and desk.line.find("a") is None


async def test_a_line_that_is_let_go_answers_nobody(desk: Desk) -> None:
    """And tells nobody."""
    desk.line.let_go()
    desk.submit("a")
    await rest()
    assert (desk.answered, desk.idle, desk.line.busy) == ([], 0, False)
