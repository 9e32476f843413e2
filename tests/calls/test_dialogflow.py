"""Whole calls that Dialogflow answers, and calls that change engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from redis.asyncio import Redis

from handlers.otel.start import make_spans
from phone.caller import FAST, Caller
from phone.model import Gate, Reply, ToolUse
from relay.frames import Prompt
from relay.models.dialogflow_client import Bot
from relay.store.history import state_key
from relay.store.trace import trace_key
from tests.calls.checks import GREETING, heard, in_order, remembers, texts_of
from tests.fakes.dialogflow_server import Answer, DialogflowServer
from tests.fakes.otlp_collector import otlp_collector
from tests.running import Running, running, write_agent

APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again, please?"
NOBODY = "I'm sorry, nobody can be reached right now. Please call again later."
NUMBER = "+15555550111"
HANDOFF = {"live_agent_handoff": {"metadata": {"reason": "billing", "summary": "A wrong bill."}}}
BOT = f"""
title = "Bot"
greeting = "{GREETING}"
engine = "dialogflow"
[limits]
after_interrupt = 0.2
interdigit = 0.05
[keys."8"]
tool = "switch_agent"
args = {{ agent = "desk" }}
[keys."9"]
say = "Nine."
"""
DESK = """
title = "Desk"
greeting = "Hello from the desk."
speculation = "on"
tools = ["switch_agent"]
[keys."7"]
tool = "switch_agent"
args = { agent = "default" }
"""


@dataclass
class Line:
    relay: Running
    dialogflow: DialogflowServer

    def call(self, agent: str = "default", **more: object) -> Caller:
        return Caller(self.relay.url, agent=agent, **{"pace": FAST, **more})  # type: ignore[arg-type]


@pytest.fixture(params=["cx"])
async def line(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    """``default`` is Dialogflow's, ``desk`` a model's."""
    agents = write_agent(tmp_path / "agents", BOT)
    write_agent(agents, DESK, "desk")
    async with DialogflowServer() as server:
        environ = {
            "DIALOGFLOW_PROJECT": "proj",
            "DIALOGFLOW_ENDPOINT": server.endpoint,
            **({"DIALOGFLOW_AGENT": "agent-1"} if "cx" in request.param else {}),
            **({"TRANSFER_TO": NUMBER} if "nobody" not in request.param else {}),
        }
        async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay:
            yield Line(relay, server)


@pytest.mark.parametrize("line", ["es", "cx"], indirect=True)
async def test_a_call(line: Line) -> None:
    """Two turns, in one session of Dialogflow's; the history is what was said and heard."""
    line.dialogflow.script(Answer("At nine.", "Shall I book?"), Answer("It is booked."))
    async with line.call() as call:
        await call.greeting_played()
        await call.say("When is it?")
        assert await call.reply() == "At nine.\n\nShall I book?"
        await call.say("Yes, please.")
        assert await call.reply() == "It is booked."
        await in_order(call)
        said = [("user", "When is it?"), ("assistant", "At nine.\n\nShall I book?")]
        said += [("user", "Yes, please."), ("assistant", "It is booked.")]
        await remembers(line.relay, call, [("assistant", GREETING), *said])
    assert [asked.text for asked in line.dialogflow.asked] == ["When is it?", "Yes, please."]
    assert {asked.language for asked in line.dialogflow.asked} == {"en-US"}
    assert len({asked.session for asked in line.dialogflow.asked}) == 1
    assert line.relay.model.asked == []


async def test_words_before_the_answer_is_complete(line: Line) -> None:
    """The first part of it is sent whole while Dialogflow is still at work, and nothing twice."""
    gate = Gate()
    line.dialogflow.script(
        Answer("One moment, please.", "It is at nine.", partials=[["One moment, please."]], gate=gate)
    )
    async with line.call() as call:
        await call.greeting_played()
        await call.say("When is it?")
        await call.until(lambda: "".join(frame.token for frame in texts_of(call)) == "One moment, please.")
        assert not line.dialogflow.asked[0].over.is_set()
        gate.set()
        await call.until(lambda: heard(call)[-1].endswith("nine."))
        assert heard(call)[-1] == "One moment, please.\n\nIt is at nine."
        await in_order(call)


async def test_a_handoff(line: Line) -> None:
    """The words are heard, then the call goes to a person with what Dialogflow said of it; the agent names no tools."""
    line.dialogflow.script(Answer(HANDOFF, "I'm getting somebody.", {"end_interaction": {}}))
    async with line.call() as call:
        await call.greeting_played()
        await call.say("My bill is wrong")
        outcome = await call.ended()
        assert (outcome.how, outcome.number) == ("transfer", NUMBER)
        assert heard(call) == [GREETING, "I'm getting somebody."]
        assert call.record.unplayed_at_end == ""
        handoff = orjson.loads(call.record.actions[0]["HandoffData"])
        assert (handoff["reason"], handoff["summary"]) == ("billing", "A wrong bill.")
        await remembers(
            line.relay,
            call,
            [
                ("assistant", GREETING),
                ("user", "My bill is wrong"),
                ("assistant", "I'm getting somebody."),
                ("transfer_to_human", "done"),
            ],
        )
    assert len(line.dialogflow.asked) == 1


@pytest.mark.parametrize("line", ["cx, nobody there"], indirect=True)
async def test_a_handoff_to_nobody(line: Line) -> None:
    """The caller is told, by the agent's line, and the call goes on."""
    line.dialogflow.script(Answer("I'm getting somebody.", HANDOFF), Answer("We open at nine."))
    async with line.call() as call:
        await call.greeting_played()
        await call.say("My bill is wrong")
        await call.until(lambda: heard(call)[1:] == ["I'm getting somebody.", NOBODY])
        await call.say("When do you open?")
        await call.until(lambda: heard(call)[-1] == "We open at nine.")
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["My bill is wrong", "When do you open?"]


@pytest.mark.parametrize("words", ["Goodbye.", ""])
@pytest.mark.parametrize("line", ["es", "cx"], indirect=True)
async def test_the_end(line: Line, words: str, request: pytest.FixtureRequest) -> None:
    """Dialogflow ends the call: its goodbye is heard to its end, or the agent's where it has none."""
    texts = [words] if words else []
    es = Answer(*texts, result={"intent": {"end_interaction": True}})
    cx = Answer(*texts, {"end_interaction": {}})
    line.dialogflow.script(es if "[es" in request.node.name else cx)
    async with line.call() as call:
        await call.greeting_played()
        await call.say("That is all")
        assert (await call.ended()).how == "agent"
        assert heard(call) == [GREETING, words or "Thank you for calling. Goodbye."]
        assert call.record.unplayed_at_end == ""


async def test_keys(line: Line) -> None:
    """Dialogflow gets what the caller keys in; a key with a line of its own is none of its business."""
    line.dialogflow.script(Answer("Thank you."))
    async with line.call() as call:
        await call.greeting_played()
        await call.press("9")
        await call.until(lambda: heard(call)[-1] == "Nine.")
        await call.press("12#")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        await in_order(call)
    assert [(asked.text, asked.keys) for asked in line.dialogflow.asked] == [("", "12")]


async def test_an_interruption(line: Line) -> None:
    """Dialogflow gets what the caller says then."""
    line.dialogflow.script(Answer("Once there was a fox in a wood."), Answer("All right."))
    async with line.call() as call:
        await call.greeting_played()
        stop = call.interrupt_after(3, "Stop that")
        await call.say("Tell me a story")
        assert await stop
        await call.until(lambda: heard(call)[-1] == "All right.")
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["Tell me a story", "Stop that"]


async def test_an_interruption_without_words(line: Line) -> None:
    """What was cut is said again, from the sentence's beginning, without asking Dialogflow."""
    line.dialogflow.script(Answer("It is at nine. There is no room after that."))
    async with line.call() as call:
        await call.greeting_played()
        stop = call.interrupt_after(6, "")
        await call.say("When is it?")
        assert await stop
        await call.until(lambda: heard(call)[-1] == "There is no room after that.")
        await in_order(call)
    assert len(line.dialogflow.asked) == 1


async def test_a_cancelled_request(line: Line) -> None:
    """The caller goes on before there is an answer: the request ends at Dialogflow, and the words go there together."""
    gate = Gate()
    line.dialogflow.script(Answer(gate=gate), Answer("Two teas."))
    async with line.call() as call:
        await call.greeting_played()
        await call.send(Prompt("A tea"))
        await asyncio.wait_for(gate.reached.wait(), 5)
        await call.send(Prompt("for two"))
        assert await call.reply() == "Two teas."
        await asyncio.wait_for(line.dialogflow.asked[0].cancelled.wait(), 5)
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["A tea", "A tea for two"]
    assert line.dialogflow.most_at_once == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(status=grpc.StatusCode.INTERNAL),
        Answer(status=grpc.StatusCode.PERMISSION_DENIED),
        Answer(partials=[[{"payload": {"a": 1}}]], ends=False),
    ],
    ids=["nothing said", "an error", "refused", "cut"],
)
async def test_no_answer(line: Line, answer: Answer) -> None:
    """The caller hears the apology, and the call goes on."""
    line.dialogflow.script(answer, Answer("At nine."))
    async with line.call() as call:
        await call.greeting_played()
        await call.say("When is it?")
        await call.until(lambda: heard(call)[-1] == APOLOGY)
        await call.say("When is it?")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["When is it?"] * 2


async def test_from_dialogflow_to_a_model_and_back(line: Line) -> None:
    """Each engine has its own turns: who takes the call over answers what it was handed over for, and a model is shown
    what Dialogflow has said."""
    line.dialogflow.script(Answer("At nine."), Answer("A table it is."), Answer("For two."))
    line.relay.model.script(
        Reply("The desk is here."),
        Reply("One second.", [ToolUse("switch_agent", '{"agent": "default"}')]),
    )
    async with line.call() as call:
        await call.greeting_played()
        await call.say("When is it?")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        await call.press("8")
        await call.until(lambda: heard(call)[-1] == "The desk is here.")
        await call.say("I want a table")
        await call.until(lambda: heard(call)[-1] == "A table it is.")
        await call.say("For two")
        await call.until(lambda: heard(call)[-1] == "For two.")
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["When is it?", "I want a table", "For two"]
    assert len({asked.session for asked in line.dialogflow.asked}) == 1
    asked = await line.relay.model.received(1)
    assert asked.ask is not None and "At nine." in [entry.text for entry in asked.ask.entries]
    assert len(line.relay.model.asked) == 2


async def test_nothing_is_asked_ahead(line: Line) -> None:
    """A call that began with an agent that speculates asks Dialogflow only what was said."""
    line.dialogflow.script(Answer("A table it is."), Answer("For two."))
    line.relay.model.script(Reply(tools=[ToolUse("switch_agent", '{"agent": "default"}')]))
    async with line.call("desk") as call:
        await call.greeting_played()
        await call.say("I want a table")
        await call.until(lambda: heard(call)[-1] == "A table it is.")
        for _ in range(3):
            await call.send(Prompt("It is for two.", last=False))
        await call.send(Prompt("It is for two of us."))
        await call.until(lambda: heard(call)[-1] == "For two.")
        await in_order(call)
    assert [asked.text for asked in line.dialogflow.asked] == ["I want a table", "It is for two of us."]


async def test_a_key_whose_tool_needs_no_words(line: Line) -> None:
    """A key hands the call from the model's agent to Dialogflow's: there is nothing to answer, and no apology."""
    line.dialogflow.script(Answer("At nine."))
    async with line.call("desk") as call:
        await call.greeting_played()
        await call.press("7")
        async with asyncio.timeout(5):
            while await line.relay.redis.hget(state_key(call.record.call_sid), "agent") != b"default":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await call.say("When is it?")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        assert heard(call)[1:] == ["At nine."]
        await in_order(call)


async def traced_turn(relay: Running, call_sid: str) -> dict[str, Any]:
    """The trace's entry of the first turn, once it is there."""
    async with asyncio.timeout(5):
        while True:
            entries = [orjson.loads(fields[b"j"]) for _, fields in await relay.redis.xrange(trace_key(call_sid))]
            if turns := [entry for entry in entries if entry["kind"] == "turn"]:
                return dict(turns[0])
            await asyncio.sleep(0.01)


async def test_the_trace(line: Line) -> None:
    """Tells Dialogflow's intent and how sure it was, and nobody's words; no tokens are counted."""
    found = {"match": {"intent": {"display_name": "opening hours"}, "match_type": "INTENT", "confidence": 0.75}}
    line.dialogflow.script(Answer("At nine.", result={**found, "parameters": {"day": "Sunday"}}))
    async with line.call() as call:
        await call.greeting_played()
        await call.say("When is it?")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        await call.hang_up()
        entry = await traced_turn(line.relay, call.record.call_sid)
    (asked,) = entry["rounds"]
    assert asked["found"] == {"intent": "opening hours", "match": "INTENT", "confidence": 0.75}
    assert (asked["model"], asked["input"], asked["output"]) == ("dialogflow-cx", 0, 0)
    assert "Sunday" not in str(entry) and "nine" not in str(entry)


async def test_spans(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is told as Dialogflow's, with its intent, and without tokens."""
    agents = write_agent(tmp_path / "agents", BOT)
    async with DialogflowServer() as server, otlp_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        environ = {"DIALOGFLOW_PROJECT": "proj", "DIALOGFLOW_ENDPOINT": server.endpoint}
        server.script(Answer("At nine.", result={"intent": {"display_name": "opening hours"}}))
        spans = make_spans("", "a-model", [Bot("proj", endpoint=server.endpoint).place])
        try:
            async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, spans=spans) as relay:
                async with Caller(relay.url, pace=FAST) as call:
                    await call.greeting_played()
                    await call.say("When is it?")
                    await call.until(lambda: heard(call)[-1] == "At nine.")
                request = await collector.one("chat dialogflow-es")
                turn = await collector.one("invoke_agent default")
        finally:
            await spans.close()
    assert turn.attributes["gen_ai.provider.name"] == request.attributes["gen_ai.provider.name"] == "gcp.dialogflow"
    assert f"http://127.0.0.1:{request.attributes['server.port']}" == server.endpoint
    assert request.attributes["relay.request.found.intent"] == "opening hours"
    assert not any("usage" in name for name in request.attributes)
