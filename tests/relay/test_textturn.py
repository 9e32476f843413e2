"""A turn of text: rounds, tools, stops, failures, and what each leaves for the conversation."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from relay.budget import Budget
from relay.cast import Role
from relay.confirm import ASK_FIRST
from relay.errors import ModelCut, ModelUnavailable
from relay.items import AssistantItem, Item, ToolItem, UserItem
from relay.jobs import Jobs
from relay.manner import Manner
from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream, ToolCall, Usage
from relay.store.effects import Effects
from relay.telemetry import Telemetry, total
from relay.textparts import EMPTY, LATE, Answer, Asked, TextParts, TextRules
from relay.textturn import TextTurn
from relay.toolbox import EndCall, PersonChanged, SwitchAgent, SwitchLanguage, ToolContext
from relay.trace import Entry
from tools.registry import ToolRegistry, ToolResult

Step = ModelEvent | BaseException | asyncio.Event
STOP = Finished("stop", Usage(10, 4, 5))


def call(name: str, arguments: str = "{}", call_id: str = "") -> ToolCall:
    return ToolCall(call_id or f"id-{name}", name, arguments)


class Model:
    """Plays a script a round. An event in it is waited for, an error raised."""

    def __init__(self, *rounds: Sequence[Step]) -> None:
        self.rounds = list(rounds)
        self.asked: list[ModelRequest] = []
        self.open = 0
        self.waits = asyncio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        self.asked.append(request)
        self.open += 1
        if request.on_sent is not None:
            request.on_sent()
        try:
            yield self._play(self.rounds.pop(0))
        finally:
            self.open -= 1

    async def _play(self, script: Sequence[Step]) -> AsyncIterator[ModelEvent]:
        for step in script:
            if isinstance(step, asyncio.Event):
                self.waits.set()
                await step.wait()
            elif isinstance(step, BaseException):
                raise step
            else:
                yield step
        if not any(isinstance(step, Finished) for step in script):
            calls = any(isinstance(step, ToolCall) for step in script)
            yield Finished("tools", Usage(10, 4, 5)) if calls else STOP

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


class Cast:
    """Two agents: ``desk`` may use every tool but those of a telephone, ``sales`` none."""

    def __init__(self, tools: tuple[str, ...]) -> None:
        self.looked_up = 0
        self._tools = {"desk": tools, "sales": ()}

    def role(self, agent: str) -> Role | None:
        if agent not in self._tools:
            return None
        manner = Manner(
            line=lambda name, language: f"({name})", agent=agent, tools=self._tools[agent], languages=("en-US", "es-US")
        )
        return Role(manner, ModelRequest("", (), model=f"model of {agent}"))

    def instructions(self, agent: str, language: str = "") -> str:
        return f"You are {agent}." + (f" In {language}." if language else "")

    async def look_up(self) -> None:
        self.looked_up += 1


class Tools:
    """The registry, with tools that tell when they run."""

    def __init__(self) -> None:
        self.registry = registry = ToolRegistry(5.0)
        self.ran: list[tuple[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

        async def look(context: ToolContext) -> ToolResult:
            """Looks.

            Args:
            """
            await self._run("look", context.language)
            return ToolResult({"seen": 1})

        async def book(context: ToolContext, day: str) -> ToolResult:
            """Books.

            Args:
                day: Which.
            """
            await self._run("book", day)
            return ToolResult({"booked": day})

        async def pay(context: ToolContext, amount: int) -> ToolResult:
            """Pays.

            Args:
                amount: How much.
            """
            await self._run("pay", amount)
            return ToolResult({"paid": amount})

        async def change(context: ToolContext) -> ToolResult:
            """Changes the agent, the language and the person.

            Args:
            """
            return ToolResult({"ok": True}, (SwitchLanguage("es"), PersonChanged(), SwitchAgent("sales")))

        async def leave(context: ToolContext) -> ToolResult:
            """Ends it.

            Args:
            """
            return ToolResult({"bye": True}, (EndCall(),))

        registry.add(look)
        registry.add(book, side_effect=True)
        registry.add(pay, confirm=True)
        registry.add(change)
        registry.add(leave, terminal=True)

    async def _run(self, name: str, what: Any) -> None:
        self.ran.append((name, what))
        self.begun.set()
        await self.gate.wait()


class Desk:
    """Runs turns of one conversation."""

    def __init__(self, redis: Redis) -> None:
        self.tools = Tools()
        self.jobs = Jobs()
        self.telemetry = Telemetry()
        self.budget = Budget()
        self.cast = Cast(("look", "book", "pay", "change", "leave"))
        self.heard: list[str] = []
        self.trace: list[Entry] = []
        self.items: list[Item] = []
        self.rules = TextRules()
        self._effects = Effects(redis, 60)
        self._number = 0

    def turn(self, model: Model, words: str = "Hello", *, on_text: Callable[[str], None] | None = None) -> TextTurn:
        self._number += 1
        parts = TextParts(
            model,
            self.tools.registry,
            self._effects,
            self.jobs,
            self.telemetry,
            self.budget,
            self.rules,
            lambda conversation, channel, person: self,
        )
        read = asyncio.get_running_loop().time()
        self.items.append(UserItem(words))
        asked = Asked("c", "chat", self._number, self._number, "desk", list(self.items), read, "chat:ada")
        return TextTurn(parts, asked, self.cast, on_text or self.heard.append)

    async def say(self, words: str, *rounds: Sequence[Step]) -> Answer:
        answer = await self.turn(Model(*rounds), words).run()
        self.items += answer.items
        return answer

    def add(self, entry: Entry, /) -> None:
        self.trace.append(entry)


@pytest.fixture
async def desk(redis: Redis) -> AsyncIterator[Desk]:
    desk = Desk(redis)
    yield desk
    await desk.jobs.drain(2)


def outputs(items: Sequence[Item]) -> list[Any]:
    return [orjson.loads(item.output) for item in items if isinstance(item, ToolItem)]


async def test_words_come_as_they_are_written(desk: Desk) -> None:
    """Each piece at once; the answer has all of them, and is counted, timed and traced."""
    model = Model(["Good ", "day", "."])
    answer = await desk.turn(model).run()
    assert desk.heard == ["Good ", "day", "."]
    assert (answer.outcome, answer.text, answer.items) == ("done", "Good day.", (AssistantItem("Good day."),))
    assert answer.usage == Usage(10, 4, 5) and answer.first_text is not None
    [request] = model.asked
    assert request.instructions == "You are desk." and request.items == [UserItem("Hello")]
    assert request.model == "model of desk"
    assert total(desk.telemetry.turns) == 1
    [session, turn] = desk.trace
    assert (session["kind"], turn["kind"], turn["outcome"], turn["turn"]) == ("session", "turn", "done", 1)
    assert sum(turn["segments_ms"].values()) == pytest.approx(turn["first_text_ms"], abs=1)


async def test_a_later_turn_is_told_without_another_beginning(desk: Desk) -> None:
    """One conversation, one beginning."""
    await desk.say("Hi", ["Hello"])
    await desk.say("And?", ["Yes"])
    assert [entry["kind"] for entry in desk.trace] == ["session", "turn", "turn"]


async def test_tools_run_side_by_side_and_the_model_goes_on(desk: Desk) -> None:
    """Words before and after them are one text with a gap, and items of their own."""
    answer = await desk.say("Book it", ["One moment. ", call("look"), call("book", '{"day":"mon"}')], ["Done."])
    assert sorted(desk.tools.ran) == [("book", "mon"), ("look", "")]
    assert answer.text == "One moment. Done."
    kinds = [type(item).__name__ for item in answer.items]
    assert kinds == ["AssistantItem", "ToolItem", "ToolItem", "AssistantItem"]
    assert outputs(answer.items) == [{"seen": 1}, {"booked": "mon"}]
    assert [tool["outcome"] for tool in desk.trace[-1]["tools"]] == ["done", "done"]
    answer = await desk.say("Again", ["Looking.", call("look")], ["Seen."])
    assert answer.text == "Looking.\n\nSeen."


async def test_a_tool_the_agent_does_not_have(desk: Desk) -> None:
    """The model is told; nothing runs."""
    answer = await desk.say("Hi", [call("wire")], ["I cannot."])
    assert outputs(answer.items)[0]["error"] == "unknown_tool" and desk.tools.ran == []


async def test_rounds_are_bounded(desk: Desk) -> None:
    """In the last one the model may use no tool, and one that calls all the same has failed."""
    desk.rules = TextRules(tool_rounds=2)
    model = Model([call("look")], [call("look")], ["Enough."])
    answer = await desk.turn(model).run()
    assert [request.tool_choice for request in model.asked] == ["auto", "auto", "none"]
    assert answer.text == "Enough."
    answer = await desk.say("More", [call("look")], [call("look")], [call("look")])
    assert (answer.outcome, answer.code) == ("failed", "too_many_steps")


async def test_what_a_tool_changes_holds_from_the_next_round_on(desk: Desk) -> None:
    """Agent, language and what is known of the person."""
    model = Model(["Wait.", call("change")], ["Hola"])
    answer = await desk.turn(model).run()
    assert (answer.agent, answer.language) == ("sales", "es-US")
    assert [request.instructions for request in model.asked] == ["You are desk.", "You are sales. In es-US."]
    assert model.asked[1].model == "model of sales" and model.asked[1].carry == ()
    assert desk.cast.looked_up == 1


async def test_signals_end_the_turn(desk: Desk) -> None:
    """Of a tool, and of an engine that calls one of the telephone's."""
    answer = await desk.say("Bye", ["Goodbye.", call("leave")])
    assert (answer.outcome, answer.signals) == ("done", {"end"})
    answer = await desk.say("A person", ["One moment.", call("transfer_to_human")])
    assert (answer.outcome, answer.signals, answer.text) == ("done", {"handoff"}, "One moment.")
    assert outputs(answer.items) == [{"status": "done"}]


async def test_consent_is_found_in_the_conversation(desk: Desk, redis: Redis) -> None:
    """The first call is a question; the same one after the person's answer is carried out, by whatever process."""
    asked = await desk.say("Pay nine", [call("pay", '{"amount":9}')], ["Shall I?"])
    assert outputs(asked.items) == [orjson.loads(ASK_FIRST.output)] and desk.tools.ran == []
    again = Desk(redis)
    again.items, again._number = desk.items, 1
    answer = await again.say("Yes", [call("pay", '{ "amount": 9 }')], ["Paid."])
    assert again.tools.ran == [("pay", 9)] and outputs(answer.items) == [{"paid": 9}]
    once_more = await again.say("And again", [call("pay", '{"amount":9}')], ["Shall I?"])
    assert outputs(once_more.items) == [orjson.loads(ASK_FIRST.output)]
    refused = await again.say("No, thanks", [call("pay", '{"amount":9}')], ["All right."])
    assert outputs(refused.items) == [orjson.loads(ASK_FIRST.output)] and len(again.tools.ran) == 1


async def test_stop_keeps_what_was_written(desk: Desk) -> None:
    """The request is closed, and the conversation knows where the answer ends."""
    model = Model(["Once upon ", "a time", asyncio.Event(), " there was"])
    turn = desk.turn(model)
    running = asyncio.create_task(turn.run())
    await asyncio.wait_for(model.waits.wait(), 20)
    turn.stop()
    answer = await asyncio.wait_for(running, 20)
    assert (answer.outcome, answer.text) == ("stopped", "Once upon a time")
    assert answer.items == (AssistantItem("Once upon a time", "interrupted"),)
    assert model.open == 0
    assert desk.trace[-1]["outcome"] == "interrupted"


async def test_stop_waits_for_what_cannot_be_taken_back(desk: Desk) -> None:
    """A tool with a lasting effect ends and is on record; another is interrupted."""
    desk.tools.gate.clear()
    turn = desk.turn(Model([call("book", '{"day":"mon"}'), call("look")], ["Never asked"]))
    running = asyncio.create_task(turn.run())
    async with asyncio.timeout(20):
        while len(desk.tools.ran) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    turn.stop()
    await asyncio.sleep(0)
    assert not running.done()
    desk.tools.gate.set()
    answer = await asyncio.wait_for(running, 20)
    assert answer.outcome == "stopped"
    assert {item.name: item.status for item in answer.items if isinstance(item, ToolItem)} == {
        "book": "done",
        "look": "interrupted",
    }


async def test_a_cancel_closes_everything_but_what_lasts(desk: Desk) -> None:
    """The effect goes on in the process' hands."""
    desk.tools.gate.clear()
    running = asyncio.create_task(desk.turn(Model([call("book", '{"day":"mon"}')])).run())
    await asyncio.wait_for(desk.tools.begun.wait(), 20)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled() and len(desk.jobs) == 1
    desk.tools.gate.set()
    model = Model(["So", asyncio.Event()])
    running = asyncio.create_task(desk.turn(model).run())
    await asyncio.wait_for(model.waits.wait(), 20)
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(0)
    assert model.open == 0


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([ModelUnavailable("away")], "model_unavailable"),
        (["Half a", ModelCut("gone", received=True)], "model_cut"),
        ([STOP], EMPTY),
        (["  ", STOP], EMPTY),
        ([RuntimeError("bug")], "bug"),
    ],
)
async def test_a_failure_leaves_nothing(desk: Desk, script: Sequence[Step], code: str) -> None:
    """The channel says so, and the same may be asked again."""
    answer = await desk.say("Hello", script)
    assert (answer.outcome, answer.code, answer.items) == ("failed", code, ())
    assert desk.trace[-1]["outcome"] == "failed"
    assert (await desk.say("Hello", ["Hi"])).outcome == "done"


async def test_a_failure_after_a_lasting_effect_is_put_on_record(desk: Desk) -> None:
    """What was done stays done: the person reads an apology, and the model knows the next time."""
    answer = await desk.say("Book", ["Booking.", call("book", '{"day":"mon"}')], [ModelUnavailable("away")])
    assert (answer.outcome, answer.code) == ("failed", "model_unavailable")
    assert answer.text == "Booking.\n\n(apology)"
    assert outputs(answer.items) == [{"booked": "mon"}]
    assert isinstance(last := answer.items[-1], AssistantItem) and last.origin == "apology"


async def test_a_model_that_says_nothing_in_time(desk: Desk) -> None:
    """Is given up, and its request closed."""
    desk.rules = TextRules(turn_deadline=0.05)
    model = Model([asyncio.Event()])
    answer = await asyncio.wait_for(desk.turn(model).run(), 20)
    assert (answer.outcome, answer.code, model.open) == ("failed", LATE, 0)


async def test_an_answer_that_grows_too_long_ends_at_a_sentence(desk: Desk) -> None:
    """The request is closed; nothing more of it is written."""
    desk.rules = TextRules(reply_max_chars=60)
    never = asyncio.Event()
    model = Model(["This is one sentence of some length. ", "This is another one. ", "And a third.", never])
    answer = await asyncio.wait_for(desk.turn(model).run(), 20)
    assert answer.outcome == "done" and model.open == 0
    assert answer.text.strip() == "This is one sentence of some length."
    assert "".join(desk.heard) == answer.text


async def test_a_budget_used_up(desk: Desk) -> None:
    """Nothing is asked: the agent's line is the answer. What a turn took is counted, about where it was not told."""
    desk.budget = Budget(per_person=20)
    assert (await desk.say("Hi", ["Hello"])).outcome == "done"
    assert desk.budget.over("chat:ada") == ""
    await desk.say("More", ["Sure, ", ModelCut("gone", received=True)])
    assert desk.budget.over("chat:ada") == "budget_person"
    model = Model()
    answer = await desk.turn(model).run()
    assert (answer.outcome, answer.text, model.asked) == ("budget", "(budget)", [])
    assert answer.items == (AssistantItem("(budget)", origin="budget"),)


async def test_only_the_last_turns_that_fit_are_shown(desk: Desk) -> None:
    """The person's words always are."""
    desk.rules = TextRules(history_tokens=40)
    desk.items = [UserItem("old " * 100), AssistantItem("older")]
    model = Model(["Hi"])
    await desk.turn(model, "New").run()
    assert model.asked[0].items == [UserItem("New")]


@pytest.mark.parametrize("script", [[["Good day."]], [[call("look")], ["Seen."]], []])
async def test_nothing_of_a_turn_waits_for_the_collector(desk: Desk, script: Sequence[Sequence[Step]]) -> None:
    """Neither of one that was answered, nor of one that a budget has refused: it is gone when nobody needs it any more.
    The collector comes seldom, and keeps everybody waiting when it has much to do."""
    model = Model(*script)
    if not script:
        desk.budget = Budget(per_person=1)
        desk.budget.of("chat:ada").spend(1)
    gc.collect()
    gc.disable()
    try:
        turn = desk.turn(model)
        left = weakref.ref(turn)
        await turn.run()
        del turn
        model.asked.clear()  # of what a round told this stand-in
        assert left() is None
    finally:
        gc.enable()
