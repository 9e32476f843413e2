"""Calls as OpenTelemetry spans: what tree they make, what is in them, and what others learn of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest
import structlog
from redis.asyncio import Redis

from phone.model import Gate, Reply, ToolUse
from relay.masks import MASK
from tests.calls.checks import TALE, heard, interrupted
from tests.calls.traced import Start, starting, whole, within
from tests.calls.workshop import book, look

CONTENT = ("gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages")
ARGUMENTS = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
CAPTURE = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}


@pytest.fixture
def start(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    return starting(redis_url, tmp_path, monkeypatch)


# -- the tree


async def test_a_call_is_a_tree_of_its_turns_with_their_requests_and_tools(start: Start) -> None:
    """Parents, times, names and attributes are those of the conventions; words, arguments and numbers are in none."""
    before = time.time_ns()
    async with start() as traced:
        traced.line.model.script(
            Reply(tools=[look("soup")], usage=(50, 20, 5)), Reply("Soup is there.", usage=(80, 0, 9))
        )
        async with traced.call() as call:
            await call.say("Is there marrow?")
            await call.until(lambda: "Soup is there." in heard(call))
        root = await whole(traced)
        collector = traced.collector
        assert (root.parent, root.kind, root.error) == ("", "SERVER", False)
        assert root.attributes["gen_ai.conversation.id"] == call.record.call_sid
        assert root.attributes["relay.call.reason"] == "completed"
        assert root.attributes["relay.call.turns"] == 1
        assert root.resource["service.name"] == "relay"
        # The call began at its ms.
        assert before - 1_000_000 <= root.start <= root.end <= time.time_ns()

        turn = await collector.one("invoke_agent default")
        assert (turn.parent, turn.kind) == (root.span_id, "INTERNAL")
        assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
        assert turn.attributes["gen_ai.agent.invocation.end_reason"] == "completed"
        assert turn.attributes["relay.turn.first_text"] > 0
        assert collector.children(turn) == ["chat a-model", "execute_tool look", "chat a-model"]

        first, second = collector.named("chat a-model")
        assert first.kind == "CLIENT"
        assert first.attributes["gen_ai.provider.name"] == "groq"
        assert (first.attributes["server.address"], first.attributes["server.port"]) == ("api.groq.com", 443)
        assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_call"]
        usage = {
            name: first.attributes[f"gen_ai.usage.{name}_tokens"] for name in ("input", "cache_read.input", "output")
        }
        assert usage == {"input": 50, "cache_read.input": 20, "output": 5}
        assert second.attributes["gen_ai.response.finish_reasons"] == ["stop"]
        assert 0 < second.attributes["gen_ai.response.time_to_first_chunk"] <= (second.end - second.start) / 1e9
        assert "relay.usage.estimated" not in second.attributes

        tool = await collector.one("execute_tool look")
        assert tool.attributes["gen_ai.tool.name"] == "look"
        assert tool.attributes["gen_ai.tool.call.id"]
        assert within(turn, root) and within(tool, turn) and within(first, turn) and within(second, turn)
        assert first.end <= tool.start <= tool.end <= second.start
        for secret in (b"marrow", b"soup", b"Soup", b"Be brief", b"5555550100", b"5555550199"):
            assert secret not in collector.body


async def test_an_interrupted_turn_says_so_and_what_its_request_has_cost(start: Start) -> None:
    """A request that was cut off has no usage from its provider: it is estimated, and told to be."""
    gate = Gate()
    async with start() as traced:
        traced.line.model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
        async with traced.call() as call:
            await interrupted(call, "Tell me a story", 4)
            gate.set()
            await call.say("Stop it")
            await call.until(lambda: "As you like." in heard(call))
        await whole(traced)
        cut, done = traced.collector.named("invoke_agent default")
        assert cut.attributes["gen_ai.agent.invocation.end_reason"] == "interrupted"
        assert done.attributes["gen_ai.agent.invocation.end_reason"] == "completed"
        assert not cut.error
        request, _ = traced.collector.named("chat a-model")
        assert request.parent == cut.span_id and not request.error
        assert request.attributes["relay.request.outcome"] == "cancelled"
        assert request.attributes["relay.usage.estimated"] is True
        assert request.attributes["gen_ai.usage.input_tokens"] > 0
        # It was stopped at its fourth word, and had sent all but the last of them by then.
        assert request.attributes["gen_ai.usage.output_tokens"] == pytest.approx(len("".join(TALE)) // 4, abs=1)


async def test_a_turn_that_ends_with_the_call_says_so(start: Start) -> None:
    """Hanging up on an answer is no interruption."""
    gate = Gate()
    async with start() as traced:
        traced.line.model.script(Reply(TALE, gate=gate, gate_at=3))
        async with traced.call() as call:
            await call.say("Tell me a story")
            await asyncio.wait_for(gate.reached.wait(), 20)
            await call.hang_up()
        await whole(traced)
        turn = await traced.collector.one("invoke_agent default")
        assert turn.attributes["gen_ai.agent.invocation.end_reason"] == "session_closed"


async def test_failures_have_their_types(start: Start) -> None:
    """A tool that fails, and a model that does, with the turn it fails: the errors' own names, not their words."""
    async with start() as traced:
        traced.line.model.script(Reply(tools=[ToolUse("crash", "{}"), ToolUse("slow", "{}")]), Reply("Well."))
        traced.line.model.behaviour = lambda ask: Reply(finish="stop")
        async with traced.call() as call:
            await call.say("Try it")
            await call.until(lambda: "Well." in heard(call))
            await call.say("Again")
            await call.until(lambda: len(heard(call)) == 2)
        await whole(traced)
        tools = {span.name: span for span in traced.collector.spans if span.name.startswith("execute_tool")}
        assert {name: (span.error, span.attributes["error.type"]) for name, span in tools.items()} == {
            "execute_tool crash": (True, "failed"),
            "execute_tool slow": (True, "timeout"),
        }
        fine, failed = traced.collector.named("invoke_agent default")
        assert not fine.error and failed.error
        assert failed.attributes["error.type"] == "_OTHER"
        assert "gen_ai.agent.invocation.end_reason" not in failed.attributes
        assert b"secret of the caller" not in traced.collector.body


async def test_a_side_effect_that_outlives_its_call_has_a_span_of_its_whole_time(start: Start) -> None:
    """It is below the turn that wanted it, and ends when it does."""
    async with start() as traced:
        soup = traced.workshop.hold("soup")
        traced.line.model.script(Reply(tools=[book("soup")]))
        async with traced.call() as call:
            await call.say("Book it")
            await asyncio.wait_for(soup.reached.wait(), 20)
        root = await traced.collector.one("call")
        assert not traced.collector.named("execute_tool book")
        soup.set()
        tool = await traced.collector.one("execute_tool book")
        turn = await traced.collector.one("invoke_agent default")
        assert tool.parent == turn.span_id and not tool.error
        assert tool.end > root.end


async def test_sessions_of_one_call_are_one_trace(start: Start) -> None:
    """Whichever process has them: the trace is named after the CallSid."""
    async with start() as traced:
        for resumed in (False, True):
            for sid in ("CA1", "CA2"):
                call = traced.spans.call(
                    sid, channel="voice", agent="default", direction="inbound", epoch=1, resumed=resumed, masks=None
                )
                with call.inside():
                    pass
        await traced.collector.until(lambda: len(traced.collector.spans) == 4)
        traces: dict[str, set[str]] = {}
        for span in traced.collector.spans:
            assert span.parent == ""
            traces.setdefault(span.attributes["gen_ai.conversation.id"], set()).add(span.trace_id)
        one, other = traces["CA1"], traces["CA2"]
        assert len(one) == len(other) == 1 and one != other


# -- what leaves


async def test_what_a_tool_asks_of_others_says_where_it_comes_from(start: Start) -> None:
    """By the headers of its context, and by itself where its client is instrumented; log records name the span too."""
    async with start() as traced:
        traced.line.model.script(Reply(tools=[ToolUse("fetch", "{}")]), Reply("Soup."))
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
            async with traced.call() as call:
                await call.say("What is there?")
                await call.until(lambda: "Soup." in heard(call))
            root = await whole(traced)
        tool = await traced.collector.one("execute_tool fetch")
        wanted = f"00-{tool.trace_id}-{tool.span_id}-0"
        assert [headers["traceparent"][:-1] for headers in traced.fetched] == [wanted, wanted]
        named = {record["event"]: (record["trace_id"], record["span_id"]) for record in logs if "trace_id" in record}
        assert named["fetched"] == (tool.trace_id, tool.span_id)
        assert named["turn ended"] == named["call ended"] == (root.trace_id, root.span_id)


async def test_words_and_arguments_are_told_to_who_asks_for_them(start: Start) -> None:
    """In the convention's shapes, with what callers key in masked and telephone numbers left out."""
    number = "+44 20 7946 0958"
    async with start(**CAPTURE) as traced:
        ask = ToolUse("ask_pin", orjson.dumps({"number": number}).decode())
        traced.line.model.script(Reply(tools=[ask]), Reply(["Your ", "pin is ", "1 2 3 4."]))
        async with traced.call() as call:
            await call.say(f"I am at {number}, call me on 2026-11-12")
            await traced.line.model.received(1)
            await call.press("1234")
            await call.until(lambda: len(heard(call)) == 1)
        await whole(traced)
        first, second = traced.collector.named("chat a-model")
        system, shown, said = (orjson.loads(second.attributes[name]) for name in CONTENT)
        assert system[0]["type"] == "text" and "Their number: (number)." in system[0]["content"]
        assert shown[0] == {
            "role": "user",
            "parts": [{"type": "text", "content": "I am at (number), call me on 2026-11-12"}],
        }
        assert [message["role"] for message in shown] == ["user", "assistant", "tool"]
        assert shown[1]["parts"][0]["arguments"] == {"number": "(number)"}
        assert shown[2]["parts"][0]["response"]["pin"] == MASK
        assert said == [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": f"Your pin is {MASK}."}],
                "finish_reason": "stop",
            }
        ]
        (called,) = orjson.loads(first.attributes["gen_ai.output.messages"])
        assert called["parts"][0]["name"] == "ask_pin" and called["finish_reason"] == "tool_call"
        tool = await traced.collector.one("execute_tool ask_pin")
        arguments, result = (orjson.loads(tool.attributes[name]) for name in ARGUMENTS)
        assert arguments == {"number": "(number)"}
        assert (result["pin"], result["number"]) == (MASK, "(number)")
        for secret in (b"1234", b"1 2 3 4", b"7946", b"555-0100"):
            assert secret not in traced.collector.body
