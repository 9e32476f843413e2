"""What the endpoint refuses, as the real API does."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as responses_params

from phone.endpoint.checks import CHAT_PARAMETERS, RESPONSES_PARAMETERS, Api, check
from phone.model import Rejected

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "{}"}
USER = {"role": "user", "content": "Hi"}
ITEM = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5.4-mini", "messages": list(messages or (USER,)), **fields}


def responses(*items: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5.4-mini", "input": list(items or (USER,)), **fields}


def chat_tool(**fields: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "look", **fields}}]


def tool(**fields: Any) -> list[Any]:
    return [{"type": "function", "name": "look", **fields}]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", chat()),
        ("chat", chat(USER, {"role": "assistant", "tool_calls": [CALL]}, ANSWER, USER)),
        ("chat", chat({"role": "system", "content": "Be brief."}, USER, {"role": "developer", "content": "Key 5."})),
        ("chat", chat(tools=chat_tool(parameters=SCHEMA, strict=True), reasoning_effort="none", tool_choice="auto")),
        (
            "chat",
            chat(tools=chat_tool(), tool_choice={"type": "function", "function": {"name": "look"}}),
        ),
        ("chat", chat(model="llama3", max_tokens=100)),
        ("responses", responses()),
        ("responses", {"model": "m", "input": "Hi"}),
        ("responses", responses(USER, ITEM, OUTPUT)),
        ("responses", responses(USER, {**ITEM, "id": "fc_1"}, OUTPUT, tools=tool(parameters=SCHEMA, strict=True))),
        ("responses", responses(USER, {"type": "reasoning", "id": "rs_1", "summary": []}, ITEM, OUTPUT)),
        ("responses", responses({"role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}, USER)),
        (
            "responses",
            responses(reasoning={"effort": "low"}, tools=tool(), tool_choice={"type": "function", "name": "look"}),
        ),
        ("responses", responses(tools=[], tool_choice="none", store=False, include=["reasoning.encrypted_content"])),
    ],
)
def test_accepted(api: Api, body: dict[str, Any]) -> None:
    """Requests the real API takes are taken."""
    assert check(api, body).model == body["model"]


@pytest.mark.parametrize(
    ("api", "body", "part", "param"),
    [
        ("chat", [], "could not parse", None),
        ("chat", {"messages": [USER]}, "must provide a model", None),
        ("chat", {"model": ""}, "must provide a model", None),
        ("chat", {"model": "m"}, "Missing required parameter: 'messages'", "messages"),
        ("chat", {"model": "m", "messages": []}, "empty array", "messages"),
        ("chat", chat(top_k=1), "Unknown parameter: 'top_k'", "top_k"),
        ("chat", chat(input="Hi"), "Unknown parameter: 'input'", "input"),
        ("chat", chat({"role": "tester", "content": ""}), "Supported values are", "messages[0].role"),
        ("chat", chat({"role": "user", "content": None}), "expected an array", "messages[0].content"),
        ("chat", chat({"role": "user"}), "expected an array", "messages[0].content"),
        (
            "chat",
            chat({"role": "user", "content": [{"type": "input_text", "text": ""}]}),
            "Supported",
            "messages[0].content[0].type",
        ),
        ("chat", chat({"role": "assistant"}), "got null", "messages[0].content"),
        ("chat", chat({"role": "assistant", "tool_calls": []}), "empty array", "messages[0].tool_calls"),
        ("chat", chat(USER, ANSWER), "must be a response to a preceeding message", "messages.[1].role"),
        ("chat", chat({"role": "assistant", "tool_calls": [CALL]}, USER), "call_1", "messages.[1].role"),
        (
            "chat",
            chat({"role": "assistant", "tool_calls": [CALL]}),
            "must be followed by tool messages",
            "messages.[1].role",
        ),
        (
            "chat",
            chat({"role": "assistant", "tool_calls": [CALL, CALL]}, ANSWER),
            "Duplicate",
            "messages[0].tool_calls[1]",
        ),
        (
            "chat",
            chat(
                {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {}}}]}, ANSWER
            ),
            "expected a string",
            "messages[0].tool_calls[0].function.arguments",
        ),
        ("chat", chat(tools=[]), "empty array", "tools"),
        ("chat", chat(tools=tool()), "tools[0].function", "tools[0].function"),
        ("chat", chat(tools=chat_tool(name="look up")), "pattern", "tools[0].function.name"),
        ("chat", chat(tools=chat_tool(parameters={})), "JSON Schema", "tools[0].function.parameters"),
        (
            "chat",
            chat(tools=chat_tool(parameters=LOOSE, strict=True)),
            "additionalProperties",
            "tools[0].function.parameters",
        ),
        (
            "chat",
            chat(tools=chat_tool(parameters={**SCHEMA, "required": []}, strict=True)),
            "'required'",
            "tools[0].function.parameters",
        ),
        ("chat", chat(tool_choice="auto"), "only allowed when 'tools'", "tool_choice"),
        ("chat", chat(parallel_tool_calls=True), "only allowed when 'tools'", "parallel_tool_calls"),
        ("chat", chat(tools=chat_tool(), tool_choice="look"), "Invalid value", "tool_choice"),
        (
            "chat",
            chat(tools=chat_tool(), tool_choice={"type": "function", "function": {"name": "gone"}}),
            "not found in 'tools'",
            "tool_choice",
        ),
        ("chat", chat(tools=chat_tool(), reasoning_effort="low"), "/v1/responses", "reasoning_effort"),
        ("chat", chat(model="gpt-6-astra", tools=chat_tool()), "/v1/responses", "reasoning_effort"),
        ("chat", chat(model="gpt-6.1-sol", reasoning_effort="none"), "not supported", "reasoning_effort"),
        ("chat", chat(reasoning_effort="huge"), "Invalid value", "reasoning_effort"),
        ("chat", chat(max_tokens=50), "max_completion_tokens", "max_tokens"),
        ("chat", chat(stream_options={"include_usage": True}), "'stream' is enabled", "stream_options"),
        ("chat", chat(stream="yes"), "expected a boolean", "stream"),
        ("chat", chat(prompt_cache_key="k" * 65), "too long", "prompt_cache_key"),
        ("responses", {"model": "m"}, "Missing required parameter: 'input'", "input"),
        ("responses", chat(), "Unknown parameter: 'messages'", "messages"),
        ("responses", responses({"role": "tool", "content": ""}), "Supported values are", "input[0].role"),
        (
            "responses",
            responses({"role": "user", "content": [{"type": "text", "text": ""}]}),
            "Supported",
            "input[0].content[0].type",
        ),
        (
            "responses",
            responses({"role": "assistant", "content": [{"type": "input_text", "text": ""}]}),
            "Supported",
            "input[0].content[0].type",
        ),
        ("responses", responses(USER, ITEM), "No tool output found for function call call_1", "input"),
        ("responses", responses(USER, OUTPUT), "No tool call found", "input"),
        ("responses", responses(USER, OUTPUT, ITEM), "No tool call found", "input"),
        ("responses", responses(USER, {**ITEM, "id": "call_1"}, OUTPUT), "begins with 'fc'", "input[1].id"),
        (
            "responses",
            responses(USER, {**ITEM, "id": "fc_1"}, OUTPUT, {**ITEM, "id": "fc_1"}),
            "Duplicate item",
            "input",
        ),
        (
            "responses",
            responses(USER, {"type": "reasoning", "id": "rs_1", "summary": []}),
            "required following item",
            "input",
        ),
        (
            "responses",
            responses({"type": "reasoning", "id": "rs_1", "summary": []}, USER),
            "required following item",
            "input",
        ),
        ("responses", responses({**ITEM, "call_id": "c" * 65}, OUTPUT), "too long", "input[0].call_id"),
        ("responses", responses(tools=chat_tool()), "tools[0].name", "tools[0].name"),
        (
            "responses",
            responses(tools=tool(parameters=LOOSE, strict=True)),
            "additionalProperties",
            "tools[0].parameters",
        ),
        ("responses", responses(max_output_tokens=10), "minimum value", "max_output_tokens"),
        ("responses", responses(previous_response_id="resp_1"), "not found", "previous_response_id"),
        ("responses", responses(instructions=["Be brief."]), "expected a string", "instructions"),
        (
            "responses",
            responses(stream=True, stream_options={"include_usage": True}),
            "Unknown parameter",
            "stream_options.include_usage",
        ),
        ("responses", responses(reasoning_effort="low"), "Unknown parameter", "reasoning_effort"),
    ],
)
def test_refused(api: Api, body: Any, part: str, param: str | None) -> None:
    """What the real API refuses is refused, with the parameter named."""
    with pytest.raises(Rejected) as caught:
        check(api, body)
    error = caught.value.body["error"]
    assert caught.value.status == 400
    assert part in str(error["message"])
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_a_call_is_not_accepted_without_its_reasoning() -> None:
    """A function call item that came with a reasoning item has to be sent back with it."""
    call = {**ITEM, "id": "fc_1"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    check("responses", responses(USER, thought, call, OUTPUT), reasoned={"fc_1": "rs_1"})
    with pytest.raises(Rejected, match="without its required 'reasoning' item: 'rs_1'"):
        check("responses", responses(USER, call, OUTPUT), reasoned={"fc_1": "rs_1"})


def test_both_ways_of_writing_a_conversation_are_read_alike() -> None:
    """Chat messages and Responses items of one conversation give the same entries; the prompt is none of them."""
    note = {"role": "developer", "content": "The caller pressed 5."}
    before = {"role": "assistant", "content": "Hello."}
    by_chat = check(
        "chat",
        chat(
            {"role": "system", "content": "Be brief."},
            before,
            USER,
            {"role": "assistant", "tool_calls": [CALL]},
            ANSWER,
            note,
        ),
    )
    by_responses = check("responses", responses(before, USER, ITEM, OUTPUT, note, instructions="Be brief."))
    assert by_chat.entries == by_responses.entries
    assert [entry.kind for entry in by_chat.entries] == ["assistant", "user", "call", "result", "note"]
    assert by_chat.entries[3].name == "look"


def test_parameters_are_those_of_the_sdk() -> None:
    """The names that are known are exactly those the SDK sends."""
    chat_names = {
        *chat_params.CompletionCreateParamsBase.__annotations__,
        *chat_params.CompletionCreateParamsStreaming.__annotations__,
    }
    names = {
        *responses_params.ResponseCreateParamsBase.__annotations__,
        *responses_params.ResponseCreateParamsStreaming.__annotations__,
    }
    assert chat_names == CHAT_PARAMETERS
    assert names == RESPONSES_PARAMETERS
