"""A call that is passed on, or changes its language, while something else of it is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from config.says import BUILT_IN
from handlers.connecting import CLOSED_NOTE
from phone.caller import FAST, Caller
from phone.endpoint.recorded import Recorded
from phone.model import Fault, Reply, ToolUse
from relay.frames import Language, Prompt
from relay.masks import MASK
from tests.calls.checks import Ear, heard, in_order, remembered, shown, told, whole
from tests.calls.house import PROCESSES, open_house
from tests.calls.workshop import Workshop, book, look
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running, write_agent

DESK = """
title = "The desk"
tools = ["switch_agent", "switch_language", "look", "book", "collect_digits", "transfer_to_human", "end_call"]
[relay]
dtmfDetection = true
[[languages]]
code = "es-US"
[says]
fillers = []
goodbye = "The desk says goodbye."
[limits]
after_interrupt = 0.2
"""
KITCHEN = """
title = "The kitchen"
tools = ["look", "transfer_to_human", "end_call", "switch_agent"]
[says]
fillers = []
goodbye = "The kitchen says goodbye."
"""
NUMBER = "+15555550111"


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def line(workshop: Workshop, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """``default`` is the desk; ``kitchen`` speaks English alone; ``follower`` is a desk that follows the caller's
    language."""
    agents = write_agent(tmp_path / "agents", DESK, prompt="You are the desk.")
    write_agent(agents, KITCHEN, "kitchen", "You are the kitchen.")
    write_agent(agents, "follow_language = true\n" + DESK, "follower", "You are the follower.")
    environ = {"TRANSFER_TO": NUMBER}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=workshop.add) as app:
        yield app


def use(name: str, **arguments: Any) -> ToolUse:
    return ToolUse(name, orjson.dumps(arguments).decode())


def switch(agent: str = "kitchen") -> ToolUse:
    return use("switch_agent", agent=agent)


def speaks(request: Recorded) -> str:
    return str(request.body["messages"][0]["content"])


def results(request: Recorded) -> list[dict[str, Any]]:
    return [orjson.loads(text) for kind, text in shown(request) if kind == "result"]


async def test_two_switches_in_one_round(line: Running) -> None:
    """The last one has the call."""
    line.model.script(Reply(tools=[switch(), switch("follower")]), Reply("Here I am."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Somebody else")
        assert await call.reply() == "Here I am."
        assert "You are the follower." in speaks(await line.model.received(2))
        assert [result["agent"] for result in results(line.model.asked[1])] == ["kitchen", "follower"]
        await in_order(call)


async def test_a_switch_and_the_end_in_one_round(line: Running) -> None:
    """The call ends, with the goodbye of the agent that has it then; no model is asked any more."""
    line.model.script(Reply(tools=[use("end_call"), switch()]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Bye")
        assert (await call.ended()).how == "agent"
        assert heard(call) == ["The kitchen says goodbye."]
        assert len(line.model.asked) == 1


async def test_a_failed_switch_does_not_end_the_call(line: Running) -> None:
    """The end that was asked for beside it is not carried out."""
    line.model.script(Reply(tools=[switch("cellar"), use("end_call")]), Reply("There is no cellar."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("The cellar, and bye")
        assert await call.reply() == "There is no cellar."
        assert [result["error"] for result in results(await line.model.received(2))] == ["try_again", "not_done"]
        assert call.outcome is None


async def test_a_call_handed_over_after_a_switch_comes_back_to_the_agent(line: Running) -> None:
    """Nobody took it: the agent it was passed on to has it, and is told so."""
    transfer = use("transfer_to_human", reason="other", summary="Soup.")
    line.model.script(Reply(tools=[switch()]), Reply("One moment.", [transfer]), Reply("Nobody is there."))
    async with Caller(line.url, pace=FAST, person="no-answer") as call:
        await call.say("The cook, please")
        await call.until(lambda: heard(call)[-1:] == ["Nobody is there."])
        third = await line.model.received(3)
        assert "You are the kitchen." in speaks(third) and "nobody took it" in shown(third)[-1][1]
        assert len(call.record.session_ids) == 2


async def test_a_side_effect_of_the_agent_before(line: Running, workshop: Workshop) -> None:
    """It ends after the switch: the new agent tells the caller of it."""
    gate = workshop.hold("table")
    line.model.script(Reply(tools=[book("table")]), Reply(tools=[switch()]), Reply("Kitchen."), Reply("It is booked."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("A table, please")
        await gate.reached.wait()
        await call.say("And the cook")
        await call.until(lambda: heard(call)[-1:] == ["Kitchen."])
        gate.set()
        await call.until(lambda: heard(call)[-1] == "It is booked.")
        last = await line.model.received(4)
        assert "You are the kitchen." in speaks(last) and last.ask is not None and "book" not in last.ask.tools
        assert results(last)[0] == {"what": "table", "time": 1}
        await in_order(call)


async def test_an_interrupt_while_a_switch_waits_for_its_sibling(line: Running, workshop: Workshop) -> None:
    """What was switched stays switched; the words that follow are the new agent's to answer, and history is whole."""
    gate, ear = workshop.hold("soup"), Ear()
    line.model.script(Reply("Let me see who is there now. ", [switch(), look("soup")]), Reply("Kitchen here."))
    async with Caller(line.url, pace=ear.pace) as call:
        stop = call.interrupt_after(3, "The cook!")
        await call.say("Soup")
        assert await stop
        await call.until(lambda: heard(call)[-1] == "Kitchen here.")
        gate.set()
        second = await line.model.received(2)
        assert "You are the kitchen." in speaks(second)
        await in_order(call)
        items = await remembered(line, call.record.call_sid, whole(6))
        assert told(items)[-1] == ("assistant", "Kitchen here.")


async def test_keys_for_the_agent_before(line: Running, redis: Redis) -> None:
    """Keys that were collected while the call was passed on reach the new agent, and no store."""
    line.model.script(
        Reply("Key it in.", [use("collect_digits", count=6), switch()]), Reply("Thank you."), Reply("It was 864213.")
    )
    async with Caller(line.url, pace=FAST) as call:
        await call.say("My code")
        await call.until(lambda: heard(call) == ["Key it in."] and call.session.player.silent)
        await call.press("864213")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        second = await line.model.received(2)
        assert "You are the kitchen." in speaks(second) and results(second)[0]["digits"] == "864213"
        await call.say("Which one was it?")
        await call.until(lambda: heard(call)[-1] == "It was 864213.")
        items = await remembered(line, call.record.call_sid, whole(7))
        assert told(items)[-1] == ("assistant", f"It was {MASK}.")
        assert "864213" not in repr(items)


async def test_a_language_that_the_next_agent_has_not(line: Running) -> None:
    """Switched in the same round as the agent: the model is not told that the call is in it."""
    line.model.script(Reply(tools=[switch(), use("switch_language", language="es")]), Reply("In English, then."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("The cook, in Spanish")
        assert await call.reply() == "In English, then."
        second = await line.model.received(2)
        assert "Answer in" not in speaks(second)
        assert [frame for frame in call.frames if isinstance(frame, Language)] == []
        language = results(second)[1]
        assert language["error"] == "failed" and "Spanish" in language["message"]


@pytest.mark.parametrize("agent", ["default", "follower"])
async def test_a_spanish_caller_hears_spanish_when_nothing_works(line: Running, agent: str) -> None:
    """The apologies, the last words, and what the person who takes the call is told, for a bare ``es`` too."""
    line.model.script(*[Reply(fault=Fault.quota())] * 3)
    async with Caller(line.url, pace=FAST, agent=agent) as call:
        for number in range(3):
            await call.send(Prompt("¿Hola?", "es"))
            await call.until(lambda number=number: len(heard(call)) > number)  # type: ignore[misc]
        await call.until(lambda: call.record.actions)
        apology = BUILT_IN["apology"]["es"]
        assert heard(call)[:3] == [apology, apology, BUILT_IN["trouble_bridge"]["es"]]
        assert orjson.loads(call.record.actions[0]["HandoffData"])["language"] in ("es", "es-US")
        await call.ended()
        assert call.record.whispers == [BUILT_IN["whisper_trouble"]["es"]]


async def test_a_passed_on_call_is_taken_up_without_redis(tmp_path: Path) -> None:
    """By the process that had it: with the agent, the tools and the language it had."""
    agents = write_agent(tmp_path / "agents", DESK, prompt="You are the desk.")
    write_agent(agents, "follow_language = true\n" + DESK, "follower", "You are the follower.")
    with fragile_redis() as server:
        async with (
            running(server.url, tmp_path / "data", agents=agents, extra_tools=Workshop().add) as app,
            Caller(app.url, pace=FAST) as call,
        ):
            server.stop()
            app.model.script(Reply(tools=[switch("follower")]), Reply("Hola."))
            await call.send(Prompt("Otra persona", "es"))
            await call.until(lambda: heard(call) == ["Hola."])
            assert await call.drop() is None
            await call.until(lambda: heard(call)[-1] == BUILT_IN["cut_off"]["es"])
            app.model.script(Reply("Sigo aquí."))
            await call.send(Prompt("¿Quién es?", "es"))
            await call.until(lambda: heard(call)[-1] == "Sigo aquí.")
            last = speaks(app.model.asked[-1])
            assert "You are the follower." in last and "Answer in Spanish (es-US)" in last


@pytest.mark.parametrize("processes", PROCESSES)
async def test_a_call_outside_hours_that_was_passed_on(
    redis: Redis, redis_url: str, tmp_path: Path, processes: str
) -> None:
    """Taken up again, in another process too, each agent still knows whether it is closed."""
    shut = 'hours = {monday = "closed"}\nclosed_greeting = "We are closed."\n' + KITCHEN
    write_agent(tmp_path / "agents", shut, "kitchen", "You are the kitchen.")
    async with (
        open_house(redis_url, tmp_path, DESK, processes) as house,
        Caller(house.front.url, pace=FAST) as call,
    ):
        house.first.model.script(Reply(tools=[switch()]), Reply("Kitchen here."))
        await call.say("The cook")
        await call.until(lambda: heard(call) == ["Kitchen here."])
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 3)
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == BUILT_IN["cut_off"]["en"])
        house.then.model.script(Reply(tools=[switch("default")]), Reply("The desk again."))
        await call.say("The desk")
        await call.until(lambda: heard(call)[-1] == "The desk again.")
        kitchen, desk = house.then.model.asked[-2:]
        assert "You are the kitchen." in speaks(kitchen) and CLOSED_NOTE in speaks(kitchen)
        assert CLOSED_NOTE not in speaks(desk)
