"""What both APIs have in common: failures, connections, and leaving early."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected, ModelUnavailable
from relay.items import UserItem
from relay.models import client as client_module
from relay.models.base import Finished, ModelEvent, ModelRequest, Sign
from relay.models.chat import ChatModel
from relay.models.client import MAX_REPLACEMENTS
from relay.models.responses import ResponsesModel
from tests.fakes import raw_model as raw
from tests.fakes.raw_model import CHUNKED, END, RawModel, Step, chunk, event
from tests.relay.models.conftest import Adapter, Connect, collect

REQUEST = ModelRequest("Be brief.", [UserItem("Hello")])
WORDS = {ChatModel: raw.text, ResponsesModel: raw.delta}
ANSWER = {ChatModel: raw.chat_answer, ResponsesModel: raw.responses_answer}

both = pytest.mark.parametrize("api", [ChatModel, ResponsesModel])


def error(status: int, code: str | None = None, kind: str = "x") -> list[Step]:
    body = {"error": {"message": "the caller said secret words", "type": kind, "param": None, "code": code}}
    return [raw.http(status, body, x_request_id="req_7")]


async def turn(model: Adapter) -> list[ModelEvent]:
    return await collect(model, REQUEST)


@both
async def test_words_and_their_end(api: type[Adapter], connect: Connect) -> None:
    """Words come as they were written, Finished comes last, and then the stream is over."""
    async with RawModel(ANSWER[api]("Hel", "lo", " you")) as server:
        assert await turn(connect(api, server.url)) == ["Hel", "lo", " you", Finished("stop")]


@both
async def test_words_come_before_the_answer_is_complete(api: type[Adapter], connect: Connect) -> None:
    """A word is handed on as soon as it was received."""
    more = asyncio.Event()
    head, first, *rest = ANSWER[api]("one", "two")
    if api is ResponsesModel:
        first, rest = rest[0], rest[1:]
    async with RawModel([head, first, more, *rest]) as server, connect(api, server.url).stream(REQUEST) as stream:
        assert await anext(stream) == "one"
        more.set()
        rest = [event async for event in stream if not isinstance(event, Sign)]
        assert rest == ["two", Finished("stop")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(400, "invalid_value", "invalid_request_error"), ModelRejected),
        (error(401, "invalid_api_key"), ModelRejected),
        (error(403), ModelRejected),
        (error(404, "model_not_found"), ModelRejected),
        (error(409), ModelRejected),
        (error(422), ModelRejected),
        (error(402), ModelQuota),
        (error(429, "insufficient_quota", "insufficient_quota"), ModelQuota),
        (error(429, None, "insufficient_quota"), ModelQuota),
        (error(408), ModelUnavailable),
        (error(429, "rate_limit_exceeded"), ModelUnavailable),
        (error(500), ModelUnavailable),
        (error(503, "server_error"), ModelUnavailable),
        ([raw.http(502, b"<html>bad gateway</html>")], ModelUnavailable),
        (["close"], ModelUnavailable),
        (["reset"], ModelUnavailable),
        ([b"SMTP ready\r\n\r\n", "close"], ModelUnavailable),
        ([CHUNKED, "close"], ModelUnavailable),
        ([CHUNKED, "reset"], ModelUnavailable),
        ([CHUNKED, END], ModelCut),
        ([raw.http(200, {"object": "no stream"})], ModelCut),
        ([CHUNKED, chunk(event(b"not json")), END], ModelCut),
        ([CHUNKED, chunk(event({"choices": 7, "type": "response.output_text.delta"})), END], ModelCut),
        (raw.streamed([{"error": {"code": "insufficient_quota", "message": "secret"}}]), ModelQuota),
        (raw.streamed([{"error": {"type": "invalid_request_error", "message": "secret"}}]), ModelRejected),
        (raw.streamed([{"error": {"type": "server_error", "message": "secret"}}]), ModelUnavailable),
        (raw.streamed([{"error": {"code": 502, "message": "secret"}}]), ModelUnavailable),
        (raw.streamed([{"error": {"code": "400", "message": "secret"}}]), ModelRejected),
        (raw.streamed([{"error": "secret words"}]), ModelUnavailable),
    ],
)
@both
async def test_failures_are_told_apart(
    api: type[Adapter], answer: list[Step], expected: type[ModelError], connect: Connect
) -> None:
    """Each way to fail before a word raises its class, once, and quotes nobody."""
    async with RawModel(answer) as server:
        with pytest.raises(ModelError) as caught:
            await turn(connect(api, server.url))
        assert type(caught.value) is expected
        assert not caught.value.received
        assert len(server.posts) == 1
        assert "secret" not in f"{caught.value!r} {caught.value.fields}"
        assert caught.value.__cause__ is None


@both
async def test_nobody_listens(api: type[Adapter], connect: Connect) -> None:
    """A refused connection is ModelUnavailable, and the log can say that it was refused."""
    async with RawModel() as server:
        url = server.url
    with pytest.raises(ModelUnavailable) as caught:
        await turn(connect(api, url))
    assert caught.value.fields == {"reason": "ConnectionRefusedError"}


@both
async def test_silence_is_unavailable(api: type[Adapter], connect: Connect) -> None:
    """No headers within the read timeout: ModelUnavailable; silence after a word: ModelCut."""
    async with RawModel(["hold"]) as server:
        with pytest.raises(ModelUnavailable):
            await turn(connect(api, server.url, read_timeout=0.1))
    async with RawModel([CHUNKED, chunk(event(WORDS[api]("Hi"))), "hold"]) as server:
        with pytest.raises(ModelCut):
            await turn(connect(api, server.url, read_timeout=0.1))
        assert len(server.posts) == 1


async def test_errors_carry_fields_for_the_log(connect: Connect) -> None:
    """An error names status, code and request id, apart from its message."""
    async with RawModel(error(429, "rate_limit_exceeded")) as server:
        with pytest.raises(ModelUnavailable) as caught:
            await turn(connect(ChatModel, server.url))
    assert caught.value.fields == {"status": 429, "reason": "rate_limit_exceeded", "request_id": "req_7"}
    async with RawModel(raw.streamed([raw.text("Hi"), {"error": {"type": "server_error"}}])) as server:
        with pytest.raises(ModelCut) as cut:
            await turn(connect(ChatModel, server.url))
    assert cut.value.fields == {"reason": "server_error", "request_id": "req_raw"}


@both
async def test_a_fresh_request_takes_a_new_connection(api: type[Adapter], connect: Connect) -> None:
    """After a failure no connection of the same pool is trusted, however many are open."""
    async with RawModel(ANSWER[api]("Hi")) as server:
        model = connect(api, server.url)
        await model.warm()
        assert await collect(model, replace(REQUEST, fresh=True)) == ["Hi", Finished("stop")]
        [post] = server.posts
        assert post.connection not in {get.connection for get in server.gets}


@pytest.mark.parametrize("ending", [["close"], ["reset"], [END], [chunk(event(b"{")), END]])
@both
async def test_cut_after_words(api: type[Adapter], ending: list[Step], connect: Connect) -> None:
    """However a stream is cut after a word, the word is handed on first, then ModelCut is raised, without a retry."""
    async with RawModel([CHUNKED, chunk(event(WORDS[api]("Hi"))), *ending]) as server:
        heard: list[Any] = []
        with pytest.raises(ModelCut) as caught:
            async with connect(api, server.url).stream(REQUEST) as stream:
                async for piece in stream:
                    heard.append(piece)
        assert (heard, caught.value.received, len(server.posts)) == (["Hi"], True, 1)


@both
async def test_words_before_an_error_in_the_same_piece(api: type[Adapter], connect: Connect) -> None:
    """Words that arrive in one piece with an error are handed on before it is raised."""
    piece = event(WORDS[api]("Hi")) + event({"error": {"code": "server_error"}})
    async with RawModel([CHUNKED, chunk(piece), END]) as server:
        async with connect(api, server.url).stream(REQUEST) as stream:
            assert await anext(stream) == "Hi"
            with pytest.raises(ModelCut):
                await anext(stream)
        assert len(server.posts) == 1


@both
async def test_an_endless_event_is_bounded(api: type[Adapter], connect: Connect) -> None:
    """An event without end is given up after some MiB, not kept."""
    endless: list[Step] = [raw.UNTIL_CLOSE, b"data: ", *([b"x" * 262_144] * 20), "hold"]
    async with RawModel(endless) as server:
        with pytest.raises(ModelCut):
            await turn(connect(api, server.url))


@both
async def test_connections_are_kept_between_turns(
    api: type[Adapter], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns in a row, also after hours of silence, use a connection opened at start-up: none pays a handshake."""
    async with RawModel(ANSWER[api]("Hi")) as server:
        model = connect(api, server.url)
        assert await model.warm() == ""
        assert server.connections == 2
        for hours in range(4):
            monkeypatch.setattr("aiohttp.connector.monotonic", lambda hours=hours: time.monotonic() + 3600 * hours)
            await turn(model)
        assert server.connections == 2


@both
async def test_connection_is_kept_when_the_body_ends_later(api: type[Adapter], connect: Connect) -> None:
    """The turn ends at the terminal event; what follows is read behind it, and the connection goes on serving."""
    end = asyncio.Event()
    *answer, last = ANSWER[api]("Hi")
    async with RawModel([*answer, end, last]) as server:
        model = connect(api, server.url)
        assert await turn(model) == ["Hi", Finished("stop")]
        end.set()
        await drained()
        await turn(model)
        assert server.connections == 1


@both
async def test_a_body_that_does_not_end_is_given_up(
    api: type[Adapter], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn does not wait for the end of the body; a connection that is not free in time is closed and replaced."""
    assert client_module.DRAIN_SECONDS == 0.1
    monkeypatch.setattr(client_module, "DRAIN_SECONDS", 1.0)
    *answer, _ = ANSWER[api]("Hi")
    async with RawModel([*answer, "hold"]) as server:
        assert await turn(connect(api, server.url)) == ["Hi", Finished("stop")]
        assert not server.peer_closed.is_set()
        async with asyncio.timeout(10):
            await server.peer_closed.wait()
        await server.until(lambda: len(server.gets) == 2)


@pytest.mark.parametrize("part", ["headers", "words"])
@both
async def test_cancel_closes_upstream_at_once(api: type[Adapter], part: str, connect: Connect) -> None:
    """Cancelled while waiting for headers or between words, the upstream sees the close within milliseconds."""
    answer: list[Step] = ["hold"] if part == "headers" else [CHUNKED, chunk(event(WORDS[api]("Hi"))), "hold"]
    async with RawModel(answer) as server:
        model = connect(api, server.url)
        spoken = asyncio.Event()

        async def speak() -> None:
            async with model.stream(REQUEST) as stream:
                async for _ in stream:
                    spoken.set()

        task = asyncio.create_task(speak())
        await server.until(lambda: server.posts)
        if part == "words":
            await spoken.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(10):
            await server.peer_closed.wait()
        await server.until(lambda: len(server.gets) == 2)  # the connection is replaced


@both
async def test_leaving_early_closes_upstream(api: type[Adapter], connect: Connect) -> None:
    """Leaving the context after a word closes the request, also when nobody read, and by an error of the reader."""
    answer: list[Step] = [CHUNKED, chunk(event(WORDS[api]("Hi"))), "hold"]
    async with RawModel(answer) as server:
        model = connect(api, server.url)
        async with model.stream(REQUEST) as stream:
            assert await anext(stream) == "Hi"
        await server.peer_closed.wait()
        server.peer_closed.clear()
        async with model.stream(REQUEST):
            pass
        await server.peer_closed.wait()
        server.peer_closed.clear()
        with pytest.raises(ZeroDivisionError):
            async with model.stream(REQUEST) as stream:
                await anext(stream)
                raise ZeroDivisionError
        await server.peer_closed.wait()


@both
async def test_the_turn_after_a_cancel_pays_no_handshake(api: type[Adapter], connect: Connect) -> None:
    """The turn that supersedes another takes the spare connection; others are then opened in the background."""
    cut: list[Step] = [CHUNKED, chunk(event(WORDS[api]("Hi"))), "hold"]
    async with RawModel(cut, cut, ANSWER[api]("Yes")) as server:
        model = connect(api, server.url)
        await model.warm()
        for _ in range(2):
            async with model.stream(REQUEST) as stream:
                await anext(stream)
        assert server.connections == 2  # the second was the spare
        await server.until(lambda: len(server.gets) >= 6)
        await drained()
        opened = server.connections
        assert opened >= 4
        assert await turn(model) == ["Yes", Finished("stop")]
        assert server.connections == opened


async def test_the_spare_connection_is_left_to_the_next_turn(connect: Connect) -> None:
    """The replacement after a cancel does not take the spare connection from a turn that follows a little later."""
    async with RawModel([CHUNKED, chunk(event(raw.text("Hi"))), "hold"], raw.chat_answer("Yes")) as server:
        model = connect(ChatModel, server.url)
        await model.warm()
        server.models_answer = ["hold"]
        async with model.stream(REQUEST) as stream:
            await anext(stream)
        await asyncio.sleep(0.005)
        assert await turn(model) == ["Yes", Finished("stop")]
        assert server.posts[-1].connection <= 2


async def test_replacements_are_bounded(connect: Connect) -> None:
    """However many streams are cancelled at once, only so many replacements are under way."""
    async with RawModel([CHUNKED, "hold"]) as server:
        model = connect(ChatModel, server.url)
        streams = [model.stream(REQUEST) for _ in range(MAX_REPLACEMENTS + 20)]
        await asyncio.gather(*(stream.__aenter__() for stream in streams))
        await asyncio.gather(*(stream.__aexit__() for stream in streams))
        await server.until(lambda: len(server.gets) >= 2 * MAX_REPLACEMENTS)
        await drained()
        assert len(server.gets) == 2 * MAX_REPLACEMENTS


async def test_any_number_of_streams_at_once(connect: Connect) -> None:
    """More streams than an HTTP client's usual limit of 100 are open at the same time."""
    go = asyncio.Event()
    head, *rest = raw.chat_answer("Hi")
    async with RawModel([head, go, *rest]) as server:
        model = connect(ChatModel, server.url)
        turns = [asyncio.create_task(turn(model)) for _ in range(130)]
        await server.until(lambda: len(server.posts) == 130)
        assert server.connections == 130
        assert all(post.headers["connection"] == "keep-alive" for post in server.posts)  # none is a second try
        go.set()
        assert all(answer == ["Hi", Finished("stop")] for answer in await asyncio.gather(*turns))


@both
async def test_on_sent_is_called_once(api: type[Adapter], connect: Connect) -> None:
    """``on_sent`` is called when the request leaves, before its answer."""
    calls: list[int] = []
    async with RawModel(ANSWER[api]("Hi")) as server:
        request = ModelRequest("x", [UserItem("y")], on_sent=lambda: calls.append(len(server.posts)))
        await collect(connect(api, server.url), request)
        assert calls == [0]


async def drained() -> None:
    """Lets background readers finish: they have their data and need a few turns of the loop."""
    for _ in range(50):
        await asyncio.sleep(0.001)
