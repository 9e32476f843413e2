"""The Responses API: what is sent and what is read."""

from typing import Any

import orjson
import pytest

from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected, ModelUnavailable
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, ModelEvent, ModelRequest, ToolCall, ToolSpec, Usage
from relay.models.responses import ResponsesModel, responses_input
from tests.fakes import raw_model as raw
from tests.fakes.raw_model import RawModel, completed, delta, in_pieces, streamed
from tests.relay.models.conftest import Connect, collect

LOOSE = {"type": "object", "properties": {"name": {"type": "string"}}, "required": []}
STRICT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
TOOLS = (ToolSpec("save_name", "Saves a name.", LOOSE), ToolSpec("end_call", "Ends.", STRICT))


async def sent(connect: Connect, request: ModelRequest, **values: Any) -> Any:
    """The body of the request as the server received it."""
    async with RawModel(raw.responses_answer("ok")) as server:
        assert await collect(connect(ResponsesModel, server.url, **values), request) == ["ok", Finished("stop")]
        (post,) = server.posts
        assert post.path == "/v1/responses"
        assert post.headers["content-type"] == "application/json"
        return post.json


async def answered(connect: Connect, *events: object) -> list[ModelEvent]:
    """What an answer of these events is read as."""
    async with RawModel(streamed(events)) as server:
        return await collect(connect(ResponsesModel, server.url), ModelRequest("x", [UserItem("y")], TOOLS))


async def test_body_for_openai(connect: Connect) -> None:
    """Nothing is stored; tools say whether they are strict; effort none and no obfuscation."""
    request = ModelRequest("Be brief.", [UserItem("Hi"), NoteItem("Key 1.")], TOOLS, cache_key="agent")
    assert await sent(connect, request, own_host=True, model="gpt-5.4-mini", max_tokens=200) == {
        "model": "gpt-5.4-mini",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Hi"}, {"role": "developer", "content": "Key 1."}],
        "tools": [
            {
                "type": "function",
                "name": "save_name",
                "description": "Saves a name.",
                "parameters": LOOSE,
                "strict": False,
            },
            {"type": "function", "name": "end_call", "description": "Ends.", "parameters": STRICT, "strict": True},
        ],
        "reasoning": {"effort": "none"},
        "max_output_tokens": 200,
        "prompt_cache_key": "agent",
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "store": False,
    }


async def test_body_for_a_compatible_server(connect: Connect) -> None:
    """Elsewhere there is no reasoning, obfuscation or empty field."""
    body = await sent(connect, ModelRequest("", [UserItem("Hi")]))
    assert body == {"model": "small", "input": [{"role": "user", "content": "Hi"}], "stream": True, "store": False}


async def test_reasoning_is_asked_back_encrypted(connect: Connect) -> None:
    """Where the model reasons, its encrypted reasoning is asked for, because nothing is stored at the provider."""
    body = await sent(connect, ModelRequest("", []), own_host=True, model="gpt-5.4-mini", reasoning="low")
    assert (body["reasoning"], body["include"]) == ({"effort": "low"}, ["reasoning.encrypted_content"])
    body = await sent(connect, ModelRequest("", []), own_host=True, model="gpt-6-astra", reasoning="none")
    assert "reasoning" not in body
    assert body["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", None), ("none", "none"), ("save_name", {"type": "function", "name": "save_name"})],
)
async def test_tool_choice(choice: str, expected: object, connect: Connect) -> None:
    """auto is the API's default and not sent; none and one function are."""
    assert (await sent(connect, ModelRequest("", [], TOOLS, tool_choice=choice))).get("tool_choice") == expected
    assert "tool_choice" not in await sent(connect, ModelRequest("", [], tool_choice=choice))


def function_call(call_id: str, name: str, arguments: str) -> dict[str, str]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, text: str) -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def as_json(written: list[object]) -> Any:
    return orjson.loads(orjson.dumps(written))


def test_items_become_input() -> None:
    """The calls of a round come together, then their results; a reply is its heard words, or nothing."""
    items: list[Item] = [
        UserItem("Ann Lee, and book at 5"),
        AssistantItem("One mo", "interrupted"),
        ToolItem("c1", "save_name", '{"name":"Ann"}', "saved", round=0),
        ToolItem("c2", "book", "{}", "full", round=0),
        ToolItem("c3", "book", '{"at":6}', "booked", round=1),
        AssistantItem("", "interrupted"),
    ]
    assert as_json(responses_input(items)) == [
        {"role": "user", "content": "Ann Lee, and book at 5"},
        {"role": "assistant", "content": "One mo"},
        function_call("c1", "save_name", '{"name":"Ann"}'),
        function_call("c2", "book", "{}"),
        output("c1", "saved"),
        output("c2", "full"),
        function_call("c3", "book", '{"at":6}'),
        output("c3", "booked"),
    ]


def item_event(kind: str, index: int, **item: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": item}


def arguments_delta(index: int, piece: str) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "output_index": index, "delta": piece}


def begun(index: int, call_id: str, name: str) -> dict[str, Any]:
    return item_event("added", index, type="function_call", call_id=call_id, name=name, arguments="")


def done(index: int, call_id: str, name: str, arguments: str, status: str = "completed") -> dict[str, Any]:
    return item_event(
        "done", index, type="function_call", call_id=call_id, name=name, arguments=arguments, status=status, id="fc"
    )


async def test_reasoning_is_carried_to_the_next_round(connect: Connect) -> None:
    """Reasoning and the calls it led to go back as the provider wrote them, before the outputs, and nothing else."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xyz"}
    events = await answered(
        connect,
        item_event("done", 0, **thought),
        item_event("done", 1, type="message", content=[]),
        begun(2, "c1", "book"),
        done(2, "c1", "book", "{}"),
        begun(3, "c2", "book"),
        done(3, "c2", "book", '{"at":6}'),
        completed(),
    )
    finished = events[-1]
    assert isinstance(finished, Finished)
    wrote = [
        {**function_call("c1", "book", "{}"), "status": "completed", "id": "fc"},
        {**function_call("c2", "book", '{"at":6}'), "status": "completed", "id": "fc"},
    ]
    assert [orjson.loads(raw) for raw in finished.carry] == [thought, *wrote]
    items: list[Item] = [
        UserItem("Book"),
        ToolItem("c0", "old", "{}", "before"),
        UserItem("Again"),
        ToolItem("c1", "book", "{}", "full"),
        ToolItem("c2", "book", '{"at":6}', "booked"),
    ]
    assert as_json(responses_input(items, finished.carry)) == [
        {"role": "user", "content": "Book"},
        function_call("c0", "old", "{}"),
        output("c0", "before"),
        {"role": "user", "content": "Again"},
        thought,
        *wrote,
        output("c1", "full"),
        output("c2", "booked"),
    ]


async def test_without_reasoning_nothing_is_carried(connect: Connect) -> None:
    """Calls alone are written from our own items; reasoning without content is only an id of what was not stored."""
    events = await answered(
        connect,
        item_event("done", 0, type="reasoning", id="rs_1", summary=[]),
        begun(1, "c1", "book"),
        done(1, "c1", "book", "{}"),
        completed(),
    )
    assert events == [ToolCall("c1", "book", "{}"), Finished("tools")]


async def test_parallel_calls_in_fragments(connect: Connect) -> None:
    """Calls that grow at the same time are told apart by output_index, each handed on when its item is done."""
    events = await answered(
        connect,
        delta("One moment."),
        begun(1, "c1", "save_name"),
        begun(2, "c2", "book"),
        arguments_delta(1, '{"name"'),
        arguments_delta(2, '{"at":5}'),
        arguments_delta(1, ':"A"}'),
        done(2, "c2", "book", ""),
        done(1, "c1", "save_name", '{"name":"A"}'),
        completed(),
    )
    assert events == [
        "One moment.",
        ToolCall("c2", "book", '{"at":5}'),
        ToolCall("c1", "save_name", '{"name":"A"}'),
        Finished("tools"),
    ]


async def test_calls_as_compatible_servers_write_them(connect: Connect) -> None:
    """No id, no arguments, no end of the item: the call is complete with the response and gets an id."""
    call, end = await answered(
        connect,
        item_event("added", 0, type="function_call", name="end_call"),
        completed(),
    )
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments, len(call.call_id) > 8, end) == ("end_call", "{}", True, Finished("tools"))


@pytest.mark.parametrize(
    ("reason", "finished"), [("max_output_tokens", "length"), ("content_filter", "filter"), (None, "length")]
)
async def test_an_answer_that_was_stopped(reason: str | None, finished: Any, connect: Connect) -> None:
    """An incomplete response says why; the call it cut off is not handed on."""
    end = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": reason}}}
    cut = [begun(1, "c1", "book"), arguments_delta(1, '{"a'), done(1, "c1", "book", '{"a', "incomplete")]
    assert await answered(connect, delta("So"), *cut, end) == ["So", Finished(finished)]
    assert await answered(connect, delta("So"), *cut[:2], end) == ["So", Finished(finished)]


async def test_a_refusal_is_spoken(connect: Connect) -> None:
    """The words of a refusal are text, and the round ends as a refusal."""
    assert await answered(connect, delta("I cannot.", "refusal"), completed()) == ["I cannot.", Finished("refusal")]


async def test_usage_is_counted(connect: Connect) -> None:
    """The usage of the response becomes tokens in, cached and out."""
    usage = {"input_tokens": 90, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 7}
    assert await answered(connect, completed(usage=usage)) == [Finished("stop", Usage(90, 64, 7))]


@pytest.mark.parametrize(
    ("event", "before", "after"),
    [
        ({"type": "error", "code": "server_error", "message": "x"}, ModelUnavailable, ModelCut),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, ModelUnavailable, ModelCut),
        ({"type": "error", "error": {"code": "insufficient_quota"}}, ModelQuota, ModelQuota),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, ModelUnavailable, ModelCut),
        ({"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}}, ModelRejected, ModelRejected),
        ({"type": "response.failed", "response": {"error": None}}, ModelUnavailable, ModelCut),
    ],
)
async def test_failures_inside_the_stream(
    event: dict[str, Any], before: type[ModelError], after: type[ModelError], connect: Connect
) -> None:
    """error and response.failed raise by their code; once words were received they count as a cut."""
    created = {"type": "response.created", "response": {}}
    for events, expected, received in (([created, event], before, False), ([delta("Hi"), event], after, True)):
        with pytest.raises(ModelError) as caught:
            await answered(connect, *events)
        assert (type(caught.value), caught.value.received) == (expected, received)


async def test_done_alone_is_no_end(connect: Connect) -> None:
    """Only the API's own terminal events end a response: without them the stream was cut."""
    with pytest.raises(ModelCut):
        await answered(connect, delta("Hi"), b"[DONE]")


async def test_unknown_events_are_ignored(connect: Connect) -> None:
    """Events, items and values this program does not know do not disturb."""
    events = await answered(
        connect,
        {"type": "response.in_progress", "response": {}},
        {"type": "response.some_new_thing.delta", "delta": "nothing"},
        item_event("added", 0, type="web_search_call"),
        {"type": "response.output_text.done", "text": "Hi"},
        {"type": "keepalive"},
        {},
        b"17",
        delta("Hi"),
        delta(""),
        completed(),
    )
    assert events == ["Hi", Finished("stop")]


@pytest.mark.parametrize("size", [1, 5, 64])
async def test_pieces_of_any_size_over_the_wire(size: int, connect: Connect) -> None:
    """An answer cut into small pieces, inside characters and line ends, is read as the whole."""
    events = [delta("Grüße, "), delta("你好"), begun(1, "c", "t"), done(1, "c", "t", '{"a":"é"}'), completed()]
    body = b"".join(b"event: x\r\n" + raw.event(data).replace(b"\n", b"\r\n") for data in events)
    async with RawModel([raw.UNTIL_CLOSE, *in_pieces(body, range(0, len(body), size)), "close"]) as server:
        read = await collect(connect(ResponsesModel, server.url), ModelRequest("x", []))
    assert read == ["Grüße, ", "你好", ToolCall("c", "t", '{"a":"é"}'), Finished("tools")]
