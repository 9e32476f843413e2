"""The adapter of Dialogflow, over real gRPC, against a server of Google's classes: what is asked and answered."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import orjson
import pytest

from phone.model import Gate
from relay.errors import ModelRejected
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, ModelEvent, ToolCall
from relay.models.dialogflow import session_name
from relay.models.dialogflow_client import Bot
from tests.fakes.dialogflow_server import Answer, DialogflowServer
from tests.relay.models.dialogflow_asking import Build, ask, both, fails, request


@both
async def test_an_answer(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Its messages are paragraphs; the session is routed by, and what the agent found is told."""
    found: dict[str, str | float] = {}
    intent = {"intent": {"display_name": "greeting"}}
    result = (
        {**intent, "intent_detection_confidence": 0.5} if edition == "es" else {"match": {**intent, "confidence": 0.5}}
    )
    dialogflow.script(Answer("Hello there.", "How can I help?", result=result))
    answer = await ask(build(edition), "Hi", on_found=found.__setitem__)
    assert answer == ["Hello there.\n\nHow can I help?", Finished("stop")]
    (asked,) = dialogflow.asked
    agent = "agent" if edition == "es" else "locations/global/agents/agent-1"
    where, _, name = asked.session.rpartition("/")
    assert where == f"projects/proj/{agent}/sessions" and len(name) == 32
    assert asked.params == f"session={asked.session}"
    assert (asked.text, asked.language) == ("Hi", "en-US")
    assert found.items() >= {"intent": "greeting", "confidence": 0.5}.items()


@both
async def test_regions(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Stand in the session's name; a CX agent may be one of an environment."""
    environment = {"agent": "agent-1/environments/live"} if edition == "cx" else {}
    await ask(build(edition, location="us-central1", **environment), "Hi")
    agent = "agent" if edition == "es" else "agents/agent-1/environments/live"
    assert dialogflow.asked[0].session.startswith(f"projects/proj/locations/us-central1/{agent}/sessions/")


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


async def test_sessions(dialogflow: DialogflowServer, build: Build) -> None:
    """One a conversation, the same in the next turn and in another process; never that of another conversation, of
    another channel, or of somebody who has another key."""
    model, other = build(), build()
    for conversation, channel in (("CA1", "chat"), ("CA2", "chat"), ("CA1", "voice"), ("CA1", "chat")):
        await ask(model, "Hi", conversation=conversation, channel=channel)
    await ask(other, "Hi")
    names = [asked.session for asked in dialogflow.asked]
    assert len(set(names)) == 3 and names[0] == names[3] == names[4]
    assert session_name(b"another key", "voice", "CA1") != session_name(b"key", "voice", "CA1")
    assert not any("CA1" in name for name in names)


async def test_a_conversation_without_a_name(dialogflow: DialogflowServer, build: Build) -> None:
    """Has no session, rather than one with others who have none."""
    assert isinstance(await fails(build(), "Hi", conversation=""), ModelRejected)
    assert dialogflow.asked == []


@pytest.mark.parametrize(
    ("told", "spoken", "wanted"),
    [("es-US", "en-GB", "es-US"), ("", "en-GB", "en-GB"), ("multi", "fr-FR", "fr-FR"), ("multi", "multi", "en")],
)
@both
async def test_the_language(
    dialogflow: DialogflowServer, build: Build, edition: str, told: str, spoken: str, wanted: str
) -> None:
    """That of the conversation; where it has none, of the words."""
    await ask(build(edition), UserItem("Hi", spoken), language=told)
    assert dialogflow.asked[0].language == wanted


async def test_nothing_at_all(build: Build) -> None:
    """A conversation in which nobody has said anything yet has no answer."""
    assert await ask(build()) == [Finished("stop")]


@both
async def test_words_that_nobody_has_answered(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Are sent together; what was answered is not sent again, and a tool's result is answered with nothing."""
    model = build(edition)
    await ask(model, "One", AssistantItem("Yes?"), "Two", NoteItem("They are in a hurry."), "three")
    tool = ToolItem("dialogflow_1", "transfer_to_human", "{}", "{}")
    assert await ask(model, "Two", tool) == [Finished("nothing")]
    assert [asked.text for asked in dialogflow.asked] == ["Two three"]


@both
async def test_keys(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """CX is told of them as such, ES gets them as text."""
    await ask(build(edition), "Hi", AssistantItem("Your code?"), NoteItem("The caller pressed 1 2 # on the keypad."))
    (asked,) = dialogflow.asked
    assert (asked.text, asked.keys) == (("", "12#") if edition == "cx" else ("12#", ""))


@both
async def test_a_long_text(dialogflow: DialogflowServer, build: Build, edition: str) -> None:
    """Is cut at a word. CX is asked with all of it first, once: its limit is not the same for all agents."""
    model, words = build(edition), "word " * 60
    for _ in range(2):
        await ask(model, words)
    shortened = ("word " * 51).strip()
    whole = [] if edition == "es" else [words.strip()]
    assert [asked.text for asked in dialogflow.asked] == [*whole, shortened, shortened]


async def test_a_long_text_that_is_refused_for_another_reason(dialogflow: DialogflowServer, build: Build) -> None:
    """Is tried once more, shorter; texts to come are not cut for that."""
    model, words = build("cx"), ("word " * 60).strip()
    dialogflow.limit = 10_000
    refused = Answer(status=grpc.StatusCode.INVALID_ARGUMENT)
    dialogflow.script(refused, refused)
    assert isinstance(await fails(model, words), ModelRejected)
    await ask(model, words)
    assert [len(asked.text) for asked in dialogflow.asked] == [len(words), 254, len(words)]


async def test_a_long_text_that_is_taken(dialogflow: DialogflowServer, build: Build) -> None:
    """By a CX agent without the limit it arrives whole, and so does the next."""
    dialogflow.limit = 10_000
    model, words = build("cx"), ("word " * 60).strip()
    for _ in range(2):
        await ask(model, words)
    assert [asked.text for asked in dialogflow.asked] == [words, words]


async def test_words_for_the_ear(dialogflow: DialogflowServer, build: Build) -> None:
    """The last one is seen to be whole; what is meant to be spoken is, and choices are told in a row."""
    dialogflow.script(Answer("Which size?", {"quick_replies": {"quick_replies": ["Small", "Large"]}}))
    assert await ask(build("es"), "Tea", channel="voice") == ["Which size?\n\nSmall, Large.\n", Finished("stop")]


async def test_parts_of_an_answer(dialogflow: DialogflowServer, build: Build) -> None:
    """Come as Dialogflow sends them, and no word twice, whether the last response has them again or not."""
    model = build("cx")
    for last in (["Let me see.", "Still looking.", "Here it is."], ["Still looking.", "Here it is."], ["Here it is."]):
        gate = Gate()
        dialogflow.script(Answer(*last, partials=[["Let me see."], ["Let me see.", "Still looking."]], gate=gate))
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
    dialogflow: DialogflowServer, build: Build, message: dict[str, Any], name: str, arguments: dict[str, str]
) -> None:
    """Are calls of our tools, behind the words, however the messages are ordered."""
    dialogflow.script(Answer(message, "One moment."))
    words, call, end = await ask(build("cx"), "Help")
    assert isinstance(call, ToolCall)
    assert (words, call.name, orjson.loads(call.arguments)) == ("One moment.", name, arguments)
    assert end == Finished("tools")


async def test_a_handoff_at_the_end(dialogflow: DialogflowServer, build: Build) -> None:
    """Who hands over does not hang up, in whichever response it says so."""
    handoff, end = {"live_agent_handoff": {"metadata": {}}}, {"end_interaction": {}}
    dialogflow.script(Answer("Bye.", end, partials=[["One moment.", handoff]]))
    calls = [event for event in await ask(build("cx"), "Help") if isinstance(event, ToolCall)]
    assert [call.name for call in calls] == ["transfer_to_human"]


async def test_two_turns(dialogflow: DialogflowServer, build: Build) -> None:
    """Each sends its own words, in the same session."""
    model = build("cx")
    first = await ask(model, "One")
    second = await ask(model, "One", AssistantItem(str(first[0])), "Two")
    assert [first[0], second[0]] == ["You said: One", "You said: Two"]
    assert len({asked.session for asked in dialogflow.asked}) == 1
