"""Tools in a call: side by side and in a row, failing, with a lasting effect, and those that end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply, ToolUse
from relay.frames import ClientSpeaking, Prompt
from relay.items import ToolItem
from tests.calls.checks import Ear, has_read, heard, in_order, remembered, remembers, shown, shutting, told
from tests.calls.workshop import NAMES, Workshop, book, look
from tests.running import Running, running, write_agent

APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again, please?"
AGENT = f"""
title = "Test"
tools = {NAMES}
[says]
fillers = []
[limits]
after_interrupt = 0.2
tool_rounds = 3
"""


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def line(
    workshop: Workshop, redis: Redis, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Running]:
    """The application with the tools of the workshop; side effects are waited for as long as the test says."""
    agents = write_agent(tmp_path / "agents", AGENT + "side_effect_wait = 0.2\n")
    write_agent(agents, AGENT + "side_effect_wait = 30.0\n", "patient")
    api = getattr(request, "param", "chat")
    async with running(redis_url, tmp_path / "data", agents=agents, api=api, extra_tools=workshop.add) as app:
        yield app


both_apis = pytest.mark.parametrize("line", ["chat", "responses"], indirect=True)


def results(kinds: list[tuple[str, str]]) -> list[dict[str, object]]:
    return [orjson.loads(text) for kind, text in kinds if kind == "result"]


async def tools_in_history(line: Running, call: Caller, statuses: list[tuple[str, str]]) -> list[ToolItem]:
    """Redis holds these tools with these statuses, in this order."""

    def of(items: Sequence[object]) -> list[tuple[str, str]]:
        return [(item.name, item.status) for item in items if isinstance(item, ToolItem)]

    items = await remembered(line, call.record.call_sid, lambda items: of(items) == statuses)
    assert of(items) == statuses
    return [item for item in items if isinstance(item, ToolItem)]


# -- rounds


@both_apis
async def test_parallel_calls_run_side_by_side(line: Running, workshop: Workshop) -> None:
    """All of a round are begun before one has ended; the model is shown every result, each with its call."""
    soup, fish = workshop.hold("soup"), workshop.hold("fish")
    line.model.script(Reply(tools=[look("soup"), look("fish"), look("bread")], interleave=True), Reply("All there."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("What is there?")
        await asyncio.wait_for(asyncio.gather(soup.reached.wait(), fish.reached.wait()), 20)
        fish.set()
        soup.set()
        assert await call.reply() == "All there."
        await in_order(call)
        second = shown(await line.model.received(2))
        assert [kind for kind, _ in second] == ["user", "call", "call", "call", "result", "result", "result"]
        assert [result["what"] for result in results(second)] == ["soup", "fish", "bread"]
        await tools_in_history(line, call, [("look", "done")] * 3)


@both_apis
async def test_rounds_in_a_row(line: Running, workshop: Workshop) -> None:
    """Each round sees the results of those before it; words before a tool are heard while it runs."""
    fish = workshop.hold("fish")
    line.model.script(
        Reply("Let me see. ", [look("soup")], reasoning=True), Reply("And ", [look("fish")]), Reply("Both are there.")
    )
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Soup and fish?")
        await asyncio.wait_for(fish.reached.wait(), 20)
        await call.until(lambda: heard(call) == ["Let me see.", "And"])
        fish.set()
        await call.until(lambda: "Both are there." in heard(call))
        await in_order(call)
        kinds = [kind for kind, _ in shown(await line.model.received(3))]
        assert kinds == ["user", "assistant", "call", "result", "assistant", "call", "result"]
        await remembers(
            line,
            call,
            [
                ("user", "Soup and fish?"),
                ("assistant", "Let me see."),
                ("look", "done"),
                ("assistant", "And"),
                ("look", "done"),
                ("assistant", "Both are there."),
            ],
        )


async def test_the_cap_of_rounds(line: Running, workshop: Workshop) -> None:
    """After the last round the model is asked without tools, and answers."""
    line.model.script(*[Reply(tools=[look("soup")])] * 3, Reply("Enough looked."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Look")
        assert await call.reply() == "Enough looked."
        asks = [request.ask for request in line.model.asked]
        assert [ask.tool_choice for ask in asks if ask] == ["auto", "auto", "auto", "none"]
        assert workshop.done["soup"] == 3


async def test_a_model_that_calls_tools_for_ever(line: Running, workshop: Workshop) -> None:
    """It gets no more of them; the caller hears the apology, and the history can be asked with again."""
    line.model.script(*[Reply(tools=[look("soup"), book(f"table {number}")]) for number in range(4)])
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Look")
        assert await call.reply() == APOLOGY
        assert len(line.model.asked) == 4
        assert workshop.done == {"soup": 3, "table 0": 1, "table 1": 1, "table 2": 1}
        line.model.script(Reply("Fine."))
        await call.say("And now?")
        await call.until(lambda: "Fine." in heard(call))
        last = shown(line.model.asked[-1])
        assert len(results(last)) == 8 and results(last)[-1]["error"] == "too_many_steps"


# -- what the model is told when a tool does not work


@pytest.mark.parametrize(
    ("use", "error", "says"),
    [
        (ToolUse("fail"), "failed", "oven"),
        (ToolUse("retry"), "try_again", "Sunday"),
        (ToolUse("crash"), "failed", "Do not call it again"),
        (ToolUse("slow"), "timeout", "0.1 seconds"),
        (ToolUse("slow_book"), "timeout", "check before"),
        (ToolUse("fly"), "unknown_tool", "fly"),
        (ToolUse("look", '{"what": "so'), "bad_json", "JSON"),
        (ToolUse("look", '{"where": "here"}'), "wrong_arguments", "what"),
        (ToolUse("look", '["soup"]'), "wrong_arguments", "arguments"),
        (ToolUse("book", '{"what": "a", "seats": "many"}'), "wrong_arguments", "seats"),
    ],
    ids=lambda value: value.name if isinstance(value, ToolUse) else value,
)
@both_apis
async def test_a_tool_that_does_not_work(line: Running, use: ToolUse, error: str, says: str) -> None:
    """The model is told what went wrong and what it may do, in a result of that call, and the turn goes on."""
    line.model.script(Reply(tools=[use]), Reply("It did not work."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Do it")
        assert await call.reply() == "It did not work."
        await in_order(call)
        second = shown(await line.model.received(2))
        assert [kind for kind, _ in second] == ["user", "call", "result"]
        (result,) = results(second)
        assert result["error"] == error
        assert says in str(result["message"])
        assert "secret" not in str(result)
        await tools_in_history(line, call, [(use.name, "failed")])
        line.model.script(Reply("Still here."))
        await call.say("And now?")
        await call.until(lambda: "Still here." in heard(call))


# -- without a side effect: they belong to their turn


@both_apis
async def test_a_look_up_ends_with_its_turn(line: Running, workshop: Workshop) -> None:
    """Superseded, it is cancelled, and the model is told that it did not happen."""
    gate = workshop.hold("soup")
    line.model.script(Reply("Let me see. ", [look("soup")]), Reply("Fish it is."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Soup?")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.until(lambda: heard(call) == ["Let me see."])
        await call.say("No, fish")
        await call.until(lambda: "Fish it is." in heard(call))
        assert workshop.cancelled["soup"] == 1
        (result,) = results(shown(await line.model.received(2)))
        assert result["error"] == "interrupted"
        await tools_in_history(line, call, [("look", "interrupted")])


@both_apis
async def test_a_look_up_goes_on_through_an_interrupt(line: Running, workshop: Workshop) -> None:
    """An interrupt of the words before it, with none that follow: its result feeds the next round."""
    gate, ear = workshop.hold("soup"), Ear()
    line.model.script(Reply("Let me see that for you. ", [look("soup")]), Reply("There is."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 2)) as call:
        await call.say("Soup?")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.until(lambda: heard(call) == ["Let me"])
        stopped = call.interrupt_after(1)
        ear.open()
        assert await stopped
        gate.set()
        await call.until(lambda: "There is." in heard(call))
        await in_order(call)
        assert shown(await line.model.received(2))[1] == ("assistant", "Let me see")
        assert results(shown(line.model.asked[1])) == [{"what": "soup", "time": 1}]


# -- with a side effect: begun once, ended by themselves


async def test_a_side_effect_outlives_an_interrupt(line: Running, workshop: Workshop) -> None:
    """It goes on, and when the caller says nothing more its result feeds the turn's next round."""
    gate, ear = workshop.hold("table"), Ear()
    line.model.script(Reply("I book that for you now. ", [book("table")]), Reply("It is booked."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 2)) as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        stopped = call.interrupt_after(1)
        ear.open()
        assert await stopped
        gate.set()
        await call.until(lambda: "It is booked." in heard(call))
        await in_order(call)
        assert workshop.done["table"] == 1 and workshop.cancelled["table"] == 0
        assert shown(await line.model.received(2))[1] == ("assistant", "I book that")
        assert len(results(shown(line.model.asked[1]))) == 1
        await tools_in_history(line, call, [("book", "done")])


async def test_a_new_turn_waits_for_a_running_side_effect(line: Running, workshop: Workshop) -> None:
    """Ending in time, its result is in the next request."""
    gate = workshop.hold("table")
    line.model.script(Reply(tools=[book("table")]), Reply("It is booked, and yes."))
    async with Caller(line.url, pace=FAST, agent="patient") as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.say("Are you there?")
        await has_read(call)
        gate.set()
        assert await call.reply() == "It is booked, and yes."
        second = shown(await line.model.received(2))
        assert [kind for kind, _ in second] == ["user", "call", "result", "user"]
        assert results(second) == [{"what": "table", "time": 1}]
        assert len(line.model.asked) == 2
        await tools_in_history(line, call, [("book", "done")])


@both_apis
async def test_a_side_effect_that_takes_longer(line: Running, workshop: Workshop) -> None:
    """The new turn goes on with a placeholder; the result replaces it and starts a turn that tells the caller."""
    gate = workshop.hold("table")
    line.model.script(Reply(tools=[book("table")]), Reply("Yes, I am."), Reply("Now it is booked."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.say("Are you there?")
        assert await call.reply() == "Yes, I am."
        (placeholder,) = results(shown(await line.model.received(2)))
        assert placeholder["status"] == "running"
        await tools_in_history(line, call, [("book", "running")])
        gate.set()
        await call.until(lambda: "Now it is booked." in heard(call))
        await in_order(call)
        third = shown(await line.model.received(3))
        assert results(third) == [{"what": "table", "time": 1}]
        assert [kind for kind, _ in third] == ["user", "call", "result", "user", "assistant"]
        await tools_in_history(line, call, [("book", "done")])
        assert workshop.begun["table"] == 1


async def test_a_side_effect_outlives_the_call(line: Running, workshop: Workshop) -> None:
    """The caller hangs up while it runs; its result is in the history afterwards."""
    gate = workshop.hold("table")
    line.model.script(Reply(tools=[book("table")]))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await tools_in_history(line, call, [("book", "running")])
        await call.hang_up()
        gate.set()
        (item,) = await tools_in_history(line, call, [("book", "done")])
        assert orjson.loads(item.output) == {"what": "table", "time": 1}
        assert workshop.cancelled["table"] == 0


async def test_nothing_lasting_begins_while_the_caller_speaks(line: Running, workshop: Workshop) -> None:
    """A side effect waits until the caller is quiet; a look-up of the same round does not."""
    end = Gate()
    line.model.script(Reply(tools=[look("soup"), book("table")], gate=end), Reply("Done."))
    soup = workshop.hold("soup")
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await end.reached.wait()
        await call.send(ClientSpeaking(True))
        await has_read(call)
        end.set()
        await asyncio.wait_for(soup.reached.wait(), 20)
        soup.set()
        await tools_in_history(line, call, [("look", "done"), ("book", "running")])
        assert workshop.begun["table"] == 0
        await call.send(ClientSpeaking(False))
        assert await call.reply() == "Done."
        assert workshop.begun["table"] == 1


async def test_a_side_effect_not_begun_ends_with_its_turn(line: Running, workshop: Workshop) -> None:
    """The words the caller was saying replace the turn: nothing is booked, and the model is told so."""
    end = Gate()
    line.model.script(Reply(tools=[look("soup"), book("table")], gate=end), Reply("As you like."))
    soup = workshop.hold("soup")
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await end.reached.wait()
        await call.send(ClientSpeaking(True))
        await call.send(Prompt("No, do", last=False))
        await has_read(call)
        end.set()
        await asyncio.wait_for(soup.reached.wait(), 20)
        await call.say("No, do not")
        assert await call.reply() == "As you like."
        assert workshop.begun["table"] == 0
        assert [result["error"] for result in results(shown(await line.model.received(2)))] == ["interrupted"] * 2
        await tools_in_history(line, call, [("look", "interrupted"), ("book", "interrupted")])


AGAIN = '{{"seats": 2,  "what": "{what}"}}'
"""Another spelling of the arguments ``book`` is called with."""


async def test_the_same_call_made_again_is_answered_once(line: Running, workshop: Workshop) -> None:
    """A model whose turn was superseded and that wants the same again gets the result there is."""
    gate = Gate()
    line.model.script(
        Reply(tools=[book("table")]),
        Reply("Never heard.", gate=gate),
        Reply(tools=[book("table", AGAIN)]),
        Reply("It is booked."),
    )
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.say("Please book it")
        assert await call.reply() == "It is booked."
        assert workshop.begun["table"] == 1
        assert results(shown(await line.model.received(4))) == [{"what": "table", "time": 1}] * 2
        await tools_in_history(line, call, [("book", "done")] * 2)


async def test_the_same_call_made_again_while_the_first_runs(line: Running, workshop: Workshop) -> None:
    """Both get the one result when it comes."""
    gate = workshop.hold("table")
    line.model.script(Reply(tools=[book("table")]), Reply(tools=[book("table", AGAIN)]), Reply("It is booked."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        await asyncio.wait_for(gate.reached.wait(), 20)
        await call.say("Please book it")
        await tools_in_history(line, call, [("book", "running")] * 2)
        gate.set()
        assert await call.reply() == "It is booked."
        await in_order(call)
        assert workshop.begun["table"] == 1
        assert results(shown(await line.model.received(3))) == [{"what": "table", "time": 1}] * 2
        await tools_in_history(line, call, [("book", "done")] * 2)
        assert len(line.model.asked) == 3


async def test_after_an_undisturbed_turn_the_same_call_is_a_new_wish(line: Running, workshop: Workshop) -> None:
    """Booked, told, and wanted once more: it is done once more."""
    line.model.script(
        *[Reply(tools=[book("table")]), Reply("Booked.")], *[Reply(tools=[book("table")]), Reply("One more.")]
    )
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Book it")
        assert await call.reply() == "Booked."
        await in_order(call)
        await call.say("Another one")
        assert await call.reply() == "One more."
        assert workshop.done["table"] == 2
        assert told(await remembered(line, call.record.call_sid, lambda items: len(items) == 6))[4] == ("book", "done")
