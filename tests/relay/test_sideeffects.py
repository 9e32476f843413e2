"""Side effects of a session: an outcome always comes, and the record says what is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from relay.jobs import Jobs
from relay.masks import MASK, Masks
from relay.models.base import ToolCall, ToolSpec
from relay.sideeffects import IN_DOUBT, SideEffects
from relay.store.effects import Answered, Beginning, Begun, Effects, InDoubt
from relay.toolbox import ToolContext, ToolOutcome, ToolPolicy

CONTEXT = ToolContext("CA1", "voice", "default")


class Tools:
    """One outcome for every call, behind the gate if there is one."""

    def __init__(self, outcome: ToolOutcome) -> None:
        self.outcome = outcome
        self.runs = 0
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return ()

    def policy(self, name: str) -> ToolPolicy:
        return ToolPolicy(side_effect=True)

    def canonical(self, name: str, arguments: str) -> str:
        return arguments

    def objection(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome | None:
        return None

    async def run(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome:
        self.runs += 1
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.outcome


async def carry_out(redis: Redis, outcome: ToolOutcome, arguments: str = "{}") -> tuple[ToolOutcome, Effects]:
    effects, jobs = Effects(redis, 60), Jobs()
    done: asyncio.Future[ToolOutcome] = asyncio.get_running_loop().create_future()
    SideEffects(Tools(outcome), effects, jobs, CONTEXT, 1).start(
        ToolCall("c1", "book", arguments), 1, CONTEXT, done.set_result
    )
    result = await asyncio.wait_for(done, 20)
    await jobs.drain(2)
    return result, effects


async def test_what_nobody_is_certain_of_stays_on_record(redis: Redis) -> None:
    """Whoever asks next, here or elsewhere, is told to check."""
    _, effects = await carry_out(redis, ToolOutcome("{}", ok=False, certain=False))
    assert isinstance(await effects.begin("CA1", 1, "book", "{}", "other"), InDoubt)


async def test_what_was_refused_may_be_tried_again(redis: Redis) -> None:
    """It had no effect, and leaves no record."""
    _, effects = await carry_out(redis, ToolOutcome("{}", ok=False))
    assert isinstance(await effects.begin("CA1", 1, "book", "{}", "other"), Begun)


async def test_odd_arguments_reach_the_record(redis: Redis) -> None:
    """A lone surrogate is no reason to leave the caller without an outcome."""
    outcome, _ = await carry_out(redis, ToolOutcome('"done"'), '{"name":"\ud83d"}')
    assert outcome.ok


async def test_a_wish_made_again_right_after_a_turn_that_ended_is_carried_out_again(redis: Redis) -> None:
    """Result, end of the turn and the new wish come closer together than Redis answers: their order still counts."""
    tools, jobs = Tools(ToolOutcome('"booked"')), Jobs()
    effects = SideEffects(tools, Effects(redis, 60), jobs, CONTEXT, 1)
    loop = asyncio.get_running_loop()
    for again in range(20):
        done: asyncio.Future[ToolOutcome] = loop.create_future()
        effects.start(ToolCall("c", "book", "{}"), again, CONTEXT, done.set_result)
        await asyncio.wait_for(done, 20)
        effects.settle()
    assert tools.runs == 20
    await jobs.drain(2)


async def test_an_end_of_a_turn_that_redis_missed_is_made_up_for_before_the_next_wish(redis: Redis) -> None:
    tools, jobs, record = Tools(ToolOutcome('"booked"')), Jobs(), Effects(redis, 60)
    effects = SideEffects(tools, record, jobs, CONTEXT, 1)

    async def wish(key: int) -> None:
        done: asyncio.Future[ToolOutcome] = asyncio.get_running_loop().create_future()
        effects.start(ToolCall("c", "book", "{}"), key, CONTEXT, done.set_result)
        await asyncio.wait_for(done, 20)
        await jobs.drain(2)

    await wish(1)
    await redis.execute_command("CLIENT", "PAUSE", "700", "WRITE")
    effects.settle()
    await jobs.drain(2)
    await redis.execute_command("CLIENT", "UNPAUSE")
    await wish(2)
    assert tools.runs == 2


async def test_what_a_session_before_has_running_outlasts_the_turns_of_the_next_one(redis: Redis) -> None:
    """The line dropped in the middle, the call went on: the same wish does not run beside itself."""
    tools, jobs, record = Tools(ToolOutcome('"booked"')), Jobs(), Effects(redis, 60)
    tools.gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    first: asyncio.Future[ToolOutcome] = loop.create_future()
    SideEffects(tools, record, jobs, CONTEXT, 1).start(ToolCall("c1", "book", "{}"), 1, CONTEXT, first.set_result)
    await asyncio.wait_for(tools.begun.wait(), 20)
    resumed = SideEffects(tools, record, jobs, CONTEXT, 2)
    resumed.settle()  # it has told the caller that the outcome is unknown
    second: asyncio.Future[ToolOutcome] = loop.create_future()
    resumed.start(ToolCall("c2", "book", "{}"), 2, CONTEXT, second.set_result)
    assert await asyncio.wait_for(second, 20) == IN_DOUBT
    tools.gate.set()
    assert (await asyncio.wait_for(first, 20)).ok
    await jobs.drain(2)
    assert tools.runs == 1
    third: asyncio.Future[ToolOutcome] = loop.create_future()
    resumed.start(ToolCall("c3", "book", "{}"), 3, CONTEXT, third.set_result)
    assert (await asyncio.wait_for(third, 20)).output == '"booked"' and tools.runs == 1
    await jobs.drain(2)


async def test_the_record_is_masked_and_the_outcome_is_not(redis: Redis) -> None:
    """What the caller keyed in is for the call alone."""
    masks, effects, jobs = Masks(), Effects(redis, 60), Jobs()
    masks.add(1, "1234")
    done: asyncio.Future[ToolOutcome] = asyncio.get_running_loop().create_future()
    outcome = ToolOutcome('{"account":"1234"}')
    SideEffects(Tools(outcome), effects, jobs, CONTEXT, 1, masks).start(
        ToolCall("c1", "book", '{"account":"1234"}'), 1, CONTEXT, done.set_result
    )
    assert await asyncio.wait_for(done, 20) == outcome
    await jobs.drain(2)
    answered = await effects.begin("CA1", 1, "book", '{"account":"1234"}', "other")
    assert answered == Answered(f'{{"account":"{MASK}"}}')


class Asked(Effects):
    """Counts the wishes it is asked about."""

    wishes = 0

    async def begin(self, conversation: str, epoch: int, tool: str, canonical: str, owner: str) -> Beginning:
        self.wishes += 1
        return await super().begin(conversation, epoch, tool, canonical, owner)


async def test_a_silent_record_is_not_asked_twice_while_the_caller_waits(redis: Redis) -> None:
    """Where it has not even learnt of the end of the turn before, the wish is carried out without it."""
    tools, jobs, record = Tools(ToolOutcome('"booked"')), Jobs(), Asked(redis, 60, deadline=0.1)
    effects = SideEffects(tools, record, jobs, CONTEXT, 1)

    async def wish(key: int, arguments: str) -> None:
        done: asyncio.Future[ToolOutcome] = asyncio.get_running_loop().create_future()
        effects.start(ToolCall("c", "book", arguments), key, CONTEXT, done.set_result)
        assert (await asyncio.wait_for(done, 20)).ok

    await wish(1, '{"first":1}')
    await jobs.drain(2)
    await redis.execute_command("CLIENT", "PAUSE", "30000", "WRITE")
    effects.settle()
    await wish(2, "{}")
    assert record.wishes == 1
    await redis.execute_command("CLIENT", "UNPAUSE")
    await jobs.drain(2)
    await wish(3, "{}")
    assert record.wishes == 2
    await jobs.drain(2)
