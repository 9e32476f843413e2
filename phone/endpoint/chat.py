"""Answers of Chat Completions. Source of the shapes: the types of OpenAI's Python SDK 3.52."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import orjson

from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames, padding, tokens, with_ids
from phone.endpoint.reply import Reply, ToolUse, as_pieces

_FINISH = {"stop": "stop", "refusal": "stop", "length": "length", "filter": "content_filter"}


def chat_frames(ask: Ask, reply: Reply) -> Frames:
    """The stream: the role, the deltas, the chunk with the finish reason, the usage if it was asked for, ``[DONE]``."""
    start = b"data: " + orjson.dumps(_envelope(ask, "chat.completion.chunk"))[:-1]
    usage = {"usage": None} if ask.include_usage else {}
    count = 0

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        nonlocal count
        count += 1
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        rest = {"choices": [choice], **usage, **padding(ask, count)}
        return start + b"," + orjson.dumps(rest)[1:] + b"\n\n"

    head = chunk({"role": "assistant", "content": "" if reply.text else None, "refusal": None})
    steps = [chunk({"content": piece}) for piece in as_pieces(reply.text)]
    steps += [chunk({"refusal": piece}) for piece in as_pieces(reply.refusal)]
    tools, begun = with_ids(reply), set[int]()
    for index, fragment in reply.fragments():
        opening = b""
        if index not in begun:
            begun.add(index)
            opening = chunk({"tool_calls": [{"index": index, **_call(tools[index], "")}]})
        steps.append(opening + chunk({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}))
    tail = chunk({}, _finish(reply))
    if ask.include_usage:
        tail += start + b"," + orjson.dumps({"choices": [], "usage": _usage(ask, reply)})[1:] + b"\n\n"
    whole = b"" if ask.stream else orjson.dumps(_whole(ask, reply, tools))
    return Frames(head, steps, tail + b"data: [DONE]\n\n", whole)


def _whole(ask: Ask, reply: Reply, tools: list[ToolUse]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(as_pieces(reply.text)) or None,
        "refusal": "".join(as_pieces(reply.refusal)) or None,
        "annotations": [],
    }
    if tools:
        message["tool_calls"] = [_call(use, use.arguments) for use in tools]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
    return {**_envelope(ask, "chat.completion"), "choices": [choice], "usage": _usage(ask, reply)}


def _envelope(ask: Ask, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid4().hex[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.tools and reply.finish == "stop" else _FINISH[reply.finish]


def _usage(ask: Ask, reply: Reply) -> dict[str, Any]:
    read, cached, written = tokens(ask, reply)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _call(use: ToolUse, arguments: str) -> dict[str, Any]:
    return {"id": use.call_id, "type": "function", "function": {"name": use.name, "arguments": arguments}}
