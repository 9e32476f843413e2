"""The adapter of Dialogflow, over real gRPC, against a server of Google's message classes."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import orjson
import pytest
import uvloop

from phone.model import Gate
from relay.errors import ModelCut, ModelError, ModelRejected, ModelUnavailable
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, ModelEvent, ModelRequest, ToolCall
from relay.models.dialogflow import DialogflowModel, session_name
from relay.models.dialogflow_client import Bot
from relay.telemetry import Telemetry
from tests.fakes.dialogflow_server import Answer, DialogflowServer, Message

Connect = Callable[..., DialogflowModel]

EDITIONS = ["es", "cx"]


@pytest.fixture
async def server() -> AsyncIterator[DialogflowServer]:
    async with DialogflowServer() as running:
        yield running


@pytest.fixture
async def connect(server: DialogflowServer) -> AsyncIterator[Connect]:
    """``connect(edition)``: the adapter, closed with the test."""
    async with AsyncExitStack() as stack:

        def build(edition: str = "cx", *, deadline: float = 5.0, **bot: Any) -> DialogflowModel:
            agent = "agent-1" if edition == "cx" else ""
            made = Bot(**{"project": "proj", "agent": agent, "endpoint": server.endpoint, **bot})
            model = DialogflowModel(made, b"key", Telemetry(), deadline=deadline)
            stack.push_async_callback(model.close)
            return model

        yield build


def request(*items: Item | str, conversation: str = "CA1", **more: Any) -> ModelRequest:
    said = [UserItem(each) if isinstance(each, str) else each for each in items]
    values: dict[str, Any] = {"engine": "dialogflow", "channel": "chat", "language": "en-US", **more}
    return ModelRequest("", said, conversation=conversation, **values)


async def ask(model: DialogflowModel, *items: Item | str, **more: Any) -> list[ModelEvent]:
    async with asyncio.timeout(10), model.stream(request(*items, **more)) as stream:
        return [event async for event in stream]


async def fails(model: DialogflowModel, *items: Item | str, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, *items, **more)
    return caught.value


both = pytest.mark.parametrize("edition", EDITIONS)


@both
async def test_an_answer(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Its messages are paragraphs; the session is routed by, and what the agent found is told."""
    found: dict[str, str | float] = {}
    intent = {"intent": {"display_name": "greeting"}}
    result = (
        {**intent, "intent_detection_confidence": 0.5} if edition == "es" else {"match": {**intent, "confidence": 0.5}}
    )
    server.script(Answer("Hello there.", "How can I help?", result=result))
    answer = await ask(connect(edition), "Hi", on_found=found.__setitem__)
    assert answer == ["Hello there.\n\nHow can I help?", Finished("stop")]
    (asked,) = server.asked
    agent = "agent" if edition == "es" else "locations/global/agents/agent-1"
    where, _, name = asked.session.rpartition("/")
    assert where == f"projects/proj/{agent}/sessions" and len(name) == 32
    assert asked.params == f"session={asked.session}"
    assert (asked.text, asked.language) == ("Hi", "en-US")
    assert found.items() >= {"intent": "greeting", "confidence": 0.5}.items()


@both
async def test_regions(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Stand in the session's name; a CX agent may be one of an environment."""
    environment = {"agent": "agent-1/environments/live"} if edition == "cx" else {}
    await ask(connect(edition, location="us-central1", **environment), "Hi")
    agent = "agent" if edition == "es" else "agents/agent-1/environments/live"
    assert server.asked[0].session.startswith(f"projects/proj/locations/us-central1/{agent}/sessions/")


@pytest.mark.parametrize(
    ("bot", "address"),
    [
        (Bot("p"), "dialogflow.googleapis.com:443"),
        (Bot("p", "a", "europe-west1"), "europe-west1-dialogflow.googleapis.com:443"),
        (Bot("p", endpoint="df.example:8443"), "df.example:8443"),
        (Bot("p", endpoint="http://127.0.0.1:9"), "127.0.0.1:9"),
    ],
)
def test_where_it_is_asked(bot: Bot, address: str) -> None:
    """Google's own, that of a region, or the one of the settings; metrics name it."""
    assert bot.address == f"{bot.place.address}:{bot.place.port}" == address
    assert bot.place.provider == "gcp.dialogflow" and bot.place.model in ("dialogflow-es", "dialogflow-cx")


async def test_sessions(server: DialogflowServer, connect: Connect) -> None:
    """One a conversation, the same in the next turn and in another process; never that of another conversation, of
    another channel, or of somebody who has another key."""
    model, other = connect(), connect()
    for conversation, channel in (("CA1", "chat"), ("CA2", "chat"), ("CA1", "voice"), ("CA1", "chat")):
        await ask(model, "Hi", conversation=conversation, channel=channel)
    await ask(other, "Hi")
    names = [asked.session for asked in server.asked]
    assert len(set(names)) == 3 and names[0] == names[3] == names[4]
    assert session_name(b"another key", "voice", "CA1") != session_name(b"key", "voice", "CA1")
    assert not any("CA1" in name for name in names)


async def test_a_conversation_without_a_name(server: DialogflowServer, connect: Connect) -> None:
    """Has no session, rather than one with others who have none."""
    assert isinstance(await fails(connect(), "Hi", conversation=""), ModelRejected)
    assert server.asked == []


@both
async def test_words_that_nobody_has_answered(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Are sent together; what was answered is not sent again, and a tool's result is answered with nothing."""
    model = connect(edition)
    await ask(model, "One", AssistantItem("Yes?"), "Two", NoteItem("They are in a hurry."), "three")
    tool = ToolItem("dialogflow_1", "transfer_to_human", "{}", "{}")
    assert await ask(model, "Two", tool) == [Finished("nothing")]
    assert [asked.text for asked in server.asked] == ["Two three"]


@both
async def test_keys(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """CX is told of them as such, ES gets them as text."""
    await ask(connect(edition), "Hi", AssistantItem("Your code?"), NoteItem("The caller pressed 1 2 # on the keypad."))
    (asked,) = server.asked
    assert (asked.text, asked.keys) == (("", "12#") if edition == "cx" else ("12#", ""))


@both
async def test_a_long_text(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Is cut at a word. CX is asked with all of it first, once: its limit is not the same for all agents."""
    model, words = connect(edition), "word " * 60
    for _ in range(2):
        await ask(model, words)
    shortened = ("word " * 51).strip()
    whole = [] if edition == "es" else [words.strip()]
    assert [asked.text for asked in server.asked] == [*whole, shortened, shortened]


async def test_a_long_text_that_is_taken(server: DialogflowServer, connect: Connect) -> None:
    """By a CX agent without the limit it arrives whole, and so does the next."""
    server.limit = 10_000
    model, words = connect("cx"), ("word " * 60).strip()
    for _ in range(2):
        await ask(model, words)
    assert [asked.text for asked in server.asked] == [words, words]


async def test_words_for_the_ear(server: DialogflowServer, connect: Connect) -> None:
    """The last one is seen to be whole; what is meant to be spoken is, and choices are told in a row."""
    server.script(Answer("Which size?", {"quick_replies": {"quick_replies": ["Small", "Large"]}}))
    assert await ask(connect("es"), "Tea", channel="voice") == ["Which size?\n\nSmall, Large.\n", Finished("stop")]


async def test_parts_of_an_answer(server: DialogflowServer, connect: Connect) -> None:
    """Come as Dialogflow sends them, and no word twice, whether the last response has them again or not."""
    model = connect("cx")
    for last in (["Let me see.", "Still looking.", "Here it is."], ["Still looking.", "Here it is."], ["Here it is."]):
        gate = Gate()
        server.script(Answer(*last, partials=[["Let me see."], ["Let me see.", "Still looking."]], gate=gate))
        got: list[ModelEvent] = []
        async with asyncio.timeout(10), model.stream(request("Where?")) as stream:
            async for event in stream:
                got.append(event)
                if len(got) == 2:
                    assert got == ["Let me see.\n\n", "Still looking.\n\n"]
                    gate.set()
        assert got[2:] == ["Here it is.", Finished("stop")]


@pytest.mark.parametrize(
    ("message", "name", "arguments"),
    [
        ({"end_interaction": {}}, "end_call", {}),
        (
            {"live_agent_handoff": {"metadata": {"reason": "billing", "summary": "A wrong bill."}}},
            "transfer_to_human",
            {"reason": "billing", "summary": "A wrong bill."},
        ),
    ],
)
async def test_signals(
    server: DialogflowServer, connect: Connect, message: dict[str, Any], name: str, arguments: dict[str, str]
) -> None:
    """Are calls of our tools, behind the words, however the messages are ordered."""
    server.script(Answer(message, "One moment."))
    words, call, end = await ask(connect("cx"), "Help")
    assert isinstance(call, ToolCall)
    assert (words, call.name, orjson.loads(call.arguments)) == ("One moment.", name, arguments)
    assert end == Finished("tools")


async def test_a_handoff_at_the_end(server: DialogflowServer, connect: Connect) -> None:
    """Who hands over does not hang up, in whichever response it says so."""
    handoff, end = {"live_agent_handoff": {"metadata": {}}}, {"end_interaction": {}}
    server.script(Answer("Bye.", end, partials=[["One moment.", handoff]]))
    calls = [event for event in await ask(connect("cx"), "Help") if isinstance(event, ToolCall)]
    assert [call.name for call in calls] == ["transfer_to_human"]


async def test_an_empty_answer(server: DialogflowServer, connect: Connect) -> None:
    """Is one without words: what to say then is the conversation's business."""
    server.script(Answer())
    assert await ask(connect("es"), "Hi") == [Finished("stop")]


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
async def test_statuses(server: DialogflowServer, connect: Connect, edition: str, status: str) -> None:
    """The request is not made again. The person's words are in no error, though they are in Google's."""
    server.script(Answer(status=grpc.StatusCode[status]))
    error = await fails(connect(edition), "my secret")
    assert type(error) is (ModelRejected if status in REFUSED else ModelUnavailable)
    assert error.fields["reason"] == status and not error.received
    assert "secret" not in "".join(traceback.format_exception(error)) + str(error.fields)
    assert len(server.asked) == 1


@both
async def test_asked_again(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Where Dialogflow has surely not taken the request; the round is told why."""
    further: list[str] = []
    server.script(Answer(status=grpc.StatusCode.UNAVAILABLE), Answer("Here I am."))
    assert await ask(connect(edition), "Hi", on_further=further.append) == ["Here I am.", Finished("stop")]
    assert further == ["error"] and [asked.text for asked in server.asked] == ["Hi", "Hi"]


async def test_a_quota_that_is_used_up(server: DialogflowServer, connect: Connect) -> None:
    """Is waited for, a second at least: not where the deadline would be over then."""
    server.script(*[Answer(status=grpc.StatusCode.RESOURCE_EXHAUSTED)] * 2)
    error = await fails(connect(deadline=0.7), "Hi")
    assert isinstance(error, ModelUnavailable) and error.fields["status"] == 429
    assert len(server.asked) == 1


async def test_not_for_ever(server: DialogflowServer, connect: Connect) -> None:
    """A server that stays away is an error after three requests."""
    server.script(*[Answer(status=grpc.StatusCode.UNAVAILABLE)] * 5)
    assert isinstance(await fails(connect(), "Hi"), ModelUnavailable)
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
async def test_a_stream_that_is_cut(server: DialogflowServer, connect: Connect, status: str) -> None:
    """What came stands, and the request is not made again: Dialogflow has gone on in its session."""
    server.script(Answer(partials=[["Let me see."]], status=grpc.StatusCode[status]))
    got: list[ModelEvent] = []
    with pytest.raises(ModelCut) as caught:
        async with asyncio.timeout(10), connect("cx").stream(request("Where?")) as stream:
            async for event in stream:
                got.append(event)
    assert caught.value.received and got == ["Let me see.\n\n"] and len(server.asked) == 1


@both
@pytest.mark.parametrize("parts", [[], [["Let me see."]]])
async def test_no_last_response(
    server: DialogflowServer, connect: Connect, edition: str, parts: list[list[Message]]
) -> None:
    """A stream that ends well without its end is cut; an ES answer without anything is an empty one."""
    server.script(Answer(partials=parts, ends=False))
    if edition == "es":
        assert (await ask(connect(edition), "Hi"))[-1] == Finished("stop")
    else:
        assert type(await fails(connect(edition), "Hi")) is ModelCut


@both
async def test_a_silent_server(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Is given up at the deadline, and told so."""
    server.script(Answer(gate=Gate()))
    error = await fails(connect(edition, deadline=0.2), "Hi")
    assert isinstance(error, ModelUnavailable) and error.fields["reason"] == "DEADLINE_EXCEEDED"
    await asyncio.wait_for(server.asked[0].over.wait(), 5)


@both
async def test_a_cancel(server: DialogflowServer, connect: Connect, edition: str) -> None:
    """Reaches the server at once, and the session is free for the next turn."""
    gate = Gate()
    server.script(Answer(gate=gate), Answer("Sure."))
    model = connect(edition)
    task = asyncio.create_task(ask(model, "Tell me a story"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.wait_for(server.asked[0].cancelled.wait(), 5)
    assert await ask(model, "Stop that") == ["Sure.", Finished("stop")]


async def test_left_before_the_end(server: DialogflowServer, connect: Connect) -> None:
    """Leaving the context closes the request."""
    server.script(Answer(partials=[["Let me see."]], gate=Gate()))
    async with asyncio.timeout(10), connect("cx").stream(request("Where?")) as stream:
        async for _ in stream:
            break
    await asyncio.wait_for(server.asked[0].cancelled.wait(), 5)


async def test_one_request_of_a_session_at_a_time(server: DialogflowServer, connect: Connect) -> None:
    """In the order they came; those of other sessions go on beside it, and nothing is kept of a session without one."""
    gates = [Gate(), Gate()]
    model = connect("es")
    server.script(*(Answer("Yes.", gate=gate) for gate in gates))
    first = asyncio.create_task(ask(model, "One"))
    await asyncio.wait_for(gates[0].reached.wait(), 5)
    rest = [asyncio.create_task(ask(model, text)) for text in ("Two", "Three")]
    beside = asyncio.create_task(ask(model, "Other", conversation="CA2"))
    await asyncio.wait_for(gates[1].reached.wait(), 5)
    assert [asked.text for asked in server.asked] == ["One", "Other"]
    for gate in gates:
        gate.set()
    await asyncio.gather(first, *rest, beside)
    assert [asked.text for asked in server.asked] == ["One", "Other", "Two", "Three"]
    assert server.most_at_once == 1
    assert len(model._sessions) == 0


async def test_a_session_that_stays_busy(server: DialogflowServer, connect: Connect) -> None:
    """Who waits for it longer than the deadline is told; a waiter that is cancelled holds nobody up."""
    gate = Gate()
    server.script(Answer("Yes.", gate=gate))
    patient, hasty = connect("es"), connect("es", deadline=0.1)
    hasty._sessions = patient._sessions
    first = asyncio.create_task(ask(patient, "One"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    cancelled, last = (asyncio.create_task(ask(patient, text)) for text in ("Two", "Three"))
    error = await fails(hasty, "Four")
    assert isinstance(error, ModelUnavailable) and error.fields["reason"] == "busy"
    cancelled.cancel()
    gate.set()
    await asyncio.gather(first, last)
    assert [asked.text for asked in server.asked] == ["One", "Three"]


async def test_two_turns(server: DialogflowServer, connect: Connect) -> None:
    """Each sends its own words, in the same session."""
    model = connect("cx")
    first = await ask(model, "One")
    second = await ask(model, "One", AssistantItem(str(first[0])), "Two")
    assert [first[0], second[0]] == ["You said: One", "You said: Two"]
    assert len({asked.session for asked in server.asked}) == 1


async def test_warm(server: DialogflowServer, connect: Connect) -> None:
    """Opens the channel and asks nothing; a server that is away is told, and found again when it is back."""
    model = connect("cx")
    assert await model.warm() == ""
    await server.stop()
    async with asyncio.timeout(5):
        while not await model.warm():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "cannot be reached at 127.0.0.1" in await model.warm()
    await server.start()
    async with asyncio.timeout(8):
        while await model.warm():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert server.asked == []
    assert await ask(model, "Hi") == ["You said: Hi", Finished("stop")]


async def test_a_server_that_was_away_for_a_moment(server: DialogflowServer, connect: Connect) -> None:
    """Between two turns its connection was lost: the turn goes on over a new one."""
    model = connect("es")
    await ask(model, "One")
    await server.stop()
    await server.start()
    assert await ask(model, "Two") == ["You said: Two", Finished("stop")]


async def test_metrics(server: DialogflowServer) -> None:
    """An operation a request, by Dialogflow's name, without tokens."""
    telemetry = Telemetry()
    model = DialogflowModel(Bot("proj", endpoint=server.endpoint), b"key", telemetry, deadline=5.0)
    server.script(Answer("Hello."), Answer(status=grpc.StatusCode.INTERNAL))
    await ask(model, "Hi")
    await fails(model, "Hi")
    await model.close()
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
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


async def test_a_closed_one(server: DialogflowServer, connect: Connect) -> None:
    """Closing twice, and closing what was never opened, is closing."""
    model = connect("cx")
    await model.close()
    await ask(connect("cx"), "Hi")
    await model.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_event_loops(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A turn, a cancel, a cut and another turn, on the loop the relay has and on the one it has elsewhere."""

    async def talk() -> None:
        async with DialogflowServer() as server:
            model = DialogflowModel(Bot("p", "a", endpoint=server.endpoint), b"key", Telemetry(), deadline=5.0)
            gate = Gate()
            cut = Answer(partials=[["Let me see."]], status=grpc.StatusCode.UNAVAILABLE)
            server.script(Answer("Hello."), Answer(gate=gate), cut)
            assert await ask(model, "Hi") == ["Hello.", Finished("stop")]
            task = asyncio.create_task(ask(model, "Wait"))
            await asyncio.wait_for(gate.reached.wait(), 5)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.wait_for(server.asked[1].cancelled.wait(), 5)
            assert isinstance(await fails(model, "Where?"), ModelCut)
            assert await ask(model, "Hi again") == ["You said: Hi again", Finished("stop")]
            await model.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk())
