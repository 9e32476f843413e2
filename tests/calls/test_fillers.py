"""A slow tool in a call: fillers, hold sounds, reports and confirmations, as a caller lives them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import Caller
from phone.model import Gate, Reply, ToolUse
from relay.frames import Play, Prompt, Text
from relay.items import AssistantItem, Item, ToolItem
from relay.toolbox import ToolContext
from tests.calls.checks import Ear, heard, in_order, remembered, shown, shutting, told
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry, ToolResult

HOLD, NOTE = "https://example.com/hold.mp3", "https://example.com/note.mp3"


def agent(events: str, relay: str = "", filler_after: float = 0.05) -> str:
    return f"""
title = "Test"
tools = ["look", "search", "note", "book", "wire"]
hold_sound = "{HOLD}"
[relay]
events = "{events}"
{relay}
[limits]
after_interrupt = 0.2
filler_after = {filler_after}
[says]
fillers = {{ en = ["One moment."], es = ["Un momento."] }}
"""


class Desk:
    """Tools that wait until a test lets them go, and count how often they were run."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.contexts: list[ToolContext] = []

    async def _work(self, context: ToolContext) -> str:
        self.contexts.append(context)
        self.gate.reached.set()
        await self.gate.wait()
        return "found"

    def add(self, registry: ToolRegistry) -> None:
        async def look(context: ToolContext) -> str:
            """Looks something up."""
            return await self._work(context)

        async def search(context: ToolContext) -> str:
            """Takes long."""
            return await self._work(context)

        async def note(context: ToolContext) -> ToolResult:
            """Plays the caller a note."""
            return ToolResult("played", play=NOTE)

        async def book(context: ToolContext) -> str:
            """Books something for good."""
            return await self._work(context)

        async def wire(context: ToolContext, amount: int) -> str:
            """Sends money."""
            return await self._work(context)

        registry.add(look)
        registry.add(search, expected=8.0)
        registry.add(note)
        registry.add(book, side_effect=True)
        registry.add(wire, confirm=True)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def line(
    desk: Desk, events: str, redis: Redis, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Running]:
    """``default``; ``yielding``, whose speech gives way to what it says next; ``patient``, which says no fillers."""
    agents = write_agent(tmp_path / "agents", agent(events))
    write_agent(agents, agent(events, "preemptible = true"), "yielding")
    write_agent(agents, agent(events, filler_after=60.0), "patient")
    api = request.getfixturevalue("api") if "api" in request.fixturenames else "chat"
    async with running(redis_url, tmp_path / "data", agents=agents, api=api, extra_tools=desk.add) as app:
        yield app


def fillers(call: Caller) -> list[Text]:
    return [frame for frame in call.frames if isinstance(frame, Text) and frame.preemptible is not None]


def tools_of(items: list[Item]) -> list[ToolItem]:
    return [item for item in items if isinstance(item, ToolItem)]


def sounds(call: Caller) -> list[Play]:
    return [frame for frame in call.frames if isinstance(frame, Play)]


# -- fillers


async def test_a_filler_while_a_tool_takes_its_time(api: str, line: Running, desk: Desk) -> None:
    """One frame that is a talk cycle; the transcript has it, and no request shows it to the model."""
    line.model.script(Reply(tools=[ToolUse("look")]), Reply("It is there."), Reply("Bye."))
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.say("Is it there?")
        await call.until(lambda: heard(call) == ["One moment."])
        desk.gate.set()
        await call.until(lambda: "It is there." in heard(call))
        await in_order(call)
        assert fillers(call) == [Text("One moment.", last=True, preemptible=False)]
        await call.say("Thanks")
        await call.until(lambda: "Bye." in heard(call))
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 6)
        assert [kind for kind, _ in told(items)] == ["user", "look", "assistant", "assistant", "user", "assistant"]
        assert [item.origin for item in items if isinstance(item, AssistantItem)] == ["filler", "", ""]
        last = shown(await line.model.received(3))
        assert [kind for kind, _ in last] == ["user", "call", "result", "assistant", "user"]


@pytest.mark.parametrize("name", ["default", "yielding"])
async def test_the_reply_does_not_cut_a_filler(name: str, line: Running, desk: Desk) -> None:
    """It comes while the filler is being spoken, and is heard behind it."""
    ear = Ear()
    line.model.script(Reply(tools=[ToolUse("look")]), Reply("It is there."))
    async with Caller(line.url, pace=ear.pace, agent=name, listen=shutting(ear, 1)) as call:
        await call.say("Is it there?")
        await call.until(lambda: heard(call) == ["One"])
        desk.gate.set()
        await call.until(
            lambda: any(frame.token.strip() == "there." for frame in call.frames if isinstance(frame, Text))
        )
        ear.open()
        await call.until(lambda: "It is there." in heard(call))
        await in_order(call)
        assert heard(call) == ["One moment.", "It is there."]
        assert call.record.interrupts == []


@pytest.mark.parametrize("tool", ["look", "book"])
async def test_a_turn_interrupted_in_its_filler_is_not_silent(tool: str, line: Running, desk: Desk) -> None:
    """The caller says nothing more: the tool went on, and its result is told. Its words, too, are answered."""
    ear = Ear()
    line.model.script(Reply(tools=[ToolUse(tool)]), Reply("It is there."), Reply("Fine."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 1)) as call:
        await call.say("Is it there?")
        await call.until(lambda: heard(call) == ["One"])
        stopped = call.interrupt_after(0)
        ear.open()
        await stopped
        desk.gate.set()
        await call.until(lambda: "It is there." in heard(call))
        await in_order(call)
        assert len(desk.contexts) == 1
        await call.say("Fine")
        await call.until(lambda: "Fine." in heard(call))


async def test_a_language_of_the_caller(line: Running, desk: Desk) -> None:
    """Fillers are in it, and tools are told it."""
    line.model.script(Reply(tools=[ToolUse("look")]), Reply("Está."))
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.send(Prompt("¿Está?", "es-MX"))
        await call.until(lambda: heard(call) == ["Un momento."])
        assert [context.language for context in desk.contexts] == ["es-MX"]
        desk.gate.set()
        await call.until(lambda: "Está." in heard(call))


# -- sounds


async def test_a_hold_sound_while_a_long_tool_runs(line: Running, desk: Desk) -> None:
    """After the filler; the reply cuts it, and every talk cycle is closed."""
    line.model.script(Reply(tools=[ToolUse("search")]), Reply("It is there."))
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.say("Is it there?")
        await call.until(lambda: sounds(call))
        assert heard(call) == ["One moment."]
        desk.gate.set()
        await call.until(lambda: "It is there." in heard(call))
        await in_order(call)
        assert sounds(call) == [Play(HOLD, preemptible=True)]


async def test_a_sound_a_tool_returns(line: Running) -> None:
    """It comes before the reply, which is heard after it."""
    line.model.script(Reply("Listen. ", [ToolUse("note")]), Reply("That was it."))
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.say("Play it")
        await call.until(lambda: "That was it." in heard(call))
        await in_order(call)
        kinds = [type(frame).__name__ for frame in call.frames if not isinstance(frame, Text) or frame.last]
        assert kinds == ["Text", "Play", "Text"]
        assert sounds(call) == [Play(NOTE)]
        assert [each.kind for each in call.record.turn.utterances if each.finished] == ["speech", "media", "speech"]


# -- reports


async def test_a_tool_reports_how_far_it_is(line: Running, desk: Desk) -> None:
    """Aloud, into the transcript, and not to the model; after its call is over it is heard by nobody."""
    line.model.script(Reply(tools=[ToolUse("book")]), Reply("It is booked."))
    async with Caller(line.url, pace=Ear().pace, agent="patient") as call:
        await call.say("Book it")
        await desk.gate.reached.wait()
        desk.contexts[0].progress("I am still talking to them.")
        await call.until(lambda: heard(call) == ["I am still talking to them."])
        desk.gate.set()
        await call.until(lambda: "It is booked." in heard(call))
        await in_order(call)
        desk.contexts[0].progress("Hello?")
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 4)
        assert [item.origin for item in items if isinstance(item, AssistantItem)] == ["progress", ""]
        assert [kind for kind, _ in shown(await line.model.received(2))] == ["user", "call", "result"]
    desk.contexts[0].progress("Is anybody there?")
    assert heard(call) == ["I am still talking to them.", "It is booked."]


# -- confirmation


def wire(amount: int = 9) -> ToolUse:
    return ToolUse("wire", f'{{"amount": {amount}}}')


async def test_a_tool_asks_before_it_acts(api: str, line: Running, desk: Desk) -> None:
    """The first call is not carried out, a model that calls again by itself neither; the caller's yes is needed."""
    line.model.script(
        Reply(tools=[wire()]),
        Reply("Shall I? ", [wire()]),
        Reply("Shall I send it?"),
        Reply(tools=[wire()]),
        Reply("Sent."),
    )
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.say("Send nine")
        await call.until(lambda: "Shall I send it?" in heard(call))
        await in_order(call)
        assert desk.contexts == []
        await call.say("Yes")
        await desk.gate.reached.wait()
        desk.gate.set()
        await call.until(lambda: "Sent." in heard(call))
        assert len(desk.contexts) == 1
        results = [orjson.loads(text) for kind, text in shown(await line.model.received(5)) if kind == "result"]
        assert [result.get("status") for result in results] == ["confirmation_needed"] * 2 + [None]
        assert results[2] == {"message": "found"}


async def test_a_confirmed_tool_interrupted_in_its_filler(line: Running, desk: Desk) -> None:
    """It is done once, and told."""
    ear = Ear()
    line.model.script(Reply(tools=[wire()]), Reply("Shall I?"), Reply(tools=[wire()]), Reply("Sent."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 3)) as call:
        await call.say("Send nine")
        await call.until(lambda: heard(call) == ["Shall I?"])
        await call.say("Yes")
        await call.until(lambda: heard(call) == ["Shall I?", "One"])
        stopped = call.interrupt_after(0)
        ear.open()
        await stopped
        desk.gate.set()
        await call.until(lambda: "Sent." in heard(call))
        await in_order(call)
        assert len(desk.contexts) == 1


async def test_a_call_taken_up_again_asks_again(line: Running, desk: Desk) -> None:
    """Consent belongs to one session."""
    line.model.script(Reply(tools=[wire()]), Reply("Shall I?"), Reply(tools=[wire()]), Reply("Shall I really?"))
    async with Caller(line.url, pace=Ear().pace) as call:
        await call.say("Send nine")
        await call.until(lambda: "Shall I?" in heard(call))
        await call.drop()
        await call.say("Yes")
        await call.until(lambda: "Shall I really?" in heard(call))
        assert desk.contexts == []
        items = await remembered(line, call.record.call_sid, lambda items: len(tools_of(items)) == 2)
        assert [item.status for item in tools_of(items)] == ["failed", "failed"]
