"""Models that write nonsense, or without end: bounded, ended, and told to the caller; on both APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from phone.caller import FAST, Caller
from phone.model import Gate, ModelServer, Reply, ToolUse
from relay.items import AssistantItem
from tests.calls.checks import heard, in_order, remembered, texts_of, words_of
from tests.fakes import raw_model as raw
from tests.fakes.raw_model import RawModel
from tests.running import Running, running, write_agent

APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again, please?"
TROUBLE = "I'm sorry, we are having technical trouble. Please call again later."
LONGEST = 300
AGENT = """
title = "Test"
tools = ["save_name", "end_call"]
"""
ENVIRON = {"REPLY_MAX_CHARS": str(LONGEST), "TOOL_ROUNDS": "3"}
BRIEF = {**ENVIRON, "TURN_DEADLINE": "0.8"}
WAYS = ["chat", "responses", "websocket"]
"""To ask a model: by one API or the other, or by a websocket."""


def asking(way: str, redis_url: str, folder: Path, environ: dict[str, str]) -> AbstractAsyncContextManager[Running]:
    agents, api = write_agent(folder / "agents", AGENT), way
    if way == "websocket":
        environ, api = {**environ, "OPENAI_TRANSPORT": "websocket"}, "responses"
    return running(redis_url, folder / "data", agents=agents, environ=environ, api=api)


@pytest.fixture(params=WAYS)
async def line(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application."""
    async with asking(request.param, redis_url, tmp_path, ENVIRON) as app:
        yield app


@pytest.fixture(params=WAYS)
async def brief(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """One whose turns must have begun to speak soon."""
    async with asking(request.param, redis_url, tmp_path, BRIEF) as app:
        yield app


async def goes_on(line: Running, call: Caller) -> None:
    """The next turn is a normal one; every frame was one Twilio takes; history is what was heard."""
    line.model.script(Reply("All is well again."))
    await call.say("And now?")
    await call.until(lambda: heard(call)[-1] == "All is well again.")
    await in_order(call)
    items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
    assert words_of(items) == heard(call)


@pytest.mark.parametrize(
    "text",
    [
        ["A sentence of some words. " * 40_000],
        ["A sentence ", "of some ", "words. "] * 5000,
        ["word " * 200_000],
        ["w" * 1_000_000],
        ["你好。" * 100_000],
        ["[" * 100_000 + " and words."],
    ],
    ids=["a megabyte at once", "piece by piece", "no sentence", "one word", "Chinese", "brackets"],
)
async def test_a_reply_without_end(line: Running, text: list[str]) -> None:
    """It is ended, at a sentence where there is one, the request is closed, and no frame is longer than a reply."""
    line.model.script(Reply(text, gate=Gate(), gate_at=len(text)))
    with capture_logs() as logs:
        async with Caller(line.url, pace=FAST) as call:
            await call.say("Tell me")
            said = await call.reply()
            request = await line.model.received(1)
            await request.ended.wait()
            assert request.closed_early
            assert LONGEST / 2 - 10 < len(said) <= LONGEST
            assert max(len(frame.token) for frame in texts_of(call)) <= LONGEST
            if "." in text[-1] and "[" not in text[0]:
                assert said.endswith("some words.")
            await goes_on(line, call)
    assert [log["turn"] for log in logs if log["event"] == "reply ended at REPLY_MAX_CHARS"] == [1]


@pytest.mark.parametrize(
    "tools",
    [
        [ToolUse("save_name", '{"first_name": ')],
        [ToolUse("save_name", "[[[[")],
        [ToolUse("no_such_tool")],
        [ToolUse("no_such_tool", "\x00"), ToolUse("", "{}"), ToolUse("save_name", '{"unknown": 1}')],
    ],
    ids=["cut arguments", "brackets", "unknown name", "all of it"],
)
async def test_calls_nobody_can_carry_out(line: Running, tools: list[ToolUse]) -> None:
    """For ever: the model is told so many times; then the caller hears an apology, three times, and the call ends."""
    line.model.behaviour = lambda ask: Reply(tools=tools)
    async with Caller(line.url, pace=FAST) as call:
        for number in range(1, 3):
            await call.say("I am Ada")
            await call.until(lambda number=number: heard(call) == [APOLOGY] * number)  # type: ignore[misc]
            assert len(line.model.asked) <= 4 * number
        await call.say("Ada!")
        assert (await call.ended()).how == "agent"
        assert heard(call) == [APOLOGY, APOLOGY, TROUBLE]
        assert call.record.unplayed_at_end == ""
        assert call.record.faults == []


@pytest.mark.parametrize(
    "tools",
    [
        [ToolUse("save_name", '{"first_name": "' + "x" * 1_000_000, fragment=1000)],
        [ToolUse("save_name", '{"first_name": "' + "x" * 200_000, fragment=200_000)],
        [ToolUse("save_name", "{}")] * 500,
    ],
    ids=["arguments", "arguments at once", "calls"],
)
async def test_calls_without_end(line: Running, tools: list[ToolUse]) -> None:
    """The answer is given up before it has taken much memory, and asked for no second time."""
    line.model.script(Reply(tools=tools, gate=Gate(), gate_at=10_000))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("I am Ada")
        assert await call.reply() == APOLOGY
        assert len(line.model.asked) == 1
        await goes_on(line, call)


async def test_white_space_without_end(brief: Running) -> None:
    """No word comes by the turn's deadline."""
    brief.model.script(Reply([" \n"] * 3000, gate=Gate(), gate_at=3000))
    async with Caller(brief.url, pace=FAST) as call:
        await call.say("Hello")
        assert await call.reply() == APOLOGY
        await goes_on(brief, call)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe\x00 what is this",
        b"data: {broken\n\n",
        b"data: [1, 2, 3]\n\ndata: null\n\ndata: 5\n\n",
        b'data: {"choices": 7}\n\ndata: {"type": "response.output_text.delta"}\n\n',
        b": ping\n\n" * 10_000,
        b"x" * 5_000_000,
    ],
    ids=["bytes", "broken JSON", "no objects", "wrong types", "pings", "a line without end"],
)
async def test_garbage(api: str, garbage: bytes, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Whatever comes instead of events: the apology, and the next turn is asked for again."""
    agents = write_agent(tmp_path / "agents", AGENT)
    answer = raw.chat_answer("All is well.") if api == "chat" else raw.responses_answer("All is well.")
    server = RawModel([raw.CHUNKED, raw.chunk(garbage), "hold"])
    endpoint: Any = server
    async with (
        running(
            redis_url, tmp_path / "data", agents=agents, environ=BRIEF, api=api, model=cast(ModelServer, endpoint)
        ) as line,
        Caller(line.url, pace=FAST) as call,
    ):
        await call.say("Hello")
        assert await call.reply() == APOLOGY
        server.answers.clear()
        server.answers.append(answer)
        await call.say("And now?")
        await call.until(lambda: heard(call)[-1] == "All is well.")
        await in_order(call)
        items = await remembered(line, call.record.call_sid, lambda items: words_of(items) == heard(call))
        assert [item.origin for item in items if isinstance(item, AssistantItem)] == ["apology", ""]
