"""The endpoint over real HTTP: recording, gates, pace, faults, clients that leave, keys, models, load."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from phone.endpoint.checks import check
from phone.model import Delay, Fault, Gate, Load, ModelServer, Reply, Strain, ToolUse

USER: list[Any] = [{"role": "user", "content": "Hello"}]
APIS = ("chat", "responses")
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(server) as client:
        yield client


def client_of(server: ModelServer, key: str = "any") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.url, api_key=key, max_retries=0)


async def opened(client: AsyncOpenAI, api: str) -> Any:
    if api == "chat":
        return await client.chat.completions.create(model="m", messages=USER, stream=True)
    return await client.responses.create(model="m", input="Hello", stream=True)


def words_of(event: Any) -> str:
    """The words in a chunk or an event."""
    if hasattr(event, "choices"):
        return "".join(choice.delta.content or "" for choice in event.choices)
    return str(event.delta) if event.type == "response.output_text.delta" else ""


async def next_words(stream: Any) -> str:
    """Reads on to the next words; "" at the end."""
    async for event in stream:
        if words := words_of(event):
            return words
    return ""


async def heard(client: AsyncOpenAI, api: str) -> str:
    return "".join([words_of(event) async for event in await opened(client, api)])


@pytest.mark.parametrize("api", APIS)
async def test_scripted_replies_go_first_in_their_order(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """Each request takes the next scripted reply; then the behaviour speaks."""
    server.script(Reply(text="One."), Reply(text="Two."))
    assert [await heard(client, api) for _ in range(3)] == ["One.", "Two.", "Hello from the scripted model."]


async def test_the_behaviour_sees_the_request(server: ModelServer, client: AsyncOpenAI) -> None:
    """A behaviour is a function from what was asked to the reply."""
    server.behaviour = lambda ask: Reply(text=f"{ask.api} {ask.model} {ask.entries[-1].text}")
    assert await heard(client, "chat") == "chat m Hello"
    assert await heard(client, "responses") == "responses m Hello"


async def test_requests_are_recorded(server: ModelServer, client: AsyncOpenAI) -> None:
    """A request is kept with its path, headers, parsed body, time, connection and outcome."""
    before = time.monotonic()
    await client.models.retrieve("m")
    await heard(client, "responses")
    looked, asked = server.requests
    assert (looked.method, looked.path) == ("GET", "/v1/models/m")
    assert (asked.method, asked.path, asked.status) == ("POST", "/v1/responses", 200)
    assert asked.body == {"model": "m", "input": "Hello", "stream": True}
    assert asked.headers["authorization"] == "Bearer any"
    assert before <= looked.at <= asked.at <= asked.ended_at <= time.monotonic()
    assert (asked.complete, asked.closed_early) == (True, False)
    assert list(server.asked) == [asked]
    assert "Hello" not in repr(asked)


async def test_nothing_is_remembered_with_keep_0() -> None:
    """With keep=0 requests are counted and forgotten."""
    async with ModelServer(keep=0) as server, client_of(server) as client:
        await heard(client, "chat")
        assert (server.total, list(server.requests)) == (1, [])


async def test_connections_are_counted(server: ModelServer, client: AsyncOpenAI) -> None:
    """One connection serves requests in turn; requests at the same time open more; each request knows its own."""
    for _ in range(3):
        await heard(client, "chat")
    assert server.connections == 1
    gate = asyncio.Event()
    server.script(*[Reply(text="Hi.", gate=gate)] * 3)
    streams = [asyncio.create_task(heard(client, "chat")) for _ in range(3)]
    await server.received(6)
    assert server.connections == 3
    assert len({request.connection for request in server.asked[3:]}) == 3
    gate.set()
    await asyncio.gather(*streams)


@pytest.mark.parametrize("api", APIS)
async def test_a_gate_holds_the_stream_at_a_piece(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """A reply stops before the gate's piece, says that it got there, and goes on when the gate is opened."""
    gate = Gate()
    server.script(Reply(text=["One", " two", " three"], gate=gate, gate_at=2))
    stream = await opened(client, api)
    assert [await next_words(stream), await next_words(stream)] == ["One", " two"]
    await asyncio.wait_for(gate.reached.wait(), 20)
    assert (server.asked[0].sent, server.asked[0].complete) == (2, False)
    gate.set()
    assert [await next_words(stream), await next_words(stream)] == [" three", ""]


@pytest.mark.parametrize("api", APIS)
async def test_gates_at_the_headers_and_at_the_end(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """-1 holds the response headers, the number of pieces the terminal event."""
    headers, end = Gate(), Gate()
    server.script(Reply(text=["One"], gates={-1: headers, 1: end}))
    opening = asyncio.create_task(opened(client, api))
    await asyncio.wait_for(headers.reached.wait(), 20)
    assert not opening.done()
    headers.set()
    stream = await opening
    assert await next_words(stream) == "One"
    await asyncio.wait_for(end.reached.wait(), 20)
    assert not server.asked[0].complete
    end.set()
    assert await next_words(stream) == ""


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("step", [-1, 0, 1])
async def test_a_client_that_leaves_is_noticed(server: ModelServer, client: AsyncOpenAI, api: str, step: int) -> None:
    """A client that closes early ends the reply at once, whatever it is waiting for, and that is recorded."""
    gate = Gate()
    server.script(Reply(text=["One", " two"], gates={step: gate}))
    task = asyncio.create_task(heard(client, api))
    await asyncio.wait_for(gate.reached.wait(), 20)
    request = server.asked[0]
    assert not request.ended.is_set()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.wait_for(request.ended.wait(), 20)
    assert (request.closed_early, request.complete, request.sent) == (True, False, max(step, 0))
    assert (server.closed_early, server.active) == (1, 0)


async def test_closing_the_server_is_not_a_client_leaving(client: AsyncOpenAI, server: ModelServer) -> None:
    """Replies that are cut by close() are not counted as closed early."""
    gate = Gate()
    server.script(Reply(text="One", gate=gate))
    task = asyncio.create_task(heard(client, "chat"))
    await asyncio.wait_for(gate.reached.wait(), 20)
    await server.close()
    assert server.asked[0].ended.is_set()
    with pytest.raises(openai.APIError):
        await task
    assert not server.asked[0].closed_early


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


async def test_pace() -> None:
    """The first piece comes after ``first`` seconds, each other one ``pace`` seconds after the one before."""
    clock = Clock()
    async with ModelServer(sleep=clock.sleep, clock=clock.time) as server, client_of(server) as client:
        server.script(Reply(text=["a", "b", "c", "d"], first=0.25, pace=0.05))
        await heard(client, "chat")
        assert clock.slept == [0.25, 0.05, 0.05, 0.05]
        assert server.asked[0].ended_at - server.asked[0].at == pytest.approx(0.4)


async def test_a_late_wake_up_is_made_up_for() -> None:
    """Sleeping too long once does not slow the whole stream down."""
    clock = Clock()

    async def late(seconds: float) -> None:
        await clock.sleep(seconds)
        clock.now += 0.03 if len(clock.slept) == 1 else 0

    async with ModelServer(sleep=late, clock=clock.time) as server, client_of(server) as client:
        server.script(Reply(text=["a", "b", "c"], first=0.25, pace=0.05))
        await heard(client, "responses")
    assert clock.slept == [0.25, 0.02, 0.05]


async def test_stall_and_slow_take_their_time() -> None:
    """slow and stall wait for their seconds before their step and then the reply goes on to its end."""
    clock = Clock()
    async with ModelServer(sleep=clock.sleep, clock=clock.time) as server, client_of(server) as client:
        server.script(Reply(text=["a", "b", "c"], fault=Fault("stall", at=2, seconds=7)))
        server.script(Reply(text=["a", "b", "c"], fault=Fault("slow", seconds=9)))
        assert [await heard(client, "chat"), await heard(client, "chat")] == ["abc", "abc"]
    assert clock.slept == [7, 9]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault("status"), openai.InternalServerError, None),
        (Fault("status", status=503), openai.InternalServerError, None),
        (Fault.limited(retry_after=3), openai.RateLimitError, "rate_limit_exceeded"),
        (Fault.quota(), openai.RateLimitError, "insufficient_quota"),
    ],
)
async def test_error_answers(
    server: ModelServer, client: AsyncOpenAI, api: str, fault: Fault, error: type[openai.APIStatusError], code: str
) -> None:
    """An error fault is an error in OpenAI's shape, with its code and headers, and the connection stays."""
    server.script(Reply(fault=fault))
    with pytest.raises(error) as caught:
        await opened(client, api)
    assert (caught.value.code, caught.value.status_code) == (code, fault.status)
    assert caught.value.request_id
    assert caught.value.response.headers.get("retry-after") == ("3" if fault.headers else None)
    await heard(client, api)
    assert server.connections == 1


@pytest.mark.parametrize("api", APIS)
async def test_cut_in_the_middle(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """A cut loses nothing that was sent before it, breaks the stream, and is not the client's leaving."""
    server.script(Reply(text=["One", " two", " three"], fault=Fault("cut", at=2)))
    stream = await opened(client, api)
    assert [await next_words(stream), await next_words(stream)] == ["One", " two"]
    with pytest.raises(openai.APIConnectionError):
        await next_words(stream)
    await asyncio.wait_for(server.asked[0].ended.wait(), 20)
    assert (server.asked[0].sent, server.asked[0].closed_early) == (2, False)


@pytest.mark.parametrize("api", APIS)
async def test_end_without_terminal_event(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """The body ends properly, but neither finish reason nor completed event is there."""
    server.script(Reply(text=["One", " two"], fault=Fault("end", at=2)))
    events = [event async for event in await opened(client, api)]
    assert "".join(map(words_of, events)) == "One two"
    if api == "chat":
        assert all(event.choices[0].finish_reason is None for event in events)
    else:
        assert events[-1].type == "response.output_text.delta"


@pytest.mark.parametrize("api", APIS)
async def test_closed_before_the_headers(server: ModelServer, client: AsyncOpenAI, api: str) -> None:
    """The connection ends without an answer; the next request is served on a new one."""
    server.script(Reply(fault=Fault("close")))
    with pytest.raises(openai.APIConnectionError):
        await opened(client, api)
    assert await heard(client, api)
    assert server.connections == 2


async def test_garbage_and_a_page(server: ModelServer, client: AsyncOpenAI) -> None:
    """garbage puts lines that are no JSON into the stream, html answers with a page."""
    server.script(Reply(text=["One", " two"], fault=Fault("garbage", at=1)), Reply(fault=Fault("html")))
    stream = await opened(client, "responses")
    assert await next_words(stream) == "One"
    with pytest.raises(ValueError):
        await next_words(stream)
    raw = await client.post("/responses", cast_to=bytes, body={"model": "m", "input": "Hello"})
    assert raw.startswith(b"<html>")


@pytest.mark.parametrize("kind", ["cut", "end"])
async def test_a_whole_answer_can_be_cut(server: ModelServer, client: AsyncOpenAI, kind: Any) -> None:
    """Without stream a cut ends the connection in the middle of the body."""
    server.script(Reply(text="One two three", fault=Fault(kind)))
    with pytest.raises(openai.APIConnectionError):
        await client.responses.create(model="m", input="Hello")


async def test_key() -> None:
    """With a key set, a missing or wrong one is a 401, on every route."""
    async with ModelServer(key="right") as server:
        async with client_of(server, "wrong") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await opened(client, "chat")
            assert caught.value.code == "invalid_api_key"
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        async with client_of(server, "right") as client:
            assert await heard(client, "chat")


async def test_models() -> None:
    """Only the named models exist; others give 404 with model_not_found, looked up or asked."""
    async with ModelServer(models=["a", "m"]) as server, client_of(server) as client:
        assert [model.id async for model in client.models.list()] == ["a", "m"]
        assert (await client.models.retrieve("m")).id == "m"
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("gone")
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="gone", input="Hello")


async def test_refused_requests(server: ModelServer, client: AsyncOpenAI) -> None:
    """Bad JSON, a wrong content type, an invalid request and a wrong path are errors a client can read."""
    with pytest.raises(openai.BadRequestError, match="could not parse"):
        await client.post("/responses", cast_to=object, content=b"{")
    with pytest.raises(openai.BadRequestError, match="Unsupported content type"):
        headers = {"Content-Type": "text/plain"}
        await client.post("/responses", cast_to=object, content=b"{}", options={"headers": headers})
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(
            model="m", input=[{"type": "function_call_output", "call_id": "c", "output": "1"}]
        )
    assert (caught.value.param, caught.value.type) == ("input", "invalid_request_error")
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/gone\)"):
        await client.post("/gone", cast_to=object, body={})
    assert [request.status for request in server.requests] == [400, 400, 400, 404]


async def test_reasoning_of_an_earlier_answer_is_wanted_back(server: ModelServer, client: AsyncOpenAI) -> None:
    """The server remembers which reasoning item belongs to a call and wants both again."""
    server.script(Reply(tools=[ToolUse("look")], reasoning=True))
    answer = await client.responses.create(model="m", input="Hello")
    thought, call = (item.model_dump(exclude_none=True) for item in answer.output)
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "{}"}
    whole: list[Any] = [*USER, thought, call, output]
    await client.responses.create(model="m", input=whole)
    without: list[Any] = [*USER, call, output]
    with pytest.raises(openai.BadRequestError, match="without its required 'reasoning' item"):
        await client.responses.create(model="m", input=without)


# -- load


def shares(load: Load, seed: int, count: int = 4000) -> dict[str, int]:
    strain = Strain(load, seed=seed)
    ask = check("responses", {"model": "m", "input": "Hello"})
    found: dict[str, int] = {}
    for _ in range(count):
        fault = strain(ask).fault
        name = "none" if fault is None else fault.code or fault.kind
        found[name] = found.get(name, 0) + 1
    return found


def test_faults_come_at_their_rates_and_repeat_with_the_seed() -> None:
    """Each fault has its share of the answers, and the same seed gives the same faults."""
    load = Load(slow=0.05, stall=0.1, cut=0.1, errors=0.05, limited=0.1, quota=0.05, close=0.05, garbage=0.1)
    found = shares(load, seed=1)
    assert found == shares(load, seed=1)
    assert found != shares(load, seed=2)
    wanted = {"slow": 0.05, "stall": 0.1, "cut": 0.1, "status": 0.05, "close": 0.05, "garbage": 0.1, "none": 0.4}
    wanted |= {"rate_limit_exceeded": 0.1, "insufficient_quota": 0.05}
    assert found.keys() == wanted.keys()
    for name, share in wanted.items():
        assert found[name] / 4000 == pytest.approx(share, abs=0.02), name


@pytest.mark.parametrize("bad", [{"slow": 1.5}, {"cut": -0.1}, {"cut": 0.6, "stall": 0.6}, {"tokens": 0}])
def test_impossible_loads_are_refused(bad: dict[str, Any]) -> None:
    """Shares outside 0 to 1, or more than 1 together, and empty answers are errors."""
    with pytest.raises(ValueError):
        Load(**bad)


def test_delays() -> None:
    """A delay is constant, or spread so that its median and 95th percentile are those given."""
    rng = Random(3)
    assert {Delay.parse("0.25").sample(rng) for _ in range(10)} == {0.25}
    sampled = sorted(Delay.parse("0.3:0.9").sample(rng) for _ in range(4000))
    assert sampled[2000] == pytest.approx(0.3, rel=0.1)
    assert sampled[3800] == pytest.approx(0.9, rel=0.1)
    with pytest.raises(ValueError):
        Delay.parse("-1")


async def test_load_and_its_control() -> None:
    """A load has its length and pace; /control changes it while it runs and tells the counts."""
    clock = Clock()
    strain = Strain(Load(first=Delay(0.25), pace=Delay(0.02), tokens=5), seed=1)
    async with ModelServer(strain, sleep=clock.sleep, clock=clock.time) as server, client_of(server) as client:
        await heard(client, "responses")
        assert (clock.slept, server.asked[0].sent) == ([0.25, 0.02, 0.02, 0.02, 0.02], 5)
        counts: Any = await client.post("/control", cast_to=object, body={"tokens": 2, "first": "0.5", "errors": 0})
        assert counts == {"total": 1, "active": 0, "connections": 1, "closed_early": 0}
        await heard(client, "responses")
        assert clock.slept[5:] == [0.5, 0.02]
        with pytest.raises(openai.BadRequestError):
            await client.post("/control", cast_to=object, body={"tokns": 2})


async def test_idle_connections_are_closed() -> None:
    """After the keep-alive, or when told to; one on which an answer is streamed stays."""
    gate = Gate()
    async with ModelServer(keep_alive=0.05) as server, client_of(server) as client:
        await heard(client, "responses")
        assert (server.connections, server.open) == (1, 1)
        async with asyncio.timeout(20):
            while server.open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        server.script(Reply(text=["One", " two"], gate=gate, gate_at=1))
        stream = await opened(client, "responses")
        assert await next_words(stream) == "One"
        server.close_idle()
        gate.set()
        assert await next_words(stream) == " two"


async def test_idle_connections_do_not_hold_up_the_end(server: ModelServer, client: AsyncOpenAI) -> None:
    """A server is closed at once where nothing is being streamed; nothing is waited for but the loop."""
    await heard(client, "chat")
    closing = asyncio.create_task(server.close())
    for _ in range(50):
        await asyncio.sleep(0)
    assert (closing.done(), server.open) == (True, 0)


async def test_control_is_for_loads_only(server: ModelServer, client: AsyncOpenAI) -> None:
    """A server without a load has no control route."""
    with pytest.raises(openai.NotFoundError):
        await client.get("/control", cast_to=object)


@pytest.mark.parametrize("options", [("--first", "0", "--pace", "0", "--tokens", "3"), ("--agents", "config/agents")])
async def test_command(options: tuple[str, ...]) -> None:
    """``python -m phone.model`` prints its URL, serves, and ends with status 0 on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "phone.model", *options, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            answer = await client.responses.create(model="rehearsal", input="Goodbye")
        assert answer.output_text
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_wrong_script_is_told_in_a_sentence(tmp_path: Path) -> None:
    """The command ends with what is wrong in the agents' files, not with a trace."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "rehearsal.toml").write_text("[[rules]]\nsay = 'Hi'\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "phone.model", "--agents", str(tmp_path), cwd=CHECKOUT, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"rule 1: needs one of hear, match, note, result" in said
    assert b"Traceback" not in said


async def test_many_streams_keep_their_pace() -> None:
    """A hundred streams at once end close to when one alone would, so the endpoint is not what a load test measures."""
    load = Load(first=Delay(0.1), pace=Delay(0.01), tokens=30)
    async with ModelServer(Strain(load), keep=200) as server, client_of(server) as client:
        body = orjson.dumps({"model": "m", "input": "Hello", "stream": True})
        headers = {"Content-Type": "application/json"}
        await asyncio.gather(
            *[client.post("/responses", cast_to=bytes, content=body, options={"headers": headers}) for _ in range(100)]
        )
        took = sorted(request.ended_at - request.at for request in server.asked)
    assert took[0] >= 0.39
    assert took[50] < 1.5
