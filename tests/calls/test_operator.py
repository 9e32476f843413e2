"""An operator acts on a live call, and whoever watches is told of calls, whichever of two processes has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession
from redis.asyncio import Redis
from structlog.testing import capture_logs

from handlers.operating import SUMMARY
from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.items import OPERATOR, AssistantItem
from relay.store.history import state_key
from tests.calls.checks import heard, in_order, remembered, words_of, words_shown
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running, write_agent
from tests.watchers import SOON, watching

GREETING = "Hello from the test."
LINE = "The pool is closed today."
BRIDGE = "One moment, please, I'm connecting you."
GOODBYE = "Thank you for calling. Goodbye."
NUMBER = "+15555550111"
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = []
[says]
goodbye = {{ en = "{GOODBYE}" }}
[relay]
events = "speaker-events tokens-played"
[limits]
after_interrupt = 0.2
"""


@dataclass
class Two:
    """Processes with one Redis: ``first`` has the calls of the test, ``desk`` is the one that operators ask."""

    first: Running
    desk: Running


async def order(process: Running, call: str, action: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    url = f"{process.url}/dashboard/api/conversations/{call}/{action}"
    async with ClientSession() as http, http.post(url, json=fields) as answer:
        return answer.status, await answer.json()


@pytest.fixture(params=["its own process", "another process"])
def asked(request: pytest.FixtureRequest) -> str:
    """Which process an operator asks."""
    return str(request.param)


@asynccontextmanager
async def processes(redis_url: str, tmp_path: Path, asked: str, **environ: str) -> AsyncIterator[Two]:
    agents = write_agent(tmp_path / "agents", AGENT)
    write_agent(agents, AGENT.replace("Test", "The bar"), "bar", "You are the bar.")
    async with AsyncExitStack() as stack:

        async def start() -> Running:
            return await stack.enter_async_context(
                running(redis_url, tmp_path / "data", agents=agents, environ=environ)
            )

        first = await start()
        two = Two(first, first if asked == "its own process" else await start())
        for process in {first.url: first, two.desk.url: two.desk}.values():
            async with watching(process):  # it hears the other one
                pass
        yield two


@pytest.fixture
async def two(redis: Redis, redis_url: str, tmp_path: Path, asked: str) -> AsyncIterator[Two]:
    async with processes(redis_url, tmp_path, asked, TRANSFER_TO=NUMBER) as made:
        yield made


async def begun(call: Caller, process: Running) -> str:
    """The call is talking, and it is written which process has it."""
    await call.greeting_played()
    sid = call.record.call_sid
    async with asyncio.timeout(SOON):
        while not await process.redis.hget(state_key(sid), "worker"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return sid


async def test_a_line_is_heard_and_known_to_the_model(two: Two) -> None:
    """In the agent's voice behind the reply; the model takes it for its own words, the history for the operator's."""
    gate = Gate()
    two.first.model.script(Reply(["We open ", "at nine."], gate=gate, gate_at=1), Reply("Yes, it is."))
    async with Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        await call.say("When do you open?")
        await gate.reached.wait()
        assert await order(two.desk, sid, "say", text=f"  {LINE}\n") == (202, {"delivered": True})
        gate.set()
        await call.until(lambda: heard(call)[-1] == LINE)
        await call.say("Really?")
        await call.until(lambda: heard(call)[-1] == "Yes, it is.")
        await in_order(call)
        assert heard(call) == [GREETING, "We open at nine.", LINE, "Yes, it is."]
        assert words_shown(two.first.model.asked[-1]) == [GREETING, "We open at nine.", LINE]
        items = await remembered(two.first, sid, lambda items: "Yes, it is." in words_of(items))
        assert [item.origin for item in items if isinstance(item, AssistantItem) and item.text == LINE] == [OPERATOR]


async def test_a_line_that_is_not_said_any_more_is_told(two: Two) -> None:
    """Whoever watches learns with the call's end that a line waited for it, and that none did."""
    gate = Gate()
    two.first.model.script(Reply(["We open ", "at nine."], gate=gate, gate_at=1))
    async with watching(two.desk) as events:
        for unsaid in (1, 0):
            async with Caller(two.first.url, pace=FAST) as call:
                sid = await begun(call, two.first)
                if unsaid:
                    await call.say("When do you open?")
                    await gate.reached.wait()
                await order(two.desk, sid, "say", text=LINE)
                if not unsaid:
                    await call.until(lambda call=call: heard(call)[-1] == LINE)
                await call.hang_up()
            async with asyncio.timeout(SOON):
                while (told := await events.get())["event"] != "call_ended":
                    pass
            assert (told["id"], told["unsaid"]) == (sid, unsaid)
            assert LINE not in str(told)


async def test_another_agent_answers(two: Two) -> None:
    """From the next turn on, by its own prompt."""
    two.first.model.script(Reply("A beer?"))
    async with Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        assert (await order(two.desk, sid, "agent", agent="nobody"))[1]["code"] == "unknown_agent"
        assert (await order(two.desk, sid, "agent", agent="bar"))[0] == 202
        await call.say("What is there?")
        await call.until(lambda: heard(call)[-1] == "A beer?")
        assert "You are the bar." in str(two.first.model.asked[-1].body)
        await in_order(call)


async def test_a_person_takes_the_call(two: Two) -> None:
    """After the bridging line, and is told why."""
    async with Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        assert (await order(two.desk, sid, "transfer", reason="complaint"))[0] == 202
        outcome = await call.ended()
        assert (outcome.how, outcome.number) == ("transfer", NUMBER)
        assert heard(call) == [GREETING, BRIDGE]
        assert call.record.whispers == [f"complaint. {SUMMARY}"]


async def test_a_call_is_hung_up(two: Two) -> None:
    """The goodbye is heard to its end; then the call is not live any more."""
    async with Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        assert (await order(two.desk, sid, "hangup"))[0] == 202
        await call.ended()
        assert heard(call) == [GREETING, GOODBYE]
        assert call.record.unplayed_at_end == ""
    async with asyncio.timeout(SOON):
        while await two.first.redis.hget(state_key(sid), "reason") != b"operator":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert await order(two.desk, sid, "say", text=LINE) == (
        404,
        {"code": "not_live", "message": "There is no such call now."},
    )


async def test_what_is_done_is_logged_without_words(two: Two) -> None:
    """By the process that has the call: what, and to which. What follows from it is the call's, in the log too."""
    async with Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        with capture_logs([structlog.contextvars.merge_contextvars]) as records:
            await order(two.desk, sid, "say", text=LINE)
            await order(two.desk, sid, "agent", agent="bar")
            await order(two.desk, sid, "transfer", reason="a secret")
        done = [record for record in records if record["event"] == "operator"]
        assert done == [
            {"event": "operator", "log_level": "info", "call_sid": sid, "action": action}
            for action in ("say", "agent", "transfer")
        ]
        (switched,) = [record for record in records if record["event"] == "agent switched"]
        assert switched["session_id"] == call.record.session_ids[-1]
        assert LINE not in str(records) and "a secret" not in str(records)


async def test_nobody_to_hand_a_call_to(redis: Redis, redis_url: str, tmp_path: Path, asked: str) -> None:
    """Says so, and the call goes on."""
    async with processes(redis_url, tmp_path, asked) as two, Caller(two.first.url, pace=FAST) as call:
        sid = await begun(call, two.first)
        status, told = await order(two.desk, sid, "transfer")
        assert (status, told["code"]) == (409, "no_transfer")
        assert heard(call) == [GREETING]


@pytest.mark.parametrize("asked", ["its own process"], indirect=True)
async def test_a_process_that_is_gone_does_not_answer(two: Two) -> None:
    """What stands in Redis of a call whose process died is no call that can be reached."""
    await two.first.redis.hset(state_key("CA9"), mapping={"worker": "gone", "epoch": "1"})
    status, told = await order(two.desk, "CA9", "hangup")
    assert (status, told["code"]) == (503, "no_answer")


async def test_a_call_of_the_process_that_is_asked_needs_no_redis(tmp_path: Path) -> None:
    """And one of another process cannot be reached meanwhile."""
    with fragile_redis() as server:
        agents = write_agent(tmp_path / "agents", AGENT)
        async with running(server.url, tmp_path / "data", agents=agents) as line, Caller(line.url, pace=FAST) as call:
            sid = await begun(call, line)
            server.stop()
            assert (await order(line, sid, "say", text=LINE))[0] == 202
            await call.until(lambda: heard(call)[-1] == LINE)
            assert (await order(line, "CA9", "hangup"))[1]["code"] == "no_answer"
            await call.hang_up()
            server.start()


async def test_both_processes_tell_whoever_watches(two: Two) -> None:
    """A watcher of either process is told of the calls of both, each event once, in order."""
    two.first.model.script(Reply("At nine."))
    two.desk.model.script(Reply("At nine."))
    async with watching(two.first) as one, watching(two.desk) as other:
        sids = []
        for process in (two.first, two.desk):
            async with Caller(process.url, pace=FAST) as call:
                sids.append(await begun(call, process))
                await call.say("When do you open?")
                await call.until(lambda call=call: heard(call)[-1] == "At nine.")
                await call.hang_up()
            for events in (one, other):
                told = [await asyncio.wait_for(events.get(), SOON) for _ in range(3)]
                assert [(event["event"], event["id"]) for event in told] == [
                    (name, sids[-1]) for name in ("call_started", "turn", "call_ended")
                ]
                assert "open" not in str(told)
        assert one.empty() and other.empty()
