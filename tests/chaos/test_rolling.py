"""Two processes behind a balancer are restarted one after the other while calls talk: no caller is lost."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from config.says import BUILT_IN
from phone.caller import FAST, Caller
from phone.model import Ask, Reply
from relay.frames import End
from relay.items import AssistantItem, UserItem
from tests.calls.checks import GREETING, heard
from tests.chaos.balancer import Balancer
from tests.chaos.fleet import AGENT, Fleet, fleet
from tests.commands.serving import Serving
from tests.running import write_agent
from tests.scale import scaled

CALLS = scaled(200, 6)
MOVING = BUILT_IN["moving"]["en"]
PATIENCE = 30.0  # seconds without an answer after which a caller says it again


def answer(ask: Ask) -> Reply:
    """Names the last number the caller has said, in one word, which is heard or not; now and then not at once."""
    said = [entry.text for entry in ask.entries if entry.kind == "user"][-1]
    number = re.findall(r"\d+", said)[-1]
    return Reply([f"Answer-{number}."], first=0.3 if number.endswith("3") else 0.01)


@dataclass
class Chat:
    """A caller who says one number after the other. ``said``: those that were answered or are being answered."""

    call: Caller
    rng: random.Random
    said: list[int] = field(default_factory=list)

    @property
    def bridges(self) -> int:
        """How many bridging lines were heard, or the beginnings of them."""
        return sum(MOVING.startswith(line) for line in heard(self.call))

    async def talk(self, over: asyncio.Event) -> None:
        await self.call.greeting_played()
        while not over.is_set():
            await self._ask(len(self.said) + 1)
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))

    async def _ask(self, number: int) -> None:
        self.said.append(number)
        wanted = f"Answer-{number}."
        while wanted not in heard(self.call):
            await self._say(f"Number {number}")
            try:
                await self.call.until(lambda: wanted in heard(self.call), PATIENCE)
            except TimeoutError:
                continue

    def _listened_to(self) -> bool:
        """Not between ``end`` and the next session."""
        return sum(isinstance(frame, End) for frame in self.call.frames) < len(self.call.record.session_ids)

    async def _say(self, text: str) -> None:
        """As soon as there is somebody to say it to."""
        while True:
            await self.call.until(lambda: self.call.outcome is not None or self._listened_to())
            assert self.call.outcome is None, f"the call was lost: {self.call.outcome}, {self.call.record.faults}"
            try:
                await self.call.say(text)
            except ConnectionError:
                continue
            return


@pytest.fixture
async def processes(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    agents = write_agent(tmp_path / "agents", AGENT)
    async with fleet(redis, redis_url, tmp_path, agents, DRAIN_SECONDS="0.5", SILENCE_AFTER="60") as made:
        made.model.behaviour = answer
        yield made


async def in_place(processes: Fleet, balancer: Balancer, old: Sequence[Serving]) -> list[Serving]:
    """Each leaves, and then another one takes its place: its calls go to what is left."""
    new = []
    for each in old:
        url = each.url
        assert await each.stop() == 0
        balancer.remove(url)
        new.append(await processes.launch())
        await balancer.add(new[-1].url)
    return new


async def new_ones_first(processes: Fleet, balancer: Balancer, old: Sequence[Serving]) -> list[Serving]:
    """As platforms do it: the others are there before the first one leaves, and get all new connections."""
    new = [await processes.launch() for _ in old]
    for each in new:
        await balancer.add(each.url)
    for each in old:
        balancer.remove(each.url)
    for each in old:
        assert await each.stop() == 0
    return new


async def test_rolling_restarts(processes: Fleet) -> None:
    """Two of them: no call is dropped, nothing is answered twice or not at all, every history is whole. A caller hears
    one line at most for each process that leaves: one in all where the new ones are there first."""
    rng, over = random.Random(1), asyncio.Event()
    async with Balancer(processes.http) as balancer, AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        first = await asyncio.gather(processes.launch(), processes.launch())
        for each in first:
            await balancer.add(each.url)
        chats = []
        for _ in range(CALLS):
            call = await stack.enter_async_context(Caller(balancer.url, pace=FAST, http=processes.http))
            chats.append(Chat(call, random.Random(rng.random())))
        talking = [group.create_task(chat.talk(over)) for chat in chats]

        second = await new_ones_first(processes, balancer, first)
        for chat in chats:
            await chat.call.until(lambda chat=chat: len(chat.call.record.session_ids) > 1)  # type: ignore[misc]
            assert len(chat.call.record.session_ids) == 2
            assert chat.bridges <= 1
        third = await in_place(processes, balancer, second)

        over.set()
        await asyncio.gather(*talking)
        for chat in chats:
            await chat.call.hang_up()
    await asyncio.gather(*(each.stop() for each in third))
    for chat in chats:
        assert chat.bridges < len(chat.call.record.session_ids) <= 4
        await judge(processes, chat)


async def judge(processes: Fleet, chat: Chat) -> None:
    """What was heard, and what is on record, is what was said and answered, in order, each once."""
    record = chat.call.record
    assert chat.call.outcome is not None
    assert chat.call.outcome.how == "caller"
    assert [each["SessionStatus"] for each in record.actions] == ["ended"] * (len(record.actions) - 1) + ["completed"]
    assert record.faults == []
    assert record.ghosts == []
    words = heard(chat.call)
    assert words[0] == GREETING
    answers = [line for line in words[1:] if not MOVING.startswith(line)]
    assert answers == [f"Answer-{number}." for number in chat.said]
    items = await processes.history(record.call_sid)
    said = [item.text for item in items if isinstance(item, UserItem)]
    assert said == [f"Number {number}" for number in chat.said]
    kept = [item.text.strip() for item in items if isinstance(item, AssistantItem) and item.origin != "moving"]
    assert kept == [GREETING, *answers]
