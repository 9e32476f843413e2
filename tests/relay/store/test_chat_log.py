"""The log of a chat's frames: written behind, read again from anywhere, and never wrong about what is missing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.errors import StoreError
from relay.store.chat_entries import log_key
from relay.store.chat_log import JUMP, ChatLog
from relay.store.client import connect
from relay.store.history import state_key
from relay.store.subscription import Subscription
from tests.calls.checks import eventually
from tests.relay.store.servers import FragileRedis

CHAT, OTHER = "chat-1", "chat-2"


class Process:
    """The log as one process has it, and how many frames it has lost."""

    def __init__(self, redis: Redis, **options: Any) -> None:
        self.lost = 0
        settings = {"ttl": 60.0, "window": 0.005, "patience": (0.005,), **options}
        self.log = ChatLog(redis, lost=self._lose, **settings)
        self.subscription = Subscription(redis, again=(0.01, 0.05))
        self.log.listen(self.subscription)

    def _lose(self, count: int) -> None:
        self.lost += count

    def add(self, *numbers: int, ends: bool = False, conversation: str = CHAT) -> None:
        """Frames with these numbers; ``ends``: the last of them ends its turn."""
        for number in numbers:
            self.log.add(conversation, number, frame(number), ends=ends and number == numbers[-1])

    async def turn(self, frames: int, *, conversation: str = CHAT) -> list[int]:
        """A whole turn, written; the numbers of its frames."""
        first = await self.log.begin(conversation) + 1
        numbers = [*range(first, first + frames)]
        self.add(*numbers, ends=True, conversation=conversation)
        await self.log.flush(conversation)
        return numbers


def frame(number: int) -> bytes:
    return b'{"type":"delta","seq":%d}' % number


def frames(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, frame(number)) for number in numbers]


@asynccontextmanager
async def process(
    redis: Redis, *, listens: bool = False, patient: float = 2.0, **options: Any
) -> AsyncIterator[Process]:
    made = Process(redis, **options)
    made.log.start()
    if listens:
        made.subscription.start()
        await eventually(lambda: made.subscription.listening, 5)
    yield made
    await made.subscription.close()
    await made.log.close(patient)


@pytest.fixture
async def one(redis: Redis) -> AsyncIterator[Process]:
    async with process(redis) as made:
        yield made


@pytest.fixture
async def two(redis: Redis) -> AsyncIterator[Process]:
    async with process(redis) as made:
        yield made


class Client:
    """Who follows a conversation."""

    def __init__(self, process: Process, after: int, conversation: str = CHAT) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.told_lost = 0
        self.unfollow = process.log.follow(conversation, after, self._take, self._lost)

    def _take(self, seq: int, frame: bytes) -> None:
        self.seen.append((seq, frame))

    def _lost(self) -> None:
        self.told_lost += 1

    async def sees(self, *numbers: int) -> None:
        await eventually(lambda: len(self.seen) >= len(numbers) or self.told_lost, 5)
        assert (self.seen, self.told_lost) == (frames(*numbers), 0)


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


# -- who follows


async def test_a_follower_sees_every_frame_of_others_once(redis: Redis) -> None:
    """Those that were there and those that come, until it wants no more; what its own process adds it knows already."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(3)
        client, late = Client(two, 1), Client(two, 3)
        await client.sees(2, 3)
        await one.turn(2)
        await client.sees(2, 3, 4, 5)
        await late.sees(4, 5)
        assert await two.turn(2) == [6, 7]
        await one.turn(1)
        await client.sees(2, 3, 4, 5, 8)
        client.unfollow()
        client.unfollow()
        await one.turn(1)
        await late.sees(4, 5, 8, 9)
        await client.sees(2, 3, 4, 5, 8)


async def test_a_process_does_not_read_what_it_writes(redis: Redis) -> None:
    """However much that is, and though it follows: nothing is asked for as long as nobody else writes."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(1)
        client = Client(two, 0)
        await client.sees(1)
        await one.log.begin(CHAT)  # and dies
        assert (await two.turn(2))[0] == 1 + JUMP + 1
        await redis.config_resetstat()
        number = (await two.turn(200))[-1]
        for _ in range(10):
            await two.turn(20)
        assert "cmdstat_xrange" not in await redis.info("commandstats")
        assert client.seen == frames(1)
        assert (await one.turn(1))[0] == number + 201
        await client.sees(1, number + 201)


async def test_a_follower_may_leave_in_the_middle(redis: Redis) -> None:
    """Nothing is sent to it after that, though it is there."""
    async with process(redis, listens=True) as one:
        await one.turn(5)
        seen: list[int] = []

        def take(seq: int, frame: bytes) -> None:
            seen.append(seq)
            if seq == 2:
                unfollow()

        unfollow = one.log.follow(CHAT, 0, take, lambda: seen.append(-1))
        await eventually(lambda: len(seen) >= 2, 5)
        other = Client(one, 0)
        await other.sees(1, 2, 3, 4, 5)
        assert seen == [1, 2]


async def test_a_follower_is_told_what_it_cannot_have(redis: Redis) -> None:
    """Once, at once or later, and nothing more is sent to it."""
    async with process(redis, listens=True) as one, process(redis, listens=True) as two:
        await one.turn(2)
        mistaken, good = Client(two, 9), Client(two, 2)
        await eventually(lambda: mistaken.told_lost, 5)
        await one.log.begin(CHAT)
        one.add(5)  # 3 and 4 were lost on the way
        await one.log.flush(CHAT)
        await eventually(lambda: good.told_lost, 5)
        one.add(6)
        await one.log.flush(CHAT)
        assert (mistaken.seen, mistaken.told_lost, good.seen, good.told_lost) == ([], 1, [], 1)


async def test_closing_ends_the_following(redis: Redis) -> None:
    """No task is left behind."""
    async with process(redis, listens=True) as one:
        await one.turn(1)
        client = Client(one, 0)
        await client.sees(1)
    assert not [task for task in asyncio.all_tasks() if "follow" in task.get_name()]


async def test_followers_outlive_an_outage(fragile: FragileRedis) -> None:
    """What was written while nobody was heard is seen when they are heard again."""
    async with cut_off(fragile) as (one, two, line):
        await one.turn(2)
        client = Client(two, 0)
        await client.sees(1, 2)
        await line.kill()
        await one.turn(2)
        await client.sees(1, 2, 3, 4)


class Line:
    """The connections of one client, which may be cut from the server's side."""

    def __init__(self, server: FragileRedis, name: str) -> None:
        self._server = server
        self._name = name

    async def kill(self) -> None:
        for line in self._server.admin("CLIENT", "LIST").decode().splitlines():
            fields = dict(pair.partition("=")[::2] for pair in line.split())
            if fields["name"] == self._name:
                self._server.admin("CLIENT", "KILL", "ID", fields["id"])


@asynccontextmanager
async def cut_off(server: FragileRedis) -> AsyncIterator[tuple[Process, Process, Line]]:
    """Two processes; the second one's connections may be cut."""
    redis, other = connect(server.url), connect(f"{server.url}?client_name=second")
    async with process(redis) as one, process(other, listens=True) as two:
        yield one, two, Line(server, "second")
    await redis.aclose()
    await other.aclose()


# -- Redis away


async def test_an_outage_delays_what_is_written(fragile: FragileRedis, weak: Redis) -> None:
    """Adding goes on, who flushes and who reads is told, the log says so once; all of it is there afterwards, nothing
    of it twice."""
    async with process(weak) as one:
        await one.turn(2)
        with capture_logs() as logs:
            fragile.freeze()
            await one_by_one(one, 3, 5)
            fragile.thaw()
            await eventually(lambda: not len(one.log), 10)
        one.add(6, ends=True)
        assert await one.log.since(CHAT, 0) == frames(*range(1, 7))
        assert [each["event"] for each in logs] == ["chat log not written"]
        assert one.lost == 0


async def one_by_one(process: Process, first: int, last: int) -> None:
    """Frames added while Redis does not answer; each may be sent, and sent again."""
    for number in range(first, last + 1):
        process.add(number)
        with pytest.raises(StoreError):
            await process.log.flush(CHAT)
    with pytest.raises(StoreError):
        await process.log.since(CHAT, 0)


async def test_a_server_that_lost_everything(fragile: FragileRedis, weak: Redis) -> None:
    """A log that is gone is not begun in the middle: who comes back is told to load anew, and the next turn is kept."""
    async with process(weak) as one:
        await one.turn(2)
        await one.log.begin(CHAT)
        fragile.stop()
        one.add(3, 4)
        with pytest.raises(StoreError):
            await one.log.flush(CHAT)
        fragile.start()
        await one.log.flush(CHAT)
        assert await weak.keys() == []
        assert await one.log.since(CHAT, 2) is None
        assert await one.turn(2) == [1, 2]
        assert await one.log.since(CHAT, 0) == frames(1, 2)


async def test_what_waits_is_bounded(weak: Redis, fragile: FragileRedis) -> None:
    """What is too much is dropped and counted, and its place is known to be empty."""
    async with process(weak, most=5, patient=0) as one:
        await one.turn(1)
        fragile.stop()
        one.add(*range(2, 12))
        assert (len(one.log), one.lost) == (5, 5)
    assert one.lost == 10


async def test_what_was_dropped_is_missed(redis: Redis) -> None:
    """A gap inside a turn is seen by those who were before it, and by nobody else."""
    async with process(redis, most=5, window=0.05) as one:
        await one.log.begin(CHAT)
        one.add(*range(1, 9))
        await one.log.flush(CHAT)
        one.add(9, 10, ends=True)
        await one.log.flush(CHAT)
        assert await one.log.since(CHAT, 4) is None
        assert await one.log.since(CHAT, 5) is None
        assert await one.log.since(CHAT, 8) == frames(9, 10)
        assert one.lost == 3


async def test_a_key_that_is_no_log_keeps_nobody_else_from_writing(one: Process, redis: Redis) -> None:
    """It is given up, the others are written."""
    await redis.set(log_key(OTHER), "in the way")
    await one.log.begin(CHAT)
    one.add(1, conversation=OTHER)
    one.add(1)
    await one.log.flush(OTHER)
    assert await one.log.since(CHAT, 0) == frames(1)


async def test_what_was_forgotten_meanwhile_stays_so(one: Process, redis: Redis) -> None:
    """Frames of a turn whose conversation was removed bring nothing of it back."""
    await one.turn(2)
    await one.log.begin(CHAT)
    await redis.delete(log_key(CHAT))
    one.add(3, 4, ends=True)
    await one.log.flush(CHAT)
    assert await redis.keys() == []


async def test_closing_writes_what_waits(redis: Redis) -> None:
    """And takes nothing more."""
    async with process(redis, window=0.2) as one:
        await one.log.begin(CHAT)
        one.add(1, 2)
    one.add(3)
    assert one.lost == 1
    async with process(redis) as two:
        assert await two.log.since(CHAT, 0) == frames(1, 2)


async def test_a_flush_that_is_given_up_harms_nobody(one: Process) -> None:
    """Neither the frames nor others who wait for them."""
    await one.log.begin(CHAT)
    one.add(1)
    first = asyncio.create_task(one.log.flush(CHAT), name="flush")
    second = asyncio.create_task(one.log.flush(CHAT), name="flush")
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert await one.log.since(CHAT, 0) == frames(1)


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
