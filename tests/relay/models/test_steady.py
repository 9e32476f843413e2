"""A model that answers in time: hedges, the fallback, and replies that are taken up again, over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from phone.model import Fault, Gate, ModelServer, Reply, ToolUse, pieces
from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected, ModelUnavailable
from relay.items import UserItem
from relay.models.base import Finished, ModelEvent, ModelRequest, ToolCall, ToolSpec
from relay.models.chat import ChatModel
from relay.models.responses import ResponsesModel
from relay.models.steady import BREAKS, THINKING, Deadlines, SteadyModel
from relay.telemetry import Telemetry
from tests.fakes import raw_model as raw
from tests.relay.models.conftest import Connect

TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
REQUEST = ModelRequest("Be brief.", [UserItem("When do you open?")], (TOOL,))
NEVER = Deadlines(10, 10)
SOON = Deadlines(0.3, 10)
STALL = Deadlines(10, 0.25)
WORDS = "We open at nine and close at six."

Make = Callable[..., SteadyModel]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture
async def spare() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def make(connect: Connect, server: ModelServer, telemetry: Telemetry) -> Make:
    def build(deadlines: Deadlines = NEVER, fallback: ModelServer | None = None, api: type = ChatModel) -> SteadyModel:
        other = connect(ChatModel, fallback.url, model="spare") if fallback else None
        return SteadyModel(connect(api, server.url), other, telemetry, deadlines=deadlines)

    return build


async def round_of(model: SteadyModel, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with asyncio.timeout(20), model.stream(request) as stream:
        return [event async for event in stream]


async def said(model: SteadyModel, request: ModelRequest = REQUEST) -> str:
    return "".join(event for event in await round_of(model, request) if isinstance(event, str))


def count(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(name, labels) or 0


async def test_a_model_in_time_is_asked_once(make: Make, server: ModelServer) -> None:
    """Words, calls and the end are handed on as they are; the answer's begin is told before its first whole word."""
    server.script(Reply(WORDS, tools=[ToolUse("look")], usage=(7, 3, 5)))
    begin, *words, call, end = await round_of(make())
    assert begin == "" and "".join(map(str, words)) == WORDS
    assert isinstance(call, ToolCall) and isinstance(end, Finished)
    assert (end.reason, end.usage.output, server.total) == ("tools", 5, 1)


# -- before the first word


async def test_a_late_model_is_raced_and_the_second_wins(make: Make, server: ModelServer, telemetry: Telemetry) -> None:
    """The first is cancelled upstream; nobody hears of it."""
    late = Gate()
    server.script(Reply("Too late.", gate=late), Reply(WORDS))
    assert await said(make(SOON)) == WORDS
    await server.asked[0].ended.wait()
    assert server.asked[0].closed_early
    assert len(server.asked) == 2
    assert count(telemetry, "relay_hedges_total", winner="second") == 1


async def test_a_late_model_is_raced_and_still_wins(make: Make, server: ModelServer, telemetry: Telemetry) -> None:
    """The first to speak wins, whoever it is."""
    late, never = Gate(), Gate()
    server.script(Reply(WORDS, gate=late), Reply("Never.", gate=never), Reply("Never.", gate=Gate()))
    reading = asyncio.create_task(said(make(Deadlines(0.2, 10))))
    await asyncio.wait_for(never.reached.wait(), 20)
    late.set()
    assert await reading == WORDS
    await server.asked[1].ended.wait()
    assert server.asked[1].closed_early
    assert count(telemetry, "relay_hedges_total", winner="first") == 1


async def test_a_late_model_is_raced_by_the_fallback(
    make: Make, server: ModelServer, spare: ModelServer, telemetry: Telemetry
) -> None:
    """By its own name, without the wishes and items that are meant for the first one."""
    server.script(Reply("Too late.", gate=Gate()))
    spare.script(Reply(WORDS))
    request = replace(REQUEST, model="big", reasoning="high", carry=(b'{"call_id":"c"}',), first_token_deadline=0.4)
    assert await said(make(NEVER, spare), request) == WORDS
    [asked] = spare.asked
    assert asked.body["model"] == "spare"
    assert "reasoning_effort" not in asked.body
    assert count(telemetry, "relay_fallback_total", reason="late") == 1


async def test_being_late_is_answered_by_few_requests(make: Make, server: ModelServer) -> None:
    """However long nobody speaks."""
    last = Gate()
    server.script(Reply("a", gate=Gate()), Reply("b", gate=Gate()), Reply(WORDS, gate=last))
    reading = asyncio.create_task(said(make(Deadlines(0.02, 10))))
    await asyncio.wait_for(last.reached.wait(), 20)
    await asyncio.sleep(0.1)  # five deadlines more
    assert len(server.asked) == 3
    last.set()
    assert await reading == WORDS


async def test_a_tool_call_that_is_being_written_is_an_answer(make: Make, server: ModelServer) -> None:
    """It is in time with its first fragment."""
    gate = Gate()
    server.script(Reply(tools=[ToolUse("look", '{"at":"the clock"}')], gate=gate, gate_at=1))
    reading = asyncio.create_task(round_of(make(Deadlines(1.0, 10))))
    await asyncio.wait_for(gate.reached.wait(), 20)
    await asyncio.sleep(1.1)
    gate.set()
    assert any(isinstance(event, ToolCall) for event in await reading)
    assert len(server.asked) == 1


async def test_an_agent_has_deadlines_of_its_own(make: Make, server: ModelServer) -> None:
    """They go before the usual ones."""
    gate = Gate()
    server.script(Reply(WORDS, gate=gate))
    request = replace(REQUEST, first_token_deadline=10)
    reading = asyncio.create_task(said(make(Deadlines(0.05, 10)), request))
    await asyncio.wait_for(gate.reached.wait(), 20)
    await asyncio.sleep(0.1)
    gate.set()
    assert await reading == WORDS
    assert len(server.asked) == 1


async def test_a_model_that_thinks_has_longer(make: Make, server: ModelServer) -> None:
    """A multiple of the usual deadline; thinking is no answer, however much of it comes."""
    gate, late = Gate(), Gate()
    server.script(Reply(WORDS, gate=gate), Reply("Later.", gate=late))
    request = replace(REQUEST, reasoning="low")
    began = time.monotonic()
    reading = asyncio.create_task(said(make(Deadlines(0.1, 10)), request))
    await asyncio.wait_for(late.reached.wait(), 20)
    assert server.asked[1].at - began > 0.1 * THINKING - 0.01
    gate.set()
    assert await reading == WORDS


ERRORS = [Fault("status"), Fault.limited(30), Fault("close"), Fault("cut"), Fault("end"), Fault("failed")]


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: f"{fault.kind} {fault.status}")
async def test_an_error_is_met_by_one_more_request(make: Make, server: ModelServer, fault: Fault) -> None:
    """At once, whatever the answer says of waiting, and on a new connection."""
    server.script(Reply("Never.", fault=fault), Reply(WORDS))
    model = make()
    await model.warm()
    assert await said(model) == WORDS
    first, second = server.asked
    assert first.connection != second.connection
    assert first.body == second.body


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: f"{fault.kind} {fault.status}")
async def test_an_error_is_met_by_the_fallback(
    make: Make, server: ModelServer, spare: ModelServer, fault: Fault, telemetry: Telemetry
) -> None:
    server.script(Reply("Never.", fault=fault))
    spare.script(Reply(WORDS))
    assert await said(make(NEVER, spare)) == WORDS
    assert (len(server.asked), len(spare.asked)) == (1, 1)
    reason = "rate_limit" if fault.status == 429 else "error"
    assert count(telemetry, "relay_fallback_total", reason=reason) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=400, code="invalid_prompt"), ModelRejected),
        (Fault("status", status=401, code="invalid_api_key"), ModelRejected),
        (Fault.quota(), ModelQuota),
    ],
)
async def test_what_is_refused_is_not_asked_again(
    make: Make, server: ModelServer, spare: ModelServer, fault: Fault, error: type[ModelError]
) -> None:
    """Of that model: the fallback may know better."""
    server.script(Reply("Never.", fault=fault))
    with pytest.raises(error):
        await said(make())
    assert len(server.asked) == 1
    server.script(Reply("Never.", fault=fault))
    spare.script(Reply(WORDS))
    assert await said(make(NEVER, spare)) == WORDS


async def test_a_fallback_that_refuses_leaves_the_first_model(
    make: Make, server: ModelServer, spare: ModelServer
) -> None:
    """A wrong name of the fallback must not cost the turn."""
    server.script(Reply("Never.", fault=Fault("status")), Reply(WORDS))
    spare.script(Reply("Never.", fault=Fault("status", status=404, code="model_not_found")))
    assert await said(make(NEVER, spare)) == WORDS


async def test_everything_has_an_end(make: Make, server: ModelServer, spare: ModelServer) -> None:
    """The last error is raised; so many requests were made and no more."""
    failing = Reply("Never.", fault=Fault("status"))
    server.script(*[failing] * 9)
    spare.script(*[failing] * 9)
    with pytest.raises(ModelUnavailable):
        await said(make())
    assert len(server.asked) == 2
    with pytest.raises(ModelUnavailable):
        await said(make(NEVER, spare))
    assert (len(server.asked), len(spare.asked)) == (3, 2)


async def test_an_error_of_the_hedge_leaves_the_first(make: Make, server: ModelServer) -> None:
    """As long as one request may still answer, the turn has not failed."""
    late, failing = Gate(), Reply("Never.", fault=Fault("status"))
    server.script(Reply(WORDS, gate=late), failing, failing, failing)
    reading = asyncio.create_task(said(make(Deadlines(0.2, 10))))
    await server.received(3)
    late.set()
    assert await reading == WORDS


async def test_nobody_listens(connect: Connect, telemetry: Telemetry, spare: ModelServer) -> None:
    """A refused connection is an error like any other."""
    async with ModelServer() as gone:
        url = gone.url
    spare.script(Reply(WORDS))
    with_spare = SteadyModel(connect(ChatModel, url), connect(ChatModel, spare.url), telemetry)
    assert await said(with_spare) == WORDS
    with pytest.raises(ModelUnavailable):
        await said(SteadyModel(connect(ChatModel, url), None, telemetry))


# -- in the middle


@pytest.mark.parametrize("api", [ChatModel, ResponsesModel])
@pytest.mark.parametrize(
    "goes_on",
    ["and close at six.", " and close at six.", WORDS, "at nine and close at six.", "nine and close at six."],
    ids=["goes on", "with its space", "replays the whole reply", "starts mid-sentence", "repeats a word"],
)
@pytest.mark.parametrize("fault", [Fault("stall", at=5), Fault("cut", at=5), Fault("end", at=5), Fault("error", at=5)])
async def test_a_reply_that_breaks_off_is_taken_up(
    make: Make, server: ModelServer, telemetry: Telemetry, api: type, goes_on: str, fault: Fault
) -> None:
    """Whatever the next request makes of it, the caller hears every word once, and no half of one."""
    server.script(Reply(["We", " open", " at", " nine", " an"], fault=fault), Reply(goes_on))
    assert await said(make(STALL, api=api)) == ("We open at nine and close at six.")
    first, second = server.asked
    before = first.body.get("messages") or first.body["input"]
    *same, words, wish = second.body.get("messages") or second.body["input"]
    assert same == before
    assert (words["role"], words["content"]) == ("assistant", "We open at nine")
    assert wish["role"] in ("developer", "system")
    assert count(telemetry, "relay_stalls_total") == 1


@pytest.mark.parametrize("cut", range(1, 8))
async def test_an_answer_that_goes_on_behind_the_last_piece(make: Make, server: ModelServer, cut: int) -> None:
    """Though the last word was not said, for it might have grown: it is not lost, at whatever word the reply broke."""
    first, second = list(pieces(WORDS))[:cut], list(pieces(WORDS))[cut:]
    server.script(Reply(first, fault=Fault("cut", at=cut)), Reply(second))
    assert await said(make()) == WORDS


async def test_white_space_is_silence(make: Make, server: ModelServer) -> None:
    """Nobody hears it: a reply that goes on with nothing else is taken up again."""
    server.script(Reply(["We open ", *[" "] * 1000], pace=0.005), Reply("at nine and close at six."))
    assert (await said(make(STALL))).split() == WORDS.split()


async def test_a_broken_reply_is_taken_up_by_the_fallback(
    make: Make, server: ModelServer, spare: ModelServer, telemetry: Telemetry
) -> None:
    server.script(Reply(WORDS, fault=Fault("cut", at=3)))
    spare.script(Reply(WORDS))
    assert await said(make(NEVER, spare)) == WORDS
    assert count(telemetry, "relay_fallback_total", reason="cut") == 1


async def test_a_reply_that_breaks_off_again_and_again(make: Make, server: ModelServer) -> None:
    """It is taken up each time from all that was said, and given up at last."""
    pieces = [f"{word} " for word in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]]
    cut = [Reply(pieces[at:], fault=Fault("cut", at=1)) for at in range(9)]
    server.script(*cut[:BREAKS], Reply(pieces))
    assert await said(make()) == "".join(pieces).strip() + " "
    assert [request.body["messages"][-2]["content"] for request in server.asked[1:]] == [
        "one",
        "one two",
        "one two three",
    ]
    server.script(*cut)
    words: list[object] = []
    with pytest.raises(ModelCut):
        async with make().stream(REQUEST) as stream:
            async for event in stream:
                words.append(event)
    assert words == ["", "one ", "two ", "three ", "four "]


async def test_the_request_that_takes_up_may_be_late_too(make: Make, server: ModelServer) -> None:
    """It has the same deadlines, and the same further requests."""
    server.script(Reply(WORDS, fault=Fault("cut", at=3)), Reply("Never.", gate=Gate()), Reply(WORDS))
    assert await said(make(SOON)) == WORDS
    assert len(server.asked) == 3


async def test_a_reply_whose_end_only_is_missing_is_complete(make: Make, server: ModelServer) -> None:
    """The request that takes it up writes nothing: the last word of a sentence is not lost."""
    server.script(Reply(["We", " open."], fault=Fault("stall", at=2)), Reply([]))
    assert await said(make(STALL, api=ResponsesModel)) == "We open."
    assert len(server.asked) == 2


async def test_a_choice_that_was_finished_needs_no_other_request(connect: Connect, telemetry: Telemetry) -> None:
    """A server that says why it stopped, and then nothing more."""
    head, word, finish, *_ = raw.chat_answer("Hi")
    async with raw.RawModel([head, word, finish, "hold"]) as server:
        assert await said(SteadyModel(connect(ChatModel, server.url), None, telemetry, deadlines=STALL)) == "Hi"
        assert len(server.posts) == 1


async def test_the_calls_of_a_reply_that_broke_off_were_never_made(make: Make, server: ModelServer) -> None:
    """Only a reply with its end has called anything: the one that takes it up calls once."""
    tools = [ToolUse("look", '{"at":"one"}'), ToolUse("look", '{"at":"two"}')]
    server.script(Reply("Let me see. ", tools=tools, fault=Fault("cut", at=6)), Reply("", tools=tools))
    events = await round_of(make(api=ResponsesModel))
    assert [event.arguments for event in events if isinstance(event, ToolCall)] == ['{"at":"one"}', '{"at":"two"}']
    assert "".join(event for event in events if isinstance(event, str)).strip() == "Let me see."


async def test_a_long_call_is_no_silence(make: Make, server: ModelServer) -> None:
    """Each fragment of it is a sign of life."""
    arguments = '{"at":"' + "x" * 80 + '"}'
    server.script(Reply("One moment. ", tools=[ToolUse("look", arguments)], pace=0.1))
    events = await round_of(make(Deadlines(10, 1.0)))
    assert any(isinstance(event, ToolCall) for event in events)
    assert len(server.asked) == 1


# -- leaving


async def test_a_cancel_closes_every_request(make: Make, server: ModelServer) -> None:
    """The race is over for all of them before the cancel returns."""
    first, second = Gate(), Gate()
    server.script(Reply(WORDS, gate=first), Reply(WORDS, gate=second))
    reading = asyncio.create_task(said(make(SOON)))
    await asyncio.wait_for(second.reached.wait(), 20)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "model request"]
    for request in server.asked:
        await asyncio.wait_for(request.ended.wait(), 20)
    assert [request.closed_early for request in server.asked[:2]] == [True, True]


async def test_leaving_in_the_middle_closes_the_request(make: Make, server: ModelServer) -> None:
    gate = Gate()
    server.script(Reply(WORDS, gate=gate, gate_at=3))
    async with make().stream(REQUEST) as stream:
        assert await anext(stream) == ""
        assert str(await anext(stream)).strip() == "We"
    await asyncio.wait_for(server.asked[0].ended.wait(), 20)
    assert server.asked[0].closed_early


async def test_both_models_are_warmed_and_closed(make: Make, server: ModelServer, spare: ModelServer) -> None:
    """What is wrong with the fallback is for the log: calls are answered without it."""
    model = make(NEVER, spare)
    assert await model.warm() == ""
    assert (server.connections, spare.connections) == (2, 2)
    await spare.close()
    assert await model.warm() == ""
    await model.close()
