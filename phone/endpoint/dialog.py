"""What a request says was said so far: both APIs' ways of writing a conversation, checked and made into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from phone.endpoint.rejected import Rejected, missing, objects, one_of, short, text_of, typed

EntryKind = Literal["user", "assistant", "note", "call", "result"]

_CHAT_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_INPUT_ROLES = ("assistant", "system", "developer", "user")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of the conversation, whichever API it came by. ``name`` and ``call_id`` belong to calls and results."""

    kind: EntryKind
    text: str
    name: str = ""
    call_id: str = ""

    def __repr__(self) -> str:
        return f"Entry({self.kind}, {len(self.text)} chars)"


def messages_of(body: dict[str, Any]) -> list[Entry]:
    """The entries of Chat Completions' ``messages``; a leading system message is the instructions and no entry."""
    if "messages" not in body:
        missing("messages")
    messages = objects(body["messages"], "messages")
    if not messages:
        raise Rejected(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    entries: list[Entry] = []
    open_calls: dict[str, str] = {}
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if "role" not in message:
            missing(f"{where}.role")
        role = message["role"]
        one_of(role, _CHAT_ROLES, f"{where}.role")
        if role == "tool":
            call_id = text_of(message, "tool_call_id", where)
            if call_id not in open_calls:
                raise Rejected(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            text = _content(message.get("content"), f"{where}.content", ("text",))
            entries.append(Entry("result", text, open_calls.pop(call_id), call_id))
            continue
        if open_calls:
            _unanswered(open_calls, index)
        if role == "assistant":
            entries += _assistant(message, where, open_calls)
            continue
        text = _content(message.get("content"), f"{where}.content", ("text", "image_url", "input_audio", "file"))
        if role == "user":
            entries.append(Entry("user", text))
        elif index:
            entries.append(Entry("note", text))
    if open_calls:
        _unanswered(open_calls, len(messages))
    return entries


def _unanswered(calls: dict[str, str], index: int) -> NoReturn:
    raise Rejected(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(calls)}",
        param=f"messages.[{index}].role",
    )


def _assistant(message: dict[str, Any], where: str, open_calls: dict[str, str]) -> list[Entry]:
    entries: list[Entry] = []
    content, calls = message.get("content"), message.get("tool_calls")
    if content is None and calls is None and message.get("refusal") is None:
        raise Rejected(f"Invalid value for 'content': expected a string, got null. ({where})", param=f"{where}.content")
    if content is not None:
        text = _content(content, f"{where}.content", ("text", "refusal"))
        if text:
            entries.append(Entry("assistant", text))
    if calls is None:
        return entries
    calls = objects(calls, f"{where}.tool_calls")
    if not calls:
        raise Rejected(
            f"Invalid '{where}.tool_calls': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param=f"{where}.tool_calls",
            code="empty_array",
        )
    for index, call in enumerate(calls):
        at = f"{where}.tool_calls[{index}]"
        call_id = text_of(call, "id", at)
        one_of(call.get("type"), ("function", "custom"), f"{at}.type")
        typed(call.get("function"), dict, f"{at}.function")
        name = text_of(call["function"], "name", f"{at}.function")
        arguments = text_of(call["function"], "arguments", f"{at}.function")
        if call_id in open_calls:
            raise Rejected(f"Duplicate value for 'tool_call_id' of '{call_id}'.", param=at)
        open_calls[call_id] = name
        entries.append(Entry("call", arguments, name, call_id))
    return entries


def input_of(body: dict[str, Any], reasoned: Mapping[str, str]) -> list[Entry]:
    """The entries of Responses' ``input``; see ``check`` for ``reasoned``."""
    if body.get("previous_response_id") is not None:
        raise Rejected(
            f"Previous response with id '{body['previous_response_id']}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if body.get("max_output_tokens") is not None:
        typed(body["max_output_tokens"], int, "max_output_tokens")
        if body["max_output_tokens"] < 16:
            raise Rejected(
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
                param="max_output_tokens",
                code="integer_below_min_value",
            )
    if body.get("instructions") is not None:
        typed(body["instructions"], str, "instructions")
    if "input" not in body:
        missing("input")
    if isinstance(body["input"], str):
        return [Entry("user", body["input"])]
    items = objects(body["input"], "input")
    entries: list[Entry] = []
    calls: dict[str, str] = {}
    answered: set[str] = set()
    seen: set[str] = set()
    ids: set[str] = set()
    for index, item in enumerate(items):
        where = f"input[{index}]"
        kind = item.get("type", "message")
        one_of(kind, ("message", "function_call", "function_call_output", "reasoning"), f"{where}.type")
        _id(item, where, kind, ids)
        if kind == "message":
            if "role" not in item:
                missing(f"{where}.role")
            role = item["role"]
            one_of(role, _INPUT_ROLES, f"{where}.role")
            kinds = ("output_text", "refusal") if role == "assistant" else ("input_text", "input_image", "input_file")
            if "content" not in item:
                missing(f"{where}.content")
            text = _content(item["content"], f"{where}.content", kinds)
            leading = not entries and body.get("instructions") is None
            if role in ("user", "assistant"):
                entries.append(Entry("user" if role == "user" else "assistant", text))
            elif not leading:
                entries.append(Entry("note", text))
        elif kind == "function_call":
            call_id, name = text_of(item, "call_id", where), text_of(item, "name", where)
            short(call_id, f"{where}.call_id", 64)
            entries.append(Entry("call", text_of(item, "arguments", where), name, call_id))
            needed = reasoned.get(item.get("id", ""))
            if needed is not None and needed not in seen:
                raise Rejected(
                    f"Item '{item['id']}' of type 'function_call' was provided without its required 'reasoning' item: "
                    f"'{needed}'.",
                    param="input",
                )
            calls[call_id] = name
        elif kind == "function_call_output":
            call_id = text_of(item, "call_id", where)
            if call_id not in calls:
                raise Rejected(f"No tool call found for function call output with call_id {call_id}.", param="input")
            text = _content(item.get("output"), f"{where}.output", ("input_text",))
            entries.append(Entry("result", text, calls[call_id], call_id))
            answered.add(call_id)
        else:
            if index + 1 == len(items) or items[index + 1].get("role", "assistant") != "assistant":
                raise Rejected(
                    f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.",
                    param="input",
                )
            typed(item.get("summary"), list, f"{where}.summary")
            seen.add(item.get("id", ""))
    for call_id in calls:
        if call_id not in answered:
            raise Rejected(f"No tool output found for function call {call_id}.", param="input")
    return entries


def _id(item: dict[str, Any], where: str, kind: str, ids: set[str]) -> None:
    prefix = {"message": "msg", "function_call": "fc", "reasoning": "rs"}.get(kind)
    value = item.get("id")
    if value is None or prefix is None:
        return
    if not str(value).startswith(prefix):
        raise Rejected(
            f"Invalid '{where}.id': '{value}'. Expected an ID that begins with '{prefix}'.",
            param=f"{where}.id",
            code="invalid_value",
        )
    if value in ids:
        raise Rejected(f"Duplicate item found with id {value}. Remove duplicate items from your input.", param="input")
    ids.add(value)


def _content(content: Any, param: str, kinds: tuple[str, ...]) -> str:
    """Text of a string or of a list of text parts."""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(objects(content, param)):
        one_of(part.get("type"), kinds, f"{param}[{index}].type")
        texts.append(text_of(part, "refusal" if part["type"] == "refusal" else "text", f"{param}[{index}]"))
    return "".join(texts)
