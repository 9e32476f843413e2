"""Requests as the real API accepts them, for both shapes; anything else is refused the way the API refuses it.

Facts: OpenAI's published schema as found in its Python SDK 3.52, and the error messages developers report. The tests of
the relay use this as their judge, so it is stricter than a compatible server would be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from phone.endpoint.dialog import Entry, input_of, messages_of
from phone.endpoint.rejected import Rejected, missing, objects, one_of, short, text_of, typed

Api = Literal["chat", "responses"]

_CHAT = """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
    web_search_options
"""
CHAT_PARAMETERS = frozenset(_CHAT.split())
_RESPONSES = """
    access_programs background context_management conversation image include input instructions max_output_tokens
    max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options
    temperature text tool_choice tools top_logprobs top_p truncation user
"""
RESPONSES_PARAMETERS = frozenset(_RESPONSES.split())
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
WITHOUT_NONE = ("gpt-6-astra", "gpt-6.1-sol")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_VERSION = re.compile(r"gpt-(\d+)(?:\.(\d+))?(?!\d|o)")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that passed the checks. ``tool_choice`` is "auto", "none", "required" or a function's name. ``at``:
    when it was read, by the server's clock."""

    api: Api
    model: str
    stream: bool
    entries: tuple[Entry, ...]
    tools: frozenset[str]
    tool_choice: str
    include_usage: bool
    obfuscated: bool
    body: dict[str, Any]
    size: int
    at: float = 0.0

    @property
    def instructions(self) -> str:
        """What stands before the conversation; "" for nothing, or for parts that are no plain text."""
        if self.api == "responses":
            told = self.body.get("instructions")
        else:
            first = self.body["messages"][0]
            told = first.get("content") if first["role"] in ("system", "developer") else ""
        return told if isinstance(told, str) else ""

    def __repr__(self) -> str:
        return f"Ask({self.api}, {self.model}, {len(self.entries)} entries)"


def check(api: Api, body: Any, *, size: int = 0, at: float = 0.0, reasoned: Mapping[str, str] | None = None) -> Ask:
    """The request in one shape for both APIs. Raises Rejected.

    size: bytes of the request, for the estimate of tokens. at: when it was read. reasoned: id of a function call item
    -> id of the reasoning item that came before it in the answer; one is not accepted without the other.
    """
    if not isinstance(body, dict):
        raise Rejected("We could not parse the JSON body of your request.")
    known = CHAT_PARAMETERS if api == "chat" else RESPONSES_PARAMETERS
    for name in body:
        if name not in known:
            raise Rejected(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Rejected("you must provide a model parameter")
    stream = body.get("stream") or False
    typed(stream, bool, "stream")
    options = body.get("stream_options") or {}
    typed(options, dict, "stream_options")
    if options and not stream:
        raise Rejected(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    allowed = {"include_obfuscation"} | ({"include_usage"} if api == "chat" else set())
    for name in options:
        if name not in allowed:
            param = f"stream_options.{name}"
            raise Rejected(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    tools = _tools(api, body)
    for name in ("prompt_cache_key", "safety_identifier"):
        value = body.get(name)
        if value is not None:
            short(value, name, 64)
    _effort(api, model, body, bool(tools))
    if api == "chat":
        entries = messages_of(body)
        if "max_tokens" in body and _version(model) >= (5, 0):
            raise Rejected(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                param="max_tokens",
                code="unsupported_parameter",
            )
    else:
        entries = input_of(body, reasoned or {})
    return Ask(
        api=api,
        model=model,
        stream=stream,
        entries=tuple(entries),
        tools=tools,
        tool_choice=_choice(api, body, tools),
        include_usage=bool(options.get("include_usage")),
        obfuscated=options.get("include_obfuscation", True) is not False,
        body=body,
        size=size,
        at=at,
    )


def _version(model: str) -> tuple[int, int]:
    found = _VERSION.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _effort(api: Api, model: str, body: dict[str, Any], tools: bool) -> None:
    """Effort, and the rule that Chat Completions of gpt-5.4 and later has no tools beside reasoning."""
    if api == "chat":
        param, effort = "reasoning_effort", body.get("reasoning_effort")
    else:
        reasoning = body.get("reasoning") or {}
        typed(reasoning, dict, "reasoning")
        param, effort = "reasoning.effort", reasoning.get("effort")
    if effort is not None:
        one_of(effort, EFFORTS, param)
    always = model.startswith(WITHOUT_NONE)
    if effort == "none" and always:
        raise Rejected(
            f"Unsupported value: 'none' is not supported with the '{model}' model.",
            param=param,
            code="unsupported_value",
        )
    reasons = effort not in (None, "none") or always
    if api == "chat" and tools and reasons and _version(model) >= (5, 4):
        raise Rejected(
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
            "Please use /v1/responses instead.",
            param="reasoning_effort",
        )


def _tools(api: Api, body: dict[str, Any]) -> frozenset[str]:
    if body.get("tools") is None:
        return frozenset()
    tools = objects(body["tools"], "tools")
    if api == "chat" and not tools:
        raise Rejected(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="tools",
            code="empty_array",
        )
    names = set()
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if "type" not in tool:
            missing(f"{where}.type")
        one_of(tool["type"], ("function", "custom"), f"{where}.type")
        if api == "chat":
            if "function" not in tool:
                missing(f"{where}.function")
            typed(tool["function"], dict, f"{where}.function")
            tool, where = tool["function"], f"{where}.function"
        name = text_of(tool, "name", where)
        if not _NAME.fullmatch(name):
            raise Rejected(
                f"Invalid '{where}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.",
                param=f"{where}.name",
                code="invalid_value",
            )
        _schema(name, tool.get("parameters"), f"{where}.parameters", strict=tool.get("strict") is True)
        names.add(name)
    return frozenset(names)


def _schema(name: str, schema: Any, param: str, *, strict: bool) -> None:
    """A function's parameters are a JSON schema object; a strict one is closed and requires everything it names."""
    problem = ""
    if schema is None and not strict:
        return
    if not isinstance(schema, dict) or schema.get("type") != "object":
        problem = "schema must be a JSON Schema of 'type: \"object\"'"
    elif strict:
        problem = _loose(schema)
    if problem:
        raise Rejected(
            f"Invalid schema for function '{name}': {problem}.", param=param, code="invalid_function_parameters"
        )


def _loose(schema: Any) -> str:
    if isinstance(schema, list):
        return next((problem for part in schema if (problem := _loose(part))), "")
    if not isinstance(schema, dict):
        return ""
    if schema.get("type") == "object" and "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false"
        if set(schema.get("required", ())) != set(schema["properties"]):
            return "'required' is required to be supplied and to be an array including every key in properties"
    return next((problem for part in schema.values() if (problem := _loose(part))), "")


def _choice(api: Api, body: dict[str, Any], tools: frozenset[str]) -> str:
    if api == "chat" and not tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None:
                raise Rejected(f"'{name}' is only allowed when 'tools' are specified.", param=name)
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    if isinstance(choice, str):
        one_of(choice, ("none", "auto", "required"), "tool_choice")
        return choice
    typed(choice, dict, "tool_choice")
    one_of(choice.get("type"), ("function", "custom"), "tool_choice.type")
    if api == "chat":
        typed(choice.get("function"), dict, "tool_choice.function")
        choice = choice["function"]
    name = text_of(choice, "name", "tool_choice")
    if name not in tools:
        raise Rejected(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return name
