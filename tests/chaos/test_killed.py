"""A process that is killed in the middle of calls: another one goes on with them, or records how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.items import AssistantItem, Item, UserItem
from tests.calls.checks import GREETING, heard, in_order, shown, told
from tests.calls.front import Front
from tests.chaos.fleet import AGENT, Fleet, fleet
from tests.fakes.report_server import ReportServer, report_server
from tests.running import write_agent

DUE = "{aftercall}:due"
CUT_OFF = "We were cut off. Please go on."
TALE = ["Once ", "a fox ", "came by, ", "and ", "two ", "hens ", "and so on."]
PLAYED = "Once a fox came by,"


@pytest.fixture
async def reports() -> AsyncIterator[ReportServer]:
    async with report_server() as server:
        yield server


@pytest.fixture
async def processes(redis: Redis, redis_url: str, tmp_path: Path, reports: ReportServer) -> AsyncIterator[Fleet]:
    agents = write_agent(tmp_path / "agents", AGENT)
    async with fleet(redis, redis_url, tmp_path, agents, RESUME_LIMIT="1", **reports.environ) as made:
        yield made


async def eventually(ask: Callable[[], Awaitable[object]], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not await ask():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stored(processes: Fleet, call: Caller, want: Callable[[list[Item]], object]) -> None:
    """Returns once this is true of the history of a call."""

    async def ask() -> object:
        items = await processes.history(call.record.call_sid)
        return items and want(items)

    await eventually(ask)


async def in_the_middle(processes: Fleet, call: Caller, gate: Gate) -> None:
    """The call has heard a part of a reply, and Redis knows which."""

    def known(items: list[Item]) -> object:
        return isinstance(items[-1], AssistantItem) and items[-1].heard == len(PLAYED.split())

    processes.model.script(Reply(TALE, gate=gate, gate_at=4))
    await call.greeting_played()
    await call.say("A story")
    await call.until(lambda: call.record.turn.heard == PLAYED)
    await stored(processes, call, known)


async def test_calls_of_a_process_that_was_killed_go_on_in_another(processes: Fleet) -> None:
    """In mid reply: it knows the words that were heard, whole ones, and none that were not. Before the first word: the
    question is answered at once, without being asked again."""
    first, second = await asyncio.gather(processes.launch(), processes.launch())
    gate, silent = Gate(), Gate()
    async with (
        Front(first.url) as front,
        Caller(front.url, pace=FAST, http=processes.http) as talking,
        Caller(front.url, pace=FAST, http=processes.http) as waiting,
    ):
        await in_the_middle(processes, talking, gate)
        processes.model.script(Reply("Never heard.", gate=silent), Reply("There was a fox."))
        await waiting.greeting_played()
        await waiting.say("Tell me")
        await asyncio.wait_for(silent.reached.wait(), 20)
        await stored(processes, waiting, lambda items: isinstance(items[-1], UserItem))

        front.pass_on(second.url)
        await processes.kill(first)
        await waiting.until(lambda: heard(waiting)[-1] == "There was a fox.")
        assert heard(waiting) == [GREETING, "There was a fox."]
        await talking.until(lambda: heard(talking)[-1] == CUT_OFF)
        reported = talking.record.actions[0]
        assert (reported["SessionStatus"], reported["CallStatus"]) == ("failed", "in-progress")
        processes.model.script(Reply("A fox came."))
        await talking.say("Who came?")
        await talking.until(lambda: heard(talking)[-1] == "A fox came.")
        for call in (talking, waiting):
            await in_order(call)
        lines = [
            ("assistant", GREETING),
            ("user", "A story"),
            ("assistant", PLAYED),
            ("assistant", CUT_OFF),
            ("user", "Who came?"),
        ]
        assert shown(processes.model.asked[-1]) == lines
        await stored(processes, talking, lambda items: told(items) == [*lines, ("assistant", "A fox came.")])
        gate.set()
        silent.set()


async def test_calls_that_die_with_their_process_are_recorded(
    processes: Fleet, reports: ReportServer, redis: Redis
) -> None:
    """By the callback of their end, or of one resume too many; or, where Twilio never tells anything, by another
    process that finds them a quarter of an hour later."""
    first, second = await asyncio.gather(processes.launch(), processes.launch())
    gates = [Gate(), Gate(), Gate()]
    async with Front(first.url) as front, AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(Caller(front.url, pace=FAST, http=processes.http)) for _ in gates]
        for call, gate in zip(calls, gates, strict=True):
            await in_the_middle(processes, call, gate)
            await eventually(lambda call=call: redis.zscore(DUE, call.record.call_sid))  # type: ignore[misc]
        actions = [call.session.relay.action for call in calls]
        await processes.kill(first)
        for call in calls:
            assert (await call.ended()).how == "lost"  # its callback reaches nobody
    hung_up, given_up, untold = (call.record.call_sid for call in calls)
    await post(processes, second.url, actions[0], calls[0], "completed")
    await post(processes, second.url, actions[1].replace("attempt=0", "attempt=1"), calls[1], "in-progress")
    for sid in (hung_up, given_up):
        await eventually(lambda sid=sid: redis.exists(after(sid)))  # type: ignore[misc]
    for sid in (hung_up, given_up, untold):
        await a_quarter_of_an_hour_passes(redis, sid)
    await reports.until(lambda: len(reports.received) == 3)
    outcomes = {hung_up: "completed", given_up: "failed", untold: "lost"}
    assert {each.data["call_sid"]: each.data["outcome"] for each in reports.received} == outcomes
    for each in reports.received:
        said = each.data["transcript"][-1]
        assert said["heard"] == PLAYED
        assert said["text"].startswith(PLAYED)
    await eventually(lambda: nothing_is_due(redis))
    for sid, outcome in outcomes.items():
        assert await redis.hget(after(sid), "outcome") == outcome.encode()
    for gate in gates:
        gate.set()


def after(call_sid: str) -> str:
    return f"conversation:{{{call_sid}}}:after"


async def nothing_is_due(redis: Redis) -> bool:
    return await redis.zcard(DUE) == 0


async def post(processes: Fleet, url: str, action: str, call: Caller, call_status: str) -> None:
    """Twilio's callback of a session that failed, to this process."""
    fields = {
        "CallSid": call.record.call_sid,
        "SessionId": call.record.session_ids[0],
        "SessionStatus": "failed",
        "CallStatus": call_status,
    }
    async with processes.http.post(url + action[action.index("/voice/") :], data=fields) as answer:
        assert answer.status == 200


async def a_quarter_of_an_hour_passes(redis: Redis, call_sid: str) -> None:
    """For this call, and a minute more: what is known of its last session was that much earlier, and what is due is due
    that much sooner."""
    passed = 16 * 60 * 1000
    times = {f"conversation:{{{call_sid}}}:state": ["epoch", "seen"]}
    times[after(call_sid)] = [name.decode() for name in await redis.hkeys(after(call_sid)) if name.startswith(b"told:")]
    for key, names in times.items():
        for name in names:
            await redis.hincrby(key, name, -passed)
    await redis.zincrby(DUE, -passed, call_sid)
