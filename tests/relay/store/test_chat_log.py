"""The log of a chat's frames: read again from anywhere, and never wrong about what is missing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import takewhile

import pytest
from redis.asyncio import Redis

from relay.store.chat_entries import log_key
from relay.store.chat_log import JUMP, ChatLog
from relay.store.history import state_key
from tests.relay.store.chats import CHAT, OTHER, Process, frame, frames, process


@pytest.fixture
async def one(redis: Redis) -> AsyncIterator[Process]:
    async with process(redis) as made:
        yield made


@pytest.fixture
async def two(redis: Redis) -> AsyncIterator[Process]:
    async with process(redis) as made:
        yield made


# -- one process


async def test_frames_are_read_from_where_somebody_is(one: Process, two: Process, redis: Redis) -> None:
    """By any process, in order and as they were; frames that follow each other stand together."""
    assert await one.turn(4) == [1, 2, 3, 4]
    assert await one.turn(2) == [5, 6]
    for reader in (one, two):
        assert await reader.log.since(CHAT, 0) == frames(1, 2, 3, 4, 5, 6)
        assert await reader.log.since(CHAT, 2) == frames(3, 4, 5, 6)
        assert await reader.log.since(CHAT, 4) == frames(5, 6)
        assert await reader.log.since(CHAT, 6) == []
        assert await reader.log.last(CHAT) == 6
    assert await redis.xlen(log_key(CHAT)) == 4
    assert 50_000 < await redis.pttl(log_key(CHAT)) <= 60_000


async def test_a_log_is_kept_as_long_as_its_conversation(redis: Redis) -> None:
    """Of one that is not there yet, and may never be, for an hour; counted from when a turn began."""
    async with process(redis, ttl=86_400.0) as one:
        await one.turn(1)
        assert 3_590_000 < await redis.pttl(log_key(CHAT)) <= 3_600_000
        await redis.hset(state_key(CHAT), "agent", "desk")
        await one.turn(1)
        assert 86_390_000 < await redis.pttl(log_key(CHAT)) <= 86_400_000


async def test_what_was_just_added_is_read(one: Process) -> None:
    """By the process that has added it, without a flush."""
    await one.log.begin(CHAT)
    one.add(1, 2)
    assert await one.log.since(CHAT, 1) == frames(2)
    one.add(3)
    assert await one.log.last(CHAT) == 3


async def test_a_conversation_without_frames(one: Process) -> None:
    """Who has seen nothing misses nothing; who says to have seen something is mistaken."""
    assert await one.log.since(CHAT, 0) == []
    assert await one.log.since(CHAT, 3) is None
    assert (await one.log.last(CHAT), await one.log.settled(CHAT)) == (0, 0)


@pytest.mark.parametrize("after", [-1, 2**53 + 1, 2**64, 10**30])
async def test_numbers_that_cannot_be(one: Process, after: int) -> None:
    """What a client says is no reason for Redis to fail."""
    await one.turn(3)
    assert await one.log.since(CHAT, after) is None


async def test_the_history_reaches_to_the_turn_that_is_open(one: Process) -> None:
    """What is behind it is to be sent as frames, however long the turn and wherever it began."""
    assert await one.turn(3) == [1, 2, 3]
    assert await one.log.settled(CHAT) == 3
    await one.log.begin(CHAT)
    for number in range(4, 154):
        one.add(number)
        await one.log.flush(CHAT)
    assert (await one.log.settled(CHAT), await one.log.last(CHAT)) == (3, 153)
    one.add(154, ends=True)
    assert await one.log.settled(CHAT) == 154


async def test_a_log_is_capped(redis: Redis) -> None:
    """Who was away for too long is told so; who was not, is served."""
    async with process(redis, window=0) as one:
        await one.log.begin(CHAT)
        for number in range(1, 1301):
            one.add(number)
            await one.log.flush(CHAT)  # an entry each
        assert 1000 <= await redis.xlen(log_key(CHAT)) < 1200
        assert await one.log.since(CHAT, 0) is None
        assert await one.log.since(CHAT, 50) is None
        assert await one.log.since(CHAT, 1250) == frames(*range(1251, 1301))
        oldest = int((await redis.xrange(log_key(CHAT), count=1))[0][0].partition(b"-")[0])
        assert await one.log.settled(CHAT) == oldest - 1
        assert await one.log.since(CHAT, oldest - 1) == frames(*range(oldest, 1301))


async def test_many_conversations_share_round_trips(redis: Redis) -> None:
    """However many grow at once, what is written of them is a handful of pipelines."""
    async with process(redis, window=0.05) as one:
        for number in range(100):
            await one.log.begin(str(number))
        for seq in (1, 2, 3):
            for number in range(100):
                one.add(seq, conversation=str(number))
        for number in range(100):
            assert await one.log.since(str(number), 0) == frames(1, 2, 3)
            assert await redis.xlen(log_key(str(number))) == 2


async def test_what_a_newer_version_has_written_is_not_skipped(one: Process, redis: Redis) -> None:
    """Who would have to read it is told to load the conversation anew; who is behind it goes on."""
    await one.turn(2)
    await redis.xadd(log_key(CHAT), {"zipped": "..."}, id="3-0")
    await redis.xadd(log_key(CHAT), {"f": frame(4), "e": 1, "mood": "glad"}, id="4-0")
    assert await one.log.since(CHAT, 2) is None
    assert await one.log.since(CHAT, 3) == frames(4)
    assert (await one.log.last(CHAT), await one.log.settled(CHAT)) == (4, 4)


# -- several processes


async def test_a_conversation_goes_on_in_another_process(one: Process, two: Process) -> None:
    """Numbers count on, so nobody sees the difference."""
    assert await one.turn(3) == [1, 2, 3]
    assert await two.turn(2) == [4, 5]
    assert await one.turn(1) == [6]
    assert await two.log.since(CHAT, 2) == frames(3, 4, 5, 6)


async def test_frames_that_died_with_their_process(one: Process, two: Process, redis: Redis) -> None:
    """Who has seen more than was written is not taken for one who has seen what another process sends now; who has seen
    just what was written goes on."""
    assert await one.turn(3) == [1, 2, 3]
    await one.log.begin(CHAT)
    one.add(4, 5)
    await one.log.flush(CHAT)
    # Frames 6 and 7 were sent, and never written.
    assert await two.log.since(CHAT, 7) is None
    assert await two.log.since(CHAT, 5) == []
    first = 5 + JUMP + 1
    assert await two.turn(2) == [first, first + 1]
    assert await two.log.since(CHAT, 7) is None
    assert await two.log.since(CHAT, 5) == frames(first, first + 1)
    assert await two.log.since(CHAT, 3) == frames(4, 5, first, first + 1)
    assert await two.log.settled(CHAT) == first + 1


async def test_a_turn_that_died_before_its_first_frame_was_written(one: Process, two: Process) -> None:
    """It has begun, so what it may have sent is known to be unknown."""
    await one.turn(3)
    await one.log.begin(CHAT)
    assert (await two.turn(1))[0] == 3 + JUMP + 1
    assert await two.log.since(CHAT, 4) is None


async def test_who_has_lost_the_conversation_writes_no_more(one: Process, two: Process) -> None:
    """What a process adds that was thought dead is refused, and does not keep it from writing others."""
    await one.log.begin(CHAT)
    numbers = await two.turn(2)
    one.add(1, 2, ends=True)
    assert await one.turn(1, conversation=OTHER) == [1]
    await one.log.flush(CHAT)
    assert await one.log.since(CHAT, 0) == frames(*numbers)
    assert one.lost == 0


async def test_what_another_process_is_about_to_write_is_waited_for(redis: Redis) -> None:
    """A client that comes back faster than its process writes misses nothing."""
    async with process(redis, window=0.1) as one, process(redis, patience=(0.05,) * 60) as two:
        await one.log.begin(CHAT)
        one.add(1, 2, 3)
        assert await two.log.since(CHAT, 3) == []
        one.add(4)
        assert await two.log.since(CHAT, 4) == []
        assert await two.log.last(CHAT) == 4


async def test_a_turn_is_open_until_its_last_frame_is_written(redis: Redis) -> None:
    """Whichever process asks."""
    async with process(redis) as one, process(redis) as two:
        assert not await two.log.is_open(CHAT)
        number = await one.log.begin(CHAT)
        assert await two.log.is_open(CHAT)
        for seq, ends in ((number + 1, False), (number + 2, True)):
            one.log.add(CHAT, seq, b"{}", ends=ends)
            assert await one.log.is_open(CHAT) == await two.log.is_open(CHAT) == (not ends)


# -- whatever happens


class Story:
    """A conversation as those saw it who lost no frame of it: turns of two processes, some of which die."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self._chance = chance
        self.sent: list[tuple[int, bytes]] = []
        self.written: list[bool] = []
        self.died: set[int] = set()
        """Places of frames that died with their process: nobody can know of them who has not seen them."""

    async def turn(self, log: ChatLog) -> None:
        number, first = await log.begin(self.name), len(self.sent)
        dies = self._chance.random() < 0.4
        lost_from = self._chance.randint(0, 6) if dies else 7
        for place in range(self._chance.randint(0, 6)):
            number += 1
            self.add(log, number, written=place < lost_from and self._chance.random() < 0.9)
            if self._chance.random() < 0.3:
                await log.flush(self.name)
        if not dies:
            self.add(log, number + 1, written=True, ends=True)
        await log.flush(self.name)
        if dies:
            places = reversed(range(first, len(self.sent)))
            self.died.update(takewhile(lambda place: not self.written[place], places))

    def add(self, log: ChatLog, number: int, *, written: bool, ends: bool = False) -> None:
        frame = b"%d" % len(self.sent)
        self.sent.append((number, frame))
        self.written.append(written)
        if written:
            log.add(self.name, number, frame, ends=ends)

    def check(self, place: int, answer: list[tuple[int, bytes]] | None) -> None:
        """What somebody is sent who saw everything up to this frame."""
        rest = [other for other in range(place + 1, len(self.sent)) if other not in self.died]
        whole = all(self.written[other] for other in rest)
        if answer is not None:
            assert whole and answer == [self.sent[other] for other in rest]
        else:
            assert not whole or not self.written[place]


async def test_nobody_is_sent_a_wrong_frame(redis: Redis) -> None:
    """Processes take turns, die in the middle, lose frames on the way: whoever comes back from any frame they were ever
    sent gets just those that follow it, or is told that they cannot be had."""
    chance = random.Random(7)
    async with process(redis, patience=()) as one, process(redis, patience=()) as two:
        for number in range(15):
            story = Story(f"story-{number}", chance)
            for _ in range(5):
                await story.turn(chance.choice((one, two)).log)
            for place, (seq, _) in enumerate(story.sent):
                story.check(place, await one.log.since(story.name, seq))
