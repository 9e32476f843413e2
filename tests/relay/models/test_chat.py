"""Chat Completions: what is sent and what is read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, ModelEvent, ModelRequest, ToolCall, ToolSpec, Usage
from relay.models.chat import ChatModel, chat_messages
from tests.fakes import raw_model as raw
from tests.fakes.raw_model import RawModel, ending, in_pieces, streamed, text
from tests.relay.models.conftest import Connect, collect

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOLS = (ToolSpec("save_name", "Saves a name.", SCHEMA),)


async def sent(connect: Connect, request: ModelRequest, **values: Any) -> Any:
    """The body of the request as the server received it."""
    async with RawModel(raw.chat_answer("ok")) as server:
        assert await collect(connect(ChatModel, server.url, **values), request) == ["ok", Finished("stop")]
        (post,) = server.posts
        assert post.path == "/v1/chat/completions"
        assert post.headers["content-type"] == "application/json"
        assert post.headers["accept-encoding"] == "identity"
        return post.json


async def answered(connect: Connect, *events: object) -> list[ModelEvent]:
    """What an answer of these events is read as."""
    async with RawModel(streamed(events)) as server:
        return await collect(connect(ChatModel, server.url), ModelRequest("x", [UserItem("y")], TOOLS))


async def test_body_for_a_compatible_server(connect: Connect) -> None:
    """A compatible server gets the plain fields only: system role, no reasoning, cache key or obfuscation field."""
    request = ModelRequest("Be brief.", [UserItem("Hi"), NoteItem("Key 1.")], TOOLS, cache_key="agent")
    assert await sent(connect, request, reasoning="none") == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "system", "content": "Key 1."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "save_name", "description": "Saves a name.", "parameters": SCHEMA},
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_body_for_openai(connect: Connect) -> None:
    """OpenAI's own host gets the developer role, effort none, the cache key, and no obfuscation."""
    request = ModelRequest("Be brief.", [NoteItem("Key 1.")], TOOLS, model="gpt-5.4-mini", cache_key="agent")
    body = await sent(connect, request, own_host=True, max_tokens=200)
    assert [message["role"] for message in body["messages"]] == ["developer", "developer"]
    assert body["model"] == "gpt-5.4-mini"
    assert body["reasoning_effort"] == "none"
    assert body["prompt_cache_key"] == "agent"
    assert body["max_completion_tokens"] == 200
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_reasoning_that_was_asked_for(connect: Connect) -> None:
    """An effort set on purpose is sent anywhere; a request's wish goes before the adapter's."""
    assert (await sent(connect, ModelRequest("", []), reasoning="low"))["reasoning_effort"] == "low"
    assert (await sent(connect, ModelRequest("", [], reasoning="high"), reasoning="low"))["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", None), ("none", "none"), ("save_name", {"type": "function", "function": {"name": "save_name"}})],
)
async def test_tool_choice(choice: str, expected: object, connect: Connect) -> None:
    """auto is the API's default and not sent; none and one function are."""
    assert (await sent(connect, ModelRequest("", [], TOOLS, tool_choice=choice))).get("tool_choice") == expected
    assert "tool_choice" not in await sent(connect, ModelRequest("", [], tool_choice=choice))


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_round_is_one_assistant_message_and_its_results() -> None:
    """Words and parallel calls of a round are one message, then one result a call; the next round is a message of its
    own, with no words if none were said."""
    items: list[Item] = [
        UserItem("Ann Lee, and book at 5"),
        AssistantItem("One moment."),
        ToolItem("c1", "save_name", '{"name":"Ann"}', '{"ok":true}', round=0),
        ToolItem("c2", "book", "{}", '{"ok":false}', status="failed", round=0),
        ToolItem("c3", "book", '{"at":6}', '{"ok":true}', round=1),
        AssistantItem("Done"),
    ]
    assert chat_messages(items, note_role="system") == [
        {"role": "user", "content": "Ann Lee, and book at 5"},
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [call("c1", "save_name", '{"name":"Ann"}'), call("c2", "book", "{}")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"ok":true}'},
        {"role": "tool", "tool_call_id": "c2", "content": '{"ok":false}'},
        {"role": "assistant", "content": None, "tool_calls": [call("c3", "book", '{"at":6}')]},
        {"role": "tool", "tool_call_id": "c3", "content": '{"ok":true}'},
        {"role": "assistant", "content": "Done"},
    ]


def test_exactly_what_was_heard() -> None:
    """An interrupted or open reply is its text and nothing more; one of which nothing was heard is left out."""
    items = [AssistantItem("I was say", "interrupted"), AssistantItem("", "interrupted"), AssistantItem("So", "open")]
    assert chat_messages(items, note_role="system") == [
        {"role": "assistant", "content": "I was say"},
        {"role": "assistant", "content": "So"},
    ]


def test_arguments_that_are_no_json_do_not_break_later_requests() -> None:
    """A call whose arguments the model botched is shown with empty arguments: some servers parse them."""
    (asking, _) = chat_messages([ToolItem("c1", "book", '{"at":', "bad JSON")], note_role="system")
    assert asking["tool_calls"][0]["function"]["arguments"] == "{}"


ITEMS = st.lists(
    st.one_of(
        st.builds(UserItem, st.text(max_size=3)),
        st.builds(AssistantItem, st.text(max_size=3)),
        st.builds(NoteItem, st.text(max_size=3)),
        st.builds(ToolItem, st.uuids().map(str), st.just("t"), st.just("{}"), st.just("r"), round=st.integers(0, 2)),
    ),
    max_size=12,
)


@given(ITEMS)
def test_every_call_is_answered(items: list[Item]) -> None:
    """Whatever the items, each call is followed by its one result before anything else is said, or the API answers
    400."""
    open_calls: list[str] = []
    answered_calls = 0
    for message in chat_messages(items, note_role="system"):
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            answered_calls += 1
        else:
            assert open_calls == []
            open_calls = [asked["id"] for asked in message.get("tool_calls", [])]
    assert open_calls == []
    assert answered_calls == sum(isinstance(item, ToolItem) for item in items)


def fragment(index: int | None, call_id: str = "", name: str = "", arguments: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        made["index"] = index
    if call_id:
        made["id"] = call_id
    if name:
        made["function"]["name"] = name
    return made


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(fragments)}, "finish_reason": None}]}


async def test_parallel_calls_in_fragments(connect: Connect) -> None:
    """Fragments of several calls are put together by index; words before them come first."""
    events = await answered(
        connect,
        text("One moment."),
        calls(fragment(0, "c1", "save_name")),
        calls(fragment(0, arguments='{"na')),
        calls(fragment(1, "c2", "book"), fragment(0, arguments='me":"A"}')),
        calls(fragment(1, arguments='{"at":5}')),
        ending("tool_calls"),
        b"[DONE]",
    )
    assert events == [
        "One moment.",
        ToolCall("c1", "save_name", '{"name":"A"}'),
        ToolCall("c2", "book", '{"at":5}'),
        Finished("tools"),
    ]


async def test_calls_as_compatible_servers_write_them(connect: Connect) -> None:
    """No index, one index for all, no id, a repeated name, no arguments, `stop` at the end: the calls are found."""
    events = await answered(
        connect,
        calls(fragment(None, "a", "one", '{"x"'), fragment(None, arguments=":1}"), fragment(None, "b", "two")),
        ending("stop"),
    )
    assert events == [ToolCall("a", "one", '{"x":1}'), ToolCall("b", "two", "{}"), Finished("tools")]
    events = await answered(connect, calls(fragment(0, "a", "one", "{}"), fragment(0, "b", "two", "{}")), b"[DONE]")
    assert events == [ToolCall("a", "one", "{}"), ToolCall("b", "two", "{}"), Finished("tools")]
    first, end = await answered(
        connect, calls(fragment(0, "", "one", "{")), calls(fragment(0, "", "one", "}")), ending("tool_calls")
    )
    assert isinstance(first, ToolCall)
    assert (first.name, first.arguments, len(first.call_id) > 8, end) == ("one", "{}", True, Finished("tools"))


@pytest.mark.parametrize(("reason", "finished"), [("length", "length"), ("content_filter", "filter")])
async def test_an_answer_that_was_stopped(reason: str, finished: Any, connect: Connect) -> None:
    """length and content_filter are told apart from stop; the call they cut off is not handed on."""
    events = await answered(connect, text("So"), calls(fragment(0, "c1", "book", '{"at"')), ending(reason), b"[DONE]")
    assert events == ["So", Finished(finished)]


async def test_a_refusal_is_spoken(connect: Connect) -> None:
    """The words of a refusal are text, and the round ends as a refusal."""
    refusing = {"choices": [{"index": 0, "delta": {"refusal": "I cannot."}, "finish_reason": None}]}
    assert await answered(connect, refusing, ending("stop"), b"[DONE]") == ["I cannot.", Finished("refusal")]


async def test_usage_is_counted(connect: Connect) -> None:
    """The last chunk's usage becomes tokens in, cached and out; missing details count nothing."""
    usage = {"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
    events = await answered(connect, ending("stop"), {"choices": [], "usage": usage}, b"[DONE]")
    assert events == [Finished("stop", Usage(90, 64, 7))]
    usage = {"prompt_tokens": 90, "completion_tokens": None, "prompt_tokens_details": None}
    assert await answered(connect, {**ending("stop"), "usage": usage}) == [Finished("stop", Usage(90, 0, 0))]


async def test_unknown_things_are_ignored(connect: Connect) -> None:
    """Roles, reasoning text, unknown fields, objects and values that are no chunk do not disturb."""
    events = await answered(
        connect,
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
        {"object": "chat.completion.prefill", "progress": 0.5},
        {"choices": [{"index": 0, "delta": None}]},
        b"null",
        b"[]",
        text("Hi"),
        ending("eos"),
        b"[DONE]",
    )
    assert events == ["Hi", Finished("stop")]


async def test_content_as_parts(connect: Connect) -> None:
    """Content written as a list of parts gives its text."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi"}]
    delta = {"choices": [{"index": 0, "delta": {"content": parts}}]}
    assert await answered(connect, delta, ending("stop")) == ["Hi", Finished("stop")]


@pytest.mark.parametrize("last", [[raw.END], ["close"], ["reset"]])
async def test_complete_without_done(last: Any, connect: Connect) -> None:
    """A finish reason is enough: the answer is complete though [DONE] never came, however the body ended."""
    whole = raw.chunk(raw.event(text("Hi")) + raw.event(ending("stop")))
    async with RawModel([raw.CHUNKED, whole, *last]) as server:
        assert await collect(connect(ChatModel, server.url), ModelRequest("x", [])) == ["Hi", Finished("stop")]
        assert len(server.posts) == 1


@pytest.mark.parametrize("size", [1, 3, 7, 50])
async def test_pieces_of_any_size_over_the_wire(size: int, connect: Connect) -> None:
    """An answer cut into small pieces, inside characters and line ends, is read as the whole."""
    body = b": hello\r\n\r\n" + b"".join(
        raw.event(data).replace(b"\n", b"\r\n")
        for data in (
            text("Grüße, "),
            text("你好"),
            calls(fragment(0, "c", "t", '{"a":"é"}')),
            ending("stop"),
            b"[DONE]",
        )
    )
    pieces = in_pieces(body, range(0, len(body), size))
    async with RawModel([raw.UNTIL_CLOSE, *pieces, "close"]) as server:
        events = await collect(connect(ChatModel, server.url), ModelRequest("x", []))
    assert events == ["Grüße, ", "你好", ToolCall("c", "t", '{"a":"é"}'), Finished("tools")]
