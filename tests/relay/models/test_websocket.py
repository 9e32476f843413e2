"""The Responses API over websockets: replies on shared sockets, interrupts, limits, and HTTP for the rest."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection

from benchmarks.warm import make_certificate
from phone.model import Ask, Fault, Gate, ModelServer, Recorded, Reply, ToolUse
from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected, ModelUnavailable
from relay.items import AssistantItem, Item, ToolItem, UserItem
from relay.models import lanes, sockets
from relay.models.base import Finished, ModelEvent, ModelRequest, Sign, ToolCall, ToolSpec
from relay.models.client import make_client
from relay.models.responses import ResponsesModel
from relay.models.sockets import Sockets
from relay.models.websocket import WebsocketModel

Line = Callable[..., WebsocketModel]

TOOL = ToolSpec("save_name", "Saves a name.", {"type": "object", "properties": {}, "required": []})
LONG = [f"stale{n} " for n in range(50)]


def echo(ask: Ask) -> Reply:
    """Twenty words that carry what was said last."""
    return Reply([f"{ask.entries[-1].text}.{n} " for n in range(20)])


def asking(text: str, **values: Any) -> ModelRequest:
    return ModelRequest("Be brief.", [UserItem(text)], **values)


async def heard(model: WebsocketModel, text: str = "Hello", **values: Any) -> str:
    """The words of one turn."""
    async with model.stream(asking(text, **values)) as stream:
        return "".join([event async for event in stream if isinstance(event, str)])


def words(text: str = "Hello") -> str:
    return "".join(f"{text}.{n} " for n in range(20))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def ready(model: WebsocketModel, true: Callable[[], object]) -> None:
    """Waits until the endpoint says so, and for the handshakes it has answered to have come back."""
    await until(true)
    await model.warm()


def ways(server: ModelServer) -> list[str]:
    return [request.method for request in server.asked]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(echo) as server:
        yield server


@pytest.fixture
async def line(server: ModelServer) -> AsyncIterator[Line]:
    """``line(most=1)``: a model on sockets of its own."""
    models: list[WebsocketModel] = []

    def build(**options: Any) -> WebsocketModel:
        client = make_client(server.url, "sk-test")
        models.append(WebsocketModel(ResponsesModel(client, model="small"), Sockets(client, **options)))
        return models[-1]

    yield build
    for model in models:
        await model.close()


@pytest.fixture
async def model(line: Line) -> WebsocketModel:
    """One that is warm."""
    model = line()
    assert await model.warm() == ""
    return model


# -- replies


async def test_a_reply_comes_by_websocket(server: ModelServer, model: WebsocketModel) -> None:
    """The request is the one HTTP makes, without what belongs to HTTP, on a lane; the key is in the handshake."""
    async with model.stream(asking("Hi", tools=(TOOL,), cache_key="agent")) as stream:
        events = [event async for event in stream]
    assert "".join(event for event in events if isinstance(event, str)) == words("Hi")
    assert isinstance(events[-1], Finished) and events[-1].reason == "stop"
    (asked,) = server.asked
    assert (asked.method, asked.lane, asked.complete, asked.closed_early) == ("WS", "lane-0", True, False)
    assert asked.headers["authorization"] == "Bearer sk-test"
    await heard(model, "Hi", tools=(TOOL,), cache_key="agent", fresh=True)
    by_http = dict(server.asked[-1].body)
    assert by_http.pop("stream") is True
    assert by_http == asked.body


async def test_two_rounds_with_reasoning(server: ModelServer, model: WebsocketModel) -> None:
    """A tool is called; the next round hands back what the provider wrote, in full, and the endpoint accepts it."""
    server.script(Reply(tools=[ToolUse("save_name", '{"a":1}', "call_1")], reasoning=True), Reply("Saved."))
    first = asking("I am Ada", tools=(TOOL,), reasoning="low")
    async with model.stream(first) as stream:
        call, end = [event async for event in stream if not isinstance(event, Sign)]
    assert call == ToolCall("call_1", "save_name", '{"a":1}')
    assert isinstance(end, Finished) and end.reason == "tools" and len(end.carry) == 2
    items = [*first.items, ToolItem("call_1", "save_name", '{"a":1}', "saved", round=0)]
    async with model.stream(ModelRequest("Be brief.", items, (TOOL,), reasoning="low", carry=end.carry)) as stream:
        assert "".join([event async for event in stream if isinstance(event, str)]) == "Saved."
    assert ways(server) == ["WS", "WS"]
    assert [item["type"] for item in server.asked[1].body["input"][1:]] == [
        "reasoning", "function_call", "function_call_output",
    ]  # fmt: skip
    assert all("previous_response_id" not in asked.body for asked in server.asked)


async def test_words_come_before_the_reply_is_complete(server: ModelServer, model: WebsocketModel) -> None:
    """A word is handed on as soon as it was received, and ``on_sent`` is told once."""
    gate, sent = Gate(), []
    server.script(Reply(["one", "two"], gate=gate, gate_at=1))
    async with model.stream(asking("Hi", on_sent=lambda: sent.append(1))) as stream:
        assert await anext(stream) == "one"
        gate.set()
        assert await anext(stream) == "two"
    assert sent == [1]


async def test_many_turns_share_few_sockets(server: ModelServer, line: Line) -> None:
    """Forty turns at once: each hears its own words, on at most five sockets with eight replies each."""
    model = line(most=5)
    await model.warm()
    together = asyncio.Event()
    server.behaviour = lambda ask: Reply(echo(ask).text, gate=together, gate_at=10)
    turns = []

    def enough(number: int) -> bool:
        """Another socket is opened as soon as there are fewer than four lanes free."""
        return server.sockets.open >= min(5, 2 + max(0, (number - 4) // 8))

    for number in range(40):
        turns.append(asyncio.create_task(heard(model, f"call{number}")))
        await server.received(number + 1)
        await ready(model, partial(enough, number))
    by_socket: dict[int, list[str]] = {}
    for asked in server.asked:
        by_socket.setdefault(asked.connection, []).append(asked.lane)
    together.set()
    assert await asyncio.gather(*turns) == [words(f"call{number}") for number in range(40)]
    assert server.sockets.opened == 5
    assert all(len(set(names)) == len(names) == 8 for names in by_socket.values())
    assert ways(server) == ["WS"] * 40


# -- interrupts


async def interrupted(server: ModelServer, model: WebsocketModel) -> Recorded:
    """A turn that has heard one word and is left; its reply stands in the middle of the next."""
    await stopped(server, model, Gate())
    return server.asked[-1]


async def stopped(server: ModelServer, model: WebsocketModel, gate: Gate) -> Gate:
    server.script(Reply(LONG, gate=gate, gate_at=1))
    async with model.stream(asking("Tell me all")) as stream:
        assert await anext(stream) == LONG[0]
    return gate


async def test_an_interrupt_ends_the_reply(server: ModelServer, model: WebsocketModel) -> None:
    """The provider is told by the response's id; the socket stays and its lanes go on being used."""
    stale = await interrupted(server, model)
    await asyncio.wait_for(stale.ended.wait(), 20)
    assert (stale.closed_early, stale.sent, server.sockets.cancelled) == (True, 1, 1)
    assert [await heard(model, f"n{n}") for n in range(70)] == [words(f"n{n}") for n in range(70)]
    assert (server.sockets.opened, server.sockets.asked, set(ways(server))) == (2, 2, {"WS"})


@pytest.mark.parametrize("cancels", ["honoured", "ignored", "refused", "refused by lane"])
async def test_the_next_turn_does_not_meet_the_stale_reply(cancels: Any, server: ModelServer, line: Line) -> None:
    """Whatever becomes of the cancel: the next turn has another lane of the same socket, waits for nothing, and hears
    only its own, while the old reply stands still and while it goes on."""
    server.sockets.cancels = cancels
    model = line(most=1)
    await model.warm()
    gate = await stopped(server, model, Gate())
    assert await heard(model, "next") == words("next")
    gate.set()
    assert await heard(model, "after") == words("after")
    stale, *fresh = server.asked
    assert {each.connection for each in fresh} == {stale.connection}
    assert stale.lane not in [each.lane for each in fresh]


async def test_a_refusal_is_no_end(server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the lane of a cancelled reply may be about the cancel: nobody gets the lane while it speaks."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 60)
    server.sockets.cancels = "refused by lane"
    model = line(most=1)
    await model.warm()
    stale = await interrupted(server, model)
    await until(lambda: server.sockets.cancelled)
    assert [await heard(model, f"n{n}") for n in range(70)] == [words(f"n{n}") for n in range(70)]
    assert stale.lane not in [asked.lane for asked in server.asked[1:]]
    assert set(ways(server)) == {"WS"}


@pytest.mark.parametrize("cancels", ["ignored", "refused", "refused by lane"])
async def test_a_lane_that_speaks_on_retires_its_socket(
    cancels: Any, server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new turn comes to the socket; a turn that is on it hears its words to the end; then it is closed, and another
    is there in its place."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.05)
    server.sockets.cancels = cancels
    model = line(most=2, keep=1)
    await model.warm()
    companion = Gate()
    server.script(Reply(["It ", "is ", "sunny."], gate=companion, gate_at=1))
    async with model.stream(asking("Weather?")) as beside:
        assert await anext(beside) == "It "
        stale = await interrupted(server, model)
        await ready(model, lambda: server.sockets.open == 2)
        assert await heard(model, "next") == words("next")
        assert server.asked[-1].connection not in (stale.connection, 0)
        companion.set()
        assert [event async for event in beside if isinstance(event, str)] == ["is ", "sunny."]
    await asyncio.wait_for(stale.ended.wait(), 20)
    assert (stale.closed_early, server.sockets.open) == (True, 1)
    assert set(ways(server)) == {"WS"}


async def test_a_reply_that_has_not_begun_is_ended_when_it_does(server: ModelServer, line: Line) -> None:
    """A turn left before anything came: the cancel waits for the response's id."""
    model = line(most=1)
    await model.warm()
    gate = Gate()
    server.script(Reply(LONG, gates={-1: gate, 1: Gate()}))
    turn = asyncio.create_task(heard(model))
    await asyncio.wait_for(gate.reached.wait(), 20)
    turn.cancel()
    await asyncio.wait([turn])
    assert turn.cancelled()
    assert await heard(model, "next") == words("next")
    assert server.sockets.cancelled == 0
    gate.set()
    await asyncio.wait_for(server.asked[0].ended.wait(), 20)
    assert (server.asked[0].closed_early, server.sockets.cancelled, server.sockets.open) == (True, 1, 1)


async def test_an_abandoned_request_that_fails_is_over(
    server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn left before anything came, whose request is then answered by an error: the socket is as good as before."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.1)
    model = line(most=1)
    await model.warm()
    gate = Gate()
    server.script(Reply(gates={-1: gate}, fault=Fault.limited()))
    turn = asyncio.create_task(heard(model))
    await asyncio.wait_for(gate.reached.wait(), 20)
    turn.cancel()
    await asyncio.wait([turn])
    gate.set()
    await until(lambda: not any(task.get_name() == "model-quieten" for task in asyncio.all_tasks()))
    assert await heard(model, "next") == words("next")
    assert (ways(server), server.sockets.opened) == (["WS", "WS"], 1)


async def test_a_refused_cancel_disturbs_nobody(server: ModelServer, line: Line) -> None:
    """The error names no lane: a turn beside it that has not begun is not asked for a second time."""
    server.sockets.cancels = "refused"
    model = line(most=1)
    await model.warm()
    gate, beside = Gate(), Gate()
    server.script(Reply(LONG, gate=gate, gate_at=1), Reply("I waited.", gate=beside, gate_at=-1))
    async with model.stream(asking("Tell me all")) as stream:
        assert await anext(stream) == LONG[0]
        turn = asyncio.create_task(heard(model))
        await asyncio.wait_for(beside.reached.wait(), 20)
    await until(lambda: server.sockets.cancelled)
    assert await heard(model, "next") == words("next")
    beside.set()
    assert await turn == "I waited."
    assert ways(server) == ["WS"] * 3


@pytest.mark.parametrize("cancels", ["honoured", "ignored", "refused", "refused by lane"])
async def test_random_interrupts(
    cancels: Any, server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten callers interrupt at random words: nobody ever hears a word that is not of the turn in progress."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(sockets, "BACKOFF", (0.005, 0.01))
    server.sockets.cancels = cancels
    server.behaviour = lambda ask: Reply(echo(ask).text, pace=0.0005)
    model, rng = line(most=3), random.Random(7)
    await model.warm()

    async def call(number: int) -> None:
        for turn in range(12):
            said, leave = f"c{number}t{turn}", rng.choice([0, 1, 5, 19, 99])
            async with model.stream(asking(said)) as stream:
                for n in range(min(leave, 20)):
                    assert await anext(stream) == f"{said}.{n} "
                if leave == 99:
                    assert [type(event) async for event in stream] == [Finished]

    async with asyncio.timeout(20):
        await asyncio.gather(*(call(number) for number in range(10)))
    assert "WS" in ways(server)


# -- what ends a socket


async def test_an_hour_is_over_between_turns(server: ModelServer, model: WebsocketModel) -> None:
    """The provider closes idle sockets: others take their place, and no turn notices."""
    together = asyncio.Event()
    server.script(*[Reply("Hi.", gate=together)] * 2)
    both = [asyncio.create_task(heard(model)) for _ in range(2)]
    await server.received(2)
    together.set()
    await asyncio.gather(*both)
    await server.sockets.expire()
    assert await heard(model) == words()
    await ready(model, lambda: server.sockets.open == 2)
    assert await heard(model) == words()
    assert ways(server)[-1] == "WS"


@pytest.mark.parametrize("end", ["expire", "drop"])
async def test_a_socket_ends_before_the_first_word(end: str, server: ModelServer, model: WebsocketModel) -> None:
    """The turn goes on by HTTP, at once and unnoticed; ``on_sent`` is not told twice."""
    gate, sent = Gate(), []
    server.script(Reply("Never heard.", gate=gate))
    turn = asyncio.create_task(heard(model, on_sent=lambda: sent.append(1)))
    await asyncio.wait_for(gate.reached.wait(), 20)
    if end == "expire":
        await server.sockets.expire()
    else:
        server.sockets.drop()
    assert await turn == words()
    assert (ways(server), sent) == (["WS", "POST"], [1])


@pytest.mark.parametrize("end", ["expire", "drop"])
async def test_a_socket_ends_in_the_middle(end: str, server: ModelServer, model: WebsocketModel) -> None:
    """What came is handed on, then the stream is cut: nothing is asked for again behind the caller's back."""
    gate = Gate()
    server.script(Reply(["One ", "two ", "three."], gate=gate, gate_at=2))
    async with model.stream(asking("Count")) as stream:
        assert await anext(stream) == "One "
        await asyncio.wait_for(gate.reached.wait(), 20)
        if end == "expire":
            await server.sockets.expire()
        else:
            server.sockets.drop()
        assert await anext(stream) == "two "
        with pytest.raises(ModelCut) as caught:
            await anext(stream)
    assert caught.value.received
    assert ways(server) == ["WS"]
    assert await heard(model) == words()


async def test_a_connection_that_is_gone_without_a_word(server: ModelServer, line: Line) -> None:
    """The other end is silent: the socket is known to be dead by its ping, and the turn on it goes on by HTTP."""
    model = line(most=1, options={"ping_interval": 0.05, "ping_timeout": 0.05})
    await model.warm()
    assert await heard(model) == words()
    server.sockets.freeze()
    assert await heard(model) == words()
    assert ways(server)[0] == "WS"
    assert ways(server)[-1] == "POST"


async def test_a_dead_connection_is_not_used_twice(
    server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that was given up for its silence takes its socket with it: the next one is not sent there."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.05)
    model = line(most=2, keep=1)
    await model.warm()
    assert await heard(model) == words()
    server.sockets.freeze()
    async with model.stream(asking("Hello")):
        pass
    await ready(model, lambda: server.sockets.opened == 2)
    assert await heard(model) == words()
    assert ways(server) == ["WS", "WS"]


async def test_an_old_socket_is_replaced(server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the provider's hour is over a socket gets no new turns; one that it has ends as it should."""
    monkeypatch.setattr(sockets, "PROVEN_SECONDS", 0.0)
    model = line(most=4, keep=1, max_age=0.1)
    await model.warm()
    gate = Gate()
    server.script(Reply(["One ", "two."], gate=gate, gate_at=1))
    async with model.stream(asking("Count")) as stream:
        assert await anext(stream) == "One "
        await until(lambda: server.sockets.opened >= 3)
        gate.set()
        assert await anext(stream) == "two."
    assert ways(server) == ["WS"]


# -- HTTP for the rest


async def test_no_free_lane(server: ModelServer, line: Line) -> None:
    """Eight replies on the only socket: the ninth turn goes by HTTP at once."""
    model = line(most=1)
    await model.warm()
    gate = asyncio.Event()
    server.script(*[Reply("Held.", gate=gate)] * 8)
    turns = [asyncio.create_task(heard(model)) for _ in range(8)]
    await server.received(8)
    assert await heard(model, "ninth") == words("ninth")
    assert ways(server) == ["WS"] * 8 + ["POST"]
    gate.set()
    assert await asyncio.gather(*turns) == ["Held."] * 8
    assert await heard(model) == words()
    assert ways(server)[-1] == "WS"


async def test_a_fresh_connection_is_asked_for(server: ModelServer, model: WebsocketModel) -> None:
    """After a failure on a used connection the request goes by HTTP."""
    assert await heard(model, fresh=True) == words()
    assert ways(server) == ["POST"]


@pytest.mark.parametrize("status", [404, 401, 503])
async def test_no_upgrade(status: int, server: ModelServer, line: Line) -> None:
    """An endpoint without websockets: all goes by HTTP, the upgrade is asked for now and then, and warm is content."""
    server.sockets.handshake = status
    model = line()
    assert await model.warm() == ""
    assert [await heard(model, f"n{n}") for n in range(20)] == [words(f"n{n}") for n in range(20)]
    assert ways(server) == ["POST"] * 20
    assert server.sockets.asked <= 2


async def test_it_is_tried_again_later(server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between tries grows, and when there are websockets again they are used."""
    monkeypatch.setattr(sockets, "BACKOFF", (0.01, 0.02))
    server.sockets.handshake = 503
    model = line()
    await model.warm()
    server.sockets.handshake = 101

    async def by_websocket() -> bool:
        await heard(model)
        return ways(server)[-1] == "WS"

    async with asyncio.timeout(20):
        while not await by_websocket():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_slow_handshake_delays_no_turn(server: ModelServer, line: Line) -> None:
    """Turns that come while sockets are being opened go by HTTP."""
    server.sockets.held = asyncio.Event()
    model = line()
    assert await heard(model) == words()
    assert ways(server) == ["POST"]
    server.sockets.held.set()
    await ready(model, lambda: server.sockets.open == 2)
    assert await heard(model) == words()
    assert ways(server)[-1] == "WS"


async def test_a_server_without_lanes(server: ModelServer, line: Line) -> None:
    """An endpoint that refuses ``stream_id``: the turn goes on by HTTP, and sockets are not opened for each anew."""
    server.sockets.lanes = False
    model = line()
    await model.warm()
    assert [await heard(model, f"n{n}") for n in range(10)] == [words(f"n{n}") for n in range(10)]
    assert ways(server) == ["POST"] * 10
    assert (server.sockets.refused, server.sockets.asked) == (2, 2)


async def test_a_server_that_names_no_lane(server: ModelServer, line: Line) -> None:
    """An endpoint whose events name no lane: the turn that finds it out goes on by HTTP while the endpoint still writes
    the first reply, one beside it as well; all others never meet a socket again, and the operator is told once."""
    server.sockets.lanes = "unknown"
    gate = Gate()
    model = line()
    with structlog.testing.capture_logs() as logs:
        await model.warm()
        server.behaviour = lambda ask: (
            echo(ask) if server.asked[-1].method == "POST" else Reply(LONG, gate=gate, gate_at=1)
        )
        both = [asyncio.create_task(heard(model, f"n{n}")) for n in range(2)]
        assert await asyncio.gather(*both) == [words("n0"), words("n1")]
        assert [await heard(model, f"m{n}") for n in range(10)] == [words(f"m{n}") for n in range(10)]
        await until(lambda: not server.sockets.open)
    assert ways(server).count("WS") == 2
    assert ways(server)[4:] == ["POST"] * 10
    assert server.sockets.asked == 2
    assert [(entry["log_level"], "lanes" in entry["event"]) for entry in logs] == [("warning", True)]


async def test_sockets_that_only_refuse(server: ModelServer, model: WebsocketModel) -> None:
    """A socket whose request was refused is not asked again, and others are not opened for each turn anew."""
    server.behaviour = lambda ask: Reply(fault=Fault("status", status=400, type="invalid_request_error"))
    for _ in range(5):
        with pytest.raises(ModelRejected):
            await heard(model)
    assert ways(server) == ["WS", "POST"] * 2 + ["POST"] * 3
    assert server.sockets.asked == 2


async def test_a_socket_that_cost_a_turn_is_not_soon_replaced(
    server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took a request and did not answer: the next may be as mute, and a caller would wait again."""
    monkeypatch.setattr(lanes, "QUIET_SECONDS", 0.01)
    model = line(keep=1)
    await model.warm()
    server.script(Reply(LONG, gate=Gate(), gate_at=-1))
    with structlog.testing.capture_logs() as logs:
        async with model.stream(asking("Hello")):
            await server.received(1)
        await until(lambda: logs)
    assert [entry["next_try_after"] for entry in logs] == [sockets.BACKOFF[1]]


async def test_the_pause_between_tries_grows(server: ModelServer, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each socket in a row that was of no use doubles it, up to its limit."""
    monkeypatch.setattr(sockets, "BACKOFF", (0.001, 0.004))
    server.sockets.handshake = 503
    model = line(keep=1)
    with structlog.testing.capture_logs() as logs:
        while len(logs) < 5:
            await heard(model)
    assert [entry["next_try_after"] for entry in logs] == [0.001, 0.002, 0.004, 0.004, 0.004]
    assert {entry["log_level"] for entry in logs} == {"warning"}


async def test_events_before_a_reply_has_begun_are_not_its_own() -> None:
    """What a lane still says of a reply that had it before is dropped, even after that one's terminal event."""

    async def serve(connection: ServerConnection) -> None:
        async for message in connection:
            request = orjson.loads(message)
            lane, said = request["stream_id"], request["input"][0]["content"]
            for event in (
                {"type": "response.output_text.delta", "delta": "stale"},
                {"type": "response.completed", "response": {"id": "resp_0"}},
                {"type": "response.created", "response": {"id": "resp_1"}},
                {"type": "response.output_text.delta", "delta": said},
                {"type": "response.completed", "response": {"id": "resp_1"}},
            ):
                await connection.send(orjson.dumps({**event, "stream_id": lane}).decode())

    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0) as listening:
        (port,) = {each.getsockname()[1] for each in listening.sockets}
        client = make_client(f"http://127.0.0.1:{port}/v1")
        pool = Sockets(client, keep=1)
        await pool.warm()
        model = WebsocketModel(ResponsesModel(client, model="small"), pool)
        assert [await heard(model, text) for text in ("one", "two")] == ["one", "two"]
        await model.close()


@pytest.mark.parametrize(
    ("fault", "expected", "tries"),
    [
        (Fault.quota(), ModelQuota, ["WS"]),
        (Fault.limited(), ModelUnavailable, ["WS"]),
        (Fault("status", status=500), ModelUnavailable, ["WS"]),
        (Fault("failed"), ModelUnavailable, ["WS"]),
        (Fault("error"), ModelUnavailable, ["WS"]),
        (Fault("status", status=400, type="invalid_request_error"), ModelRejected, ["WS", "POST"]),
        (Fault("status", status=401, type="x", code="invalid_api_key"), ModelRejected, ["WS", "POST"]),
    ],
    ids=["quota", "429", "500", "failed", "error", "400", "401"],
)
async def test_failures_are_told_apart(
    fault: Fault, expected: type[ModelError], tries: list[str], server: ModelServer, model: WebsocketModel
) -> None:
    """An error of the provider's is the same as over HTTP; what a socket refuses is asked of HTTP before it counts."""
    server.behaviour = lambda ask: Reply("Hi", fault=fault)
    with pytest.raises(ModelError) as caught:
        await heard(model)
    assert type(caught.value) is expected
    assert not caught.value.received
    assert ways(server) == tries


@pytest.mark.parametrize("fault", [Fault("failed", 2), Fault("error", 2), Fault("garbage", 2), Fault("cut", 2)])
async def test_failures_in_the_middle(fault: Fault, server: ModelServer, model: WebsocketModel) -> None:
    """What came before is handed on; then the stream is cut, and the next turn is a normal one."""
    server.script(Reply(["One ", "two ", "three."], fault=fault))
    events: list[ModelEvent] = []
    with pytest.raises(ModelCut) as caught:
        async with model.stream(asking("Count")) as stream:
            async for event in stream:
                events.append(event)
    assert (events, caught.value.received) == (["One ", "two "], True)
    assert await heard(model) == words()


@pytest.mark.parametrize("kind", ["html", "close", "garbage", "cut"])
async def test_nonsense_before_the_first_word(kind: Any, server: ModelServer, model: WebsocketModel) -> None:
    """What is no event ends its socket, and the turn goes on by HTTP."""
    server.script(Reply("Never heard.", fault=Fault(kind)))
    assert await heard(model) == words()
    assert ways(server) == ["WS", "POST"]


async def test_an_interrupted_history_is_sent_in_full(server: ModelServer, model: WebsocketModel) -> None:
    """The request after an interrupt holds what was heard, and refers to no reply the provider remembers."""
    stale = await interrupted(server, model)
    items: list[Item] = [UserItem("Tell me all"), AssistantItem("stale0", "interrupted"), UserItem("Shorter")]
    async with model.stream(ModelRequest("Be brief.", items)) as stream:
        assert [event async for event in stream][-1]
    assert server.asked[-1].connection == stale.connection or server.sockets.opened == 2
    assert server.asked[-1].body["input"][1] == {"role": "assistant", "content": "stale0"}
    assert "previous_response_id" not in server.asked[-1].body


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_over_tls(tmp_path: Path) -> None:
    """Sockets are opened with the context all connections of the process share."""
    make_certificate(tmp_path)
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_verify_locations(tmp_path / "cert.pem")
    theirs.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with ModelServer(echo, tls=theirs) as server:
        client = make_client(server.url, context=ours)
        model = WebsocketModel(ResponsesModel(client, model="small"), Sockets(client))
        assert await model.warm() == ""
        assert await heard(model) == words()
        await model.close()
    assert ways(server) == ["WS"]


# -- the end


@pytest.mark.parametrize("cancels", ["honoured", "ignored"])
async def test_close_is_quick(cancels: Any, server: ModelServer, line: Line) -> None:
    """With a reply streaming, a stale one too, and a connection that answers nothing: within a second, no task left."""
    server.sockets.cancels = cancels
    server.behaviour = lambda ask: Reply(LONG * 100, pace=0.001)
    before = asyncio.all_tasks()
    model = line(keep=3)
    await model.warm()
    await interrupted(server, model)
    async with model.stream(asking("More")) as stream:
        assert isinstance(await anext(stream), str)
        server.sockets.freeze()
        began = time.monotonic()
        await model.close()
        assert time.monotonic() - began < 8  # of the ten seconds that a closing handshake may take
        with pytest.raises(ModelCut):
            async for _ in stream:
                pass
    assert [task.get_name() for task in asyncio.all_tasks() - before if "model" in task.get_name()] == []


async def test_close_with_a_request_that_was_not_answered(server: ModelServer, line: Line) -> None:
    """Nothing waits for the end of what nobody will tell."""
    model = line(most=1)
    await model.warm()
    gate = Gate()
    server.script(Reply("Never heard.", gate=gate, gate_at=-1))
    turn = asyncio.create_task(heard(model))
    await asyncio.wait_for(gate.reached.wait(), 20)
    await model.close()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("model-")] == []
    with pytest.raises(ModelCut):
        await turn
    assert ways(server) == ["WS"]


async def test_close_while_connecting(server: ModelServer, line: Line) -> None:
    """A handshake nobody answers does not hold up the end."""
    server.sockets.held = asyncio.Event()
    model = line()
    assert await heard(model) == words()
    began = time.monotonic()
    await model.close()
    assert time.monotonic() - began < 8  # of the ten seconds that a closing handshake may take
    server.sockets.held.set()
