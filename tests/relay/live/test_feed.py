"""What one socket is sent: each frame once and in order, however frames come and whatever is lost on the way."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import StoreError
from relay.live.feed import Feed, Frames
from relay.live.frames import Reset, dump


class Desk:
    """A conversation of which ``frames`` are there, from ``first`` on; ``written``: what the client got."""

    def __init__(self) -> None:
        self.last = 0
        self.first = 1
        self.away = False
        self.asked = 0
        self.written: list[bytes] = []
        self.broken = 0
        self.feed = Feed(self.written.append, self._fetch, self._break)

    def make(self, *, told: bool = True) -> None:
        """One more frame; not ``told``: it is lost on the way here."""
        self.last += 1
        if told:
            self.feed.offer(self.last, b"%d" % self.last)

    @property
    def numbers(self) -> list[int]:
        return [int(frame) for frame in self.written if frame.isdigit()]

    async def _fetch(self, after: int) -> Frames | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreError("away")
        if not self.first <= after + 1 or after > self.last:
            return None
        return [(seq, b"%d" % seq) for seq in range(after + 1, self.last + 1)]

    def _break(self) -> None:
        self.broken += 1


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_are_written_as_they_come() -> None:
    """Nothing is read as long as nothing is missing."""
    desk = Desk()
    desk.feed.go()
    for _ in range(3):
        desk.make()
    assert desk.numbers == [1, 2, 3] and desk.asked == 0


async def test_nothing_is_written_before_the_client_says_from_where_on() -> None:
    """It is then what followed the frame that it knows, what came meanwhile included."""
    desk = Desk()
    desk.last = 5
    desk.feed.know(5)
    desk.make()
    assert desk.feed.held and desk.written == []
    desk.feed.go(3)
    desk.make()
    await rest()
    assert desk.numbers == [4, 5, 6, 7] and not desk.feed.held


async def test_what_is_missing_is_read() -> None:
    """A frame that is not the next one tells that something was missed; one that comes twice is dropped."""
    desk = Desk()
    desk.feed.go()
    desk.make(told=False)
    desk.make()
    desk.feed.offer(2, b"2")
    await rest()
    assert desk.numbers == [1, 2]
    desk.feed.offer(1, b"1")
    await rest()
    assert desk.numbers == [1, 2]


async def test_what_is_not_kept_any_more_resets_the_client() -> None:
    """It gets what follows from then on."""
    desk = Desk()
    desk.last, desk.first = 9, 5
    desk.feed.know(9)
    desk.feed.go(3)
    await rest()
    desk.make()
    assert desk.written == [dump(Reset()), b"10"]
    desk.feed.go(99)
    await rest()
    desk.make()
    assert desk.written[2:] == [dump(Reset()), b"11"]


async def test_a_client_that_cannot_be_told_what_is_missing_is_to_come_again() -> None:
    """When the store is away."""
    desk = Desk()
    desk.away = True
    desk.feed.go()
    desk.make(told=False)
    desk.make()
    await rest()
    assert (desk.broken, desk.written) == (1, [])


async def test_after_the_close_nothing_is_written() -> None:
    """Not even what is being read."""
    desk = Desk()
    desk.feed.go()
    desk.make(told=False)
    desk.make()
    await desk.feed.close()
    desk.make()
    desk.feed.go(0)
    await rest()
    assert desk.written == []


STEP = st.sampled_from(["make", "lose", "yield"])


@settings(max_examples=60)
@given(st.integers(0, 5), st.lists(STEP, max_size=30), st.integers(0, 30))
async def test_every_frame_once_and_in_order(known: int, steps: list[str], goes: int) -> None:
    """Whatever is lost, and whenever the client says that it has so many."""
    desk = Desk()
    desk.last = 5
    desk.feed.know(5)
    for number, step in enumerate([*steps, "make", "yield"]):
        if number == min(goes, len(steps)):
            desk.feed.go(known)
        if step == "yield":
            await asyncio.sleep(0)
        else:
            desk.make(told=step == "make")
    await rest()
    assert desk.numbers == [*range(known + 1, desk.last + 1)]
    assert not desk.broken and dump(Reset()) not in desk.written
