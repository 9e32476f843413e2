"""The endpoint's answers, read by OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError, AsyncOpenAI

from phone.model import Fault, ModelServer, Reply, ToolUse, pieces

USER: list[Any] = [{"role": "user", "content": "Hello"}]
CHAT_TOOLS: list[Any] = [{"type": "function", "function": {"name": name}} for name in ("add", "look")]
TOOLS: list[Any] = [{"type": "function", "name": name, "parameters": None, "strict": False} for name in ("add", "look")]
HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream"}
TWO_CALLS = Reply(
    text=["Let", " me", " see."],
    tools=[ToolUse("add", '{"a":1,"b":22222222}', fragment=5), ToolUse("look", '{"q":"grüße"}', fragment=3)],
)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


async def chat(client: AsyncOpenAI, **options: Any) -> list[Any]:
    stream = await client.chat.completions.create(model="m", messages=USER, stream=True, **options)
    return [chunk async for chunk in stream]


async def responses(client: AsyncOpenAI, **options: Any) -> list[Any]:
    stream = await client.responses.create(model="m", input="Hello", stream=True, **options)
    return [event async for event in stream]


async def test_chat_stream_of_words(server: ModelServer, client: AsyncOpenAI) -> None:
    """A chat stream gives the role, then the pieces, then the finish reason, and no usage unasked."""
    server.script(Reply(text=["One", " two", " three."]))
    chunks = await chat(client)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "One", " two", " three.", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_chat_usage_comes_last_when_asked_for(server: ModelServer, client: AsyncOpenAI) -> None:
    """With include_usage the last chunk has no choices and the usage."""
    server.script(Reply(text="Hi.", usage=(100, 64, 7)))
    last = (await chat(client, stream_options={"include_usage": True}))[-1]
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (100, 7, 107)
    assert last.usage.prompt_tokens_details.cached_tokens == 64


@pytest.mark.parametrize("interleave", [False, True])
async def test_chat_parallel_calls_in_fragments(server: ModelServer, client: AsyncOpenAI, interleave: bool) -> None:
    """Id and name come once for an index, arguments in fragments, and the finish reason is tool_calls."""
    server.script(Reply(text=TWO_CALLS.text, tools=TWO_CALLS.tools, interleave=interleave))
    chunks = await chat(client, tools=CHAT_TOOLS)
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    arguments = {0: "", 1: ""}
    for call in deltas:
        arguments[call.index] += call.function.arguments
    assert arguments == {0: '{"a":1,"b":22222222}', 1: '{"q":"grüße"}'}
    assert [(call.index, call.function.name) for call in deltas if call.id] == [(0, "add"), (1, "look")]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    order = [call.index for call in deltas if call.function.arguments]
    assert (order == sorted(order)) is not interleave


@pytest.mark.parametrize(("finish", "reason"), [("length", "length"), ("filter", "content_filter")])
async def test_chat_other_ends(server: ModelServer, client: AsyncOpenAI, finish: Any, reason: str) -> None:
    """Length and content filter are told by the finish reason."""
    server.script(Reply(text="And then", finish=finish))
    assert (await chat(client))[-1].choices[0].finish_reason == reason


async def test_chat_refusal(server: ModelServer, client: AsyncOpenAI) -> None:
    """A refusal has deltas of its own."""
    server.script(Reply(refusal=["I can", "not."]))
    chunks = await chat(client)
    assert [chunk.choices[0].delta.refusal for chunk in chunks if chunk.choices[0].delta.refusal] == ["I can", "not."]


async def test_chat_whole_answer(server: ModelServer, client: AsyncOpenAI) -> None:
    """Without stream the answer is one object with the same words and calls."""
    server.script(TWO_CALLS)
    answer = await client.chat.completions.create(model="m", messages=USER, tools=CHAT_TOOLS)
    message = answer.choices[0].message
    assert message.content == "Let me see."
    assert [call.function.name for call in message.tool_calls or () if call.type == "function"] == ["add", "look"]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage is not None


async def test_responses_stream_of_words(server: ModelServer, client: AsyncOpenAI) -> None:
    """The events of a Responses stream come complete, in their order, numbered, and end with the usage."""
    server.script(Reply(text=["One", " two."], usage=(50, 48, 2)))
    events = await responses(client)
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert [event.delta for event in events if event.type.endswith(".delta")] == ["One", " two."]
    last = events[-1].response
    assert last.output_text == "One two."
    assert last.id == events[0].response.id
    assert (last.usage.input_tokens, last.usage.output_tokens) == (50, 2)
    assert last.usage.input_tokens_details.cached_tokens == 48


@pytest.mark.parametrize("interleave", [False, True])
async def test_responses_parallel_calls(server: ModelServer, client: AsyncOpenAI, interleave: bool) -> None:
    """Every call is an item of its own, its arguments in fragments and then whole."""
    server.script(Reply(text=TWO_CALLS.text, tools=TWO_CALLS.tools, reasoning=True, interleave=interleave))
    events = await responses(client, tools=TOOLS)
    arguments: dict[int, str] = {}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            arguments[event.output_index] = arguments.get(event.output_index, "") + event.delta
    assert arguments == {2: '{"a":1,"b":22222222}', 3: '{"q":"grüße"}'}
    done = {event.output_index: event.item for event in events if event.type == "response.output_item.done"}
    assert {index: item.type for index, item in done.items()} == {
        0: "reasoning",
        1: "message",
        2: "function_call",
        3: "function_call",
    }
    assert done[2].arguments == arguments[2]
    assert [item.model_dump() for item in events[-1].response.output] == [done[n].model_dump() for n in range(4)]
    order = [event.output_index for event in events if event.type == "response.function_call_arguments.delta"]
    assert (order == sorted(order)) is not interleave


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("filter", "content_filter")])
async def test_responses_incomplete(server: ModelServer, client: AsyncOpenAI, finish: Any, reason: str) -> None:
    """An answer that was stopped ends with response.incomplete and why."""
    server.script(Reply(text="And then", finish=finish))
    last = (await responses(client))[-1]
    assert (last.type, last.response.status, last.response.incomplete_details.reason) == (
        "response.incomplete",
        "incomplete",
        reason,
    )


async def test_responses_refusal(server: ModelServer, client: AsyncOpenAI) -> None:
    """A refusal is a part of its own kind with deltas of its own kind."""
    server.script(Reply(refusal=["I can", "not."]))
    events = await responses(client)
    assert [event.delta for event in events if event.type == "response.refusal.delta"] == ["I can", "not."]
    assert events[-1].response.output[0].content[0].refusal == "I cannot."


async def test_responses_whole_answer(server: ModelServer, client: AsyncOpenAI) -> None:
    """Without stream the answer is the response object."""
    server.script(TWO_CALLS)
    answer = await client.responses.create(model="m", input="Hello", tools=TOOLS)
    assert answer.output_text == "Let me see."
    assert [item.name for item in answer.output if item.type == "function_call"] == ["add", "look"]
    assert answer.status == "completed"


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_noise_line_ends_and_small_packets_change_nothing(
    server: ModelServer, client: AsyncOpenAI, api: str
) -> None:
    """Comments, unknown events, CR LF and torn packets are legal: the words are read all the same."""
    server.script(Reply(text="Grüße, 世界.", noise=True, crlf=True, shred=3))
    if api == "chat":
        chunks = await chat(client)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    else:
        events = await responses(client)
        assert "response.something.new" in {event.type for event in events}
        text = events[-1].response.output_text
    assert text == "Grüße, 世界."


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_padding_is_left_out_on_request(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """Deltas carry padding unless include_obfuscation is false, which makes the stream smaller."""
    sizes = []
    for wanted in (True, False):
        path, name = ("/chat/completions", "messages") if api == "chat" else ("/responses", "input")
        options = {"include_obfuscation": wanted}
        body = {name: USER, "model": "m", "stream": True, "stream_options": options}
        raw = await client.post(path, cast_to=bytes, content=orjson.dumps(body), options={"headers": HEADERS})
        sizes.append(raw.count(b'"obfuscation"'))
    assert sizes[0] > 0
    assert sizes[1] == 0


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_failure_inside_the_stream(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """The API's own failure inside a stream is read as one by the client, after the words before it."""
    server.script(Reply(text=["One", " two"], fault=Fault("failed", at=1, message="Overloaded", code="overloaded")))
    if api == "chat":
        with pytest.raises(APIError, match="Overloaded"):
            await chat(client)
        return
    last = (await responses(client))[-1]
    assert (last.type, last.response.error.message, last.response.status) == (
        "response.failed",
        "Overloaded",
        "failed",
    )


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    """Cutting a text loses nothing and leaves no empty piece."""
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(cut)
