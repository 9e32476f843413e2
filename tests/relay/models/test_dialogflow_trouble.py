"""The adapter of Dialogflow where something goes wrong, is given up, or is asked for at once; over real gRPC."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable

import grpc
import pytest
import uvloop

from phone.model import Gate
from relay.errors import ModelCut, ModelRejected, ModelUnavailable
from relay.models.base import Finished, ModelEvent
from relay.models.dialogflow import DialogflowModel
from relay.models.dialogflow_client import Bot
from relay.telemetry import Telemetry
from tests.fakes.dialogflow_server import Answer, DialogflowServer, Message
from tests.relay.models.dialogflow_asking import Build, ask, both, fails, request


async def test_an_empty_answer(dialogflow: DialogflowServer, build: Build) -> None:
    """Is one without words: what to say then is the conversation's business."""
    dialogflow.script(Answer())
    assert await ask(build("es"), "Hi") == [Finished("stop")]


REFUSED = [
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
]
LOST = ["UNKNOWN", "INTERNAL", "ABORTED", "CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED"]


@both
@pytest.mark.parametrize("status", [*REFUSED, *LOST])
async def test_statuses(dialogflow: DialogflowServer, build: Build, edition: str, status: str) -> None:
    """The request is not made again. The person's words are in no error, though they are in Google's."""
    dialogflow.script(Answer(status=grpc.StatusCode[status]))
    error = await fails(build(edition), "my secret")
    assert type(error) is (ModelRejected if status in REFUSED else ModelUnavailable)
    assert error.fields["reason"] == status and not error.received
    assert "secret" not in "".join(traceback.format_exception(error)) + str(error.fields)
    assert len(dialogflow.asked) == 1


@both
async def test_asked_again(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Where Dialogflow has surely not taken the request; the round is told why."""
    further: list[str] = []
    dialogflow.script(Answer(status=grpc.StatusCode.UNAVAILABLE), Answer("Here I am."))
    assert await ask(build(edition), "Hi", on_further=further.append) == ["Here I am.", Finished("stop")]
    assert further == ["error"] and [asked.text for asked in dialogflow.asked] == ["Hi", "Hi"]


async def test_a_quota_that_is_used_up(dialogflow: DialogflowServer, build: Build) -> None:
    """Is waited for, a second at least: not where the deadline would be over then."""
    dialogflow.script(*[Answer(status=grpc.StatusCode.RESOURCE_EXHAUSTED)] * 2)
    error = await fails(build(deadline=0.7), "Hi")
    assert isinstance(error, ModelUnavailable) and error.fields["status"] == 429
    assert len(dialogflow.asked) == 1


async def test_not_for_ever(dialogflow: DialogflowServer, build: Build) -> None:
    """A server that stays away is an error after three requests."""
    dialogflow.script(*[Answer(status=grpc.StatusCode.UNAVAILABLE)] * 5)
    assert isinstance(await fails(build(), "Hi"), ModelUnavailable)
    assert len(dialogflow.asked) == 3


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
async def test_a_stream_that_is_cut(dialogflow: DialogflowServer, build: Build, status: str) -> None:
    """What came stands, and the request is not made again: Dialogflow has gone on in its session."""
    dialogflow.script(Answer(partials=[["Let me see."]], status=grpc.StatusCode[status]))
    got: list[ModelEvent] = []
    with pytest.raises(ModelCut) as caught:
        async with asyncio.timeout(10), build("cx").stream(request("Where?")) as stream:
            async for event in stream:
                got.append(event)
    assert caught.value.received and got == ["Let me see.\n\n"] and len(dialogflow.asked) == 1


@both
@pytest.mark.parametrize("parts", [[], [["Let me see."]]])
async def test_no_last_response(
    dialogflow: DialogflowServer, build: Build, edition: str, parts: list[list[Message]]
) -> None:
    """A stream that ends well without its end is cut; an ES answer without anything is an empty one."""
    dialogflow.script(Answer(partials=parts, ends=False))
    if edition == "es":
        assert (await ask(build(edition), "Hi"))[-1] == Finished("stop")
    else:
        assert type(await fails(build(edition), "Hi")) is ModelCut


@both
async def test_a_silent_server(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Is given up at the deadline, and told so."""
    dialogflow.script(Answer(gate=Gate()))
    error = await fails(build(edition, deadline=0.2), "Hi")
    assert isinstance(error, ModelUnavailable) and error.fields["reason"] == "DEADLINE_EXCEEDED"
    await asyncio.wait_for(dialogflow.asked[0].over.wait(), 5)


@both
async def test_a_cancel(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Reaches the server at once, and the session is free for the next turn."""
    gate = Gate()
    dialogflow.script(Answer(gate=gate), Answer("Sure."))
    model = build(edition)
    task = asyncio.create_task(ask(model, "Tell me a story"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.wait_for(dialogflow.asked[0].cancelled.wait(), 5)
    assert await ask(model, "Stop that") == ["Sure.", Finished("stop")]


async def test_left_before_the_end(dialogflow: DialogflowServer, build: Build) -> None:
    """Leaving the context closes the request."""
    dialogflow.script(Answer(partials=[["Let me see."]], gate=Gate()))
    async with asyncio.timeout(10), build("cx").stream(request("Where?")) as stream:
        async for _ in stream:
            break
    await asyncio.wait_for(dialogflow.asked[0].cancelled.wait(), 5)


async def test_one_request_of_a_session_at_a_time(dialogflow: DialogflowServer, build: Build) -> None:
    """In the order they came; those of other sessions go on beside it, and nothing is kept of a session without one."""
    gates = [Gate(), Gate()]
    model = build("es")
    dialogflow.script(*(Answer("Yes.", gate=gate) for gate in gates))
    first = asyncio.create_task(ask(model, "One"))
    await asyncio.wait_for(gates[0].reached.wait(), 5)
    rest = [asyncio.create_task(ask(model, text)) for text in ("Two", "Three")]
    beside = asyncio.create_task(ask(model, "Other", conversation="CA2"))
    await asyncio.wait_for(gates[1].reached.wait(), 5)
    assert [asked.text for asked in dialogflow.asked] == ["One", "Other"]
    for gate in gates:
        gate.set()
    await asyncio.gather(first, *rest, beside)
    assert [asked.text for asked in dialogflow.asked] == ["One", "Other", "Two", "Three"]
    assert dialogflow.most_at_once == 1
    assert len(model._sessions) == 0


async def test_a_session_that_stays_busy(dialogflow: DialogflowServer, build: Build) -> None:
    """Who waits for it longer than the deadline is told; a waiter that is cancelled holds nobody up."""
    gate = Gate()
    dialogflow.script(Answer("Yes.", gate=gate))
    patient, hasty = build("es"), build("es", deadline=0.1)
    hasty._sessions = patient._sessions
    first = asyncio.create_task(ask(patient, "One"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    cancelled, last = (asyncio.create_task(ask(patient, text)) for text in ("Two", "Three"))
    error = await fails(hasty, "Four")
    assert isinstance(error, ModelUnavailable) and error.fields["reason"] == "busy"
    cancelled.cancel()
    gate.set()
    await asyncio.gather(first, last)
    assert [asked.text for asked in dialogflow.asked] == ["One", "Three"]


async def test_warm(dialogflow: DialogflowServer, build: Build) -> None:
    """Opens the channel and asks nothing; a server that is away is told, and found again when it is back."""
    model = build("cx")
    assert await model.warm() == ""
    await dialogflow.stop()
    async with asyncio.timeout(5):
        while not await model.warm():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "cannot be reached at 127.0.0.1" in await model.warm()
    await dialogflow.start()
    async with asyncio.timeout(8):
        while await model.warm():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert dialogflow.asked == []
    assert await ask(model, "Hi") == ["You said: Hi", Finished("stop")]


async def test_a_server_that_was_away_for_a_moment(dialogflow: DialogflowServer, build: Build) -> None:
    """Between two turns its connection was lost: the turn goes on over a new one."""
    model = build("es")
    await ask(model, "One")
    await dialogflow.stop()
    await dialogflow.start()
    assert await ask(model, "Two") == ["You said: Two", Finished("stop")]


async def test_metrics(dialogflow: DialogflowServer) -> None:
    """An operation a request, by Dialogflow's name, without tokens."""
    telemetry = Telemetry()
    model = DialogflowModel(Bot("proj", endpoint=dialogflow.endpoint), b"key", telemetry, deadline=5.0)
    dialogflow.script(Answer("Hello."), Answer(status=grpc.StatusCode.INTERNAL))
    await ask(model, "Hi")
    await fails(model, "Hi")
    await model.close()
    host, _, port = dialogflow.endpoint.removeprefix("http://").partition(":")
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "gcp.dialogflow",
        "gen_ai_request_model": "dialogflow-es",
        "server_address": host,
        "server_port": port,
    }
    assert (
        telemetry.registry.get_sample_value(
            "gen_ai_client_operation_duration_seconds_count", {**labels, "error_type": ""}
        )
        == 1
    )
    failed = {**labels, "error_type": "model_unavailable"}
    assert telemetry.registry.get_sample_value("gen_ai_client_operation_duration_seconds_count", failed) == 1
    assert telemetry.registry.get_sample_value("gen_ai_client_operation_time_to_first_chunk_seconds_count", labels) == 1


async def test_a_closed_one(dialogflow: DialogflowServer, build: Build) -> None:
    """Closing twice, and closing what was never opened, is closing."""
    model = build("cx")
    await model.close()
    await ask(build("cx"), "Hi")
    await model.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_event_loops(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A turn, a cancel, a cut and another turn, on the loop the relay has and on the one it has elsewhere."""

    async def talk() -> None:
        async with DialogflowServer() as dialogflow:
            model = DialogflowModel(Bot("p", "a", endpoint=dialogflow.endpoint), b"key", Telemetry(), deadline=5.0)
            gate = Gate()
            cut = Answer(partials=[["Let me see."]], status=grpc.StatusCode.UNAVAILABLE)
            dialogflow.script(Answer("Hello."), Answer(gate=gate), cut)
            assert await ask(model, "Hi") == ["Hello.", Finished("stop")]
            task = asyncio.create_task(ask(model, "Wait"))
            await asyncio.wait_for(gate.reached.wait(), 5)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.wait_for(dialogflow.asked[1].cancelled.wait(), 5)
            assert isinstance(await fails(model, "Where?"), ModelCut)
            assert await ask(model, "Hi again") == ["You said: Hi again", Finished("stop")]
            await model.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk())
