"""Dialogflow where people write: turns of text over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from config.definition import AgentDefinition
from config.settings import load_settings
from handlers.stores import open_stores
from handlers.texts import Texts, make_texts
from relay.budget import Budget
from relay.items import AssistantItem, Item, ToolItem, UserItem
from relay.jobs import Jobs
from relay.models.dialogflow import DialogflowModel
from relay.models.dialogflow_client import Bot
from relay.store.effects import Effects
from relay.telemetry import Telemetry
from relay.textparts import Answer as TextAnswer
from relay.textparts import Asked, TextParts
from relay.textturn import TextTurn
from tests.fakes.dialogflow_server import Answer, DialogflowServer
from tests.handlers.debates import debating, texts
from tools.call_control import add_call_control
from tools.registry import ToolRegistry

BOT = AgentDefinition("bot", "Bot", "", engine="dialogflow", relay={"language": "es-US"}, tools=("end_call",))


class Chat:
    """Conversations with an agent of Dialogflow's. Nobody can be reached by telephone."""

    def __init__(self, texts: Texts, budget: Budget) -> None:
        self.texts = texts
        self.budget = budget
        self.items: list[Item] = []
        self.heard: list[str] = []

    async def say(self, words: str, conversation: str = "c1") -> TextAnswer:
        self.items.append(UserItem(words))
        read = asyncio.get_running_loop().time()
        asked = Asked(conversation, "chat", 1, 1, "bot", list(self.items), read, "chat:ada")
        turn = TextTurn(self.texts.parts, asked, self.texts.cast("bot", "chat:ada"), self.heard.append)
        answer = await turn.run()
        self.items += answer.items
        return answer


@pytest.fixture
async def server() -> AsyncIterator[DialogflowServer]:
    async with DialogflowServer() as running:
        yield running


@pytest.fixture
async def chat(redis: Redis, server: DialogflowServer) -> AsyncIterator[Chat]:
    telemetry, registry, budget = Telemetry(), ToolRegistry(), Budget(per_person=20)
    add_call_control(registry, can_transfer=False)
    model = DialogflowModel(Bot("proj", "agent-1", endpoint=server.endpoint), b"key", telemetry, deadline=5.0)
    parts = TextParts(model, registry, Effects(redis, 60), Jobs(), telemetry, budget)
    settings = load_settings(env_file=None, environ={})
    agents = {"bot": BOT}
    texts = make_texts(settings, parts, open_stores(settings, redis), agents, lambda agent: "dialogflow-cx", worker="w")
    yield Chat(texts, budget)
    await model.close()


async def test_a_debate(redis: Redis, redis_url: str, tmp_path: Path, server: DialogflowServer) -> None:
    """Each message is one request: what is debated is Dialogflow's own matter, and nobody reads a topic beside it."""
    environ = {"DIALOGFLOW_PROJECT": "proj", "DIALOGFLOW_ENDPOINT": server.endpoint}
    async with debating(redis_url, tmp_path, "dialogflow", **environ) as debate:
        conversation = await debate.begun("The Earth is round")
        status, answer = await debate.say("It is", conversation)
        assert status == 200 and texts(answer)[-1] == "bot: You said: It is"
        assert (await debate.get(f"/{conversation}"))[1]["topic"] is None
        assert [asked.text for asked in server.asked] == ["The Earth is round", "It is"]
        assert debate.model.asked == []


async def test_turns(chat: Chat, server: DialogflowServer) -> None:
    """Each sends what was written, in the agent's language and the conversation's session; no tokens are counted."""
    assert (await chat.say("Hola")).text == "You said: Hola"
    assert (await chat.say("¿Qué tal?")).text == "You said: ¿Qué tal?"
    await chat.say("Hola", "c2")
    assert [asked.text for asked in server.asked] == ["Hola", "¿Qué tal?", "Hola"]
    assert {asked.language for asked in server.asked} == {"es-US"}
    first, second, other = (asked.session for asked in server.asked)
    assert first == second != other
    assert chat.budget.over("chat:ada") == ""


@pytest.mark.parametrize(
    ("message", "signal"),
    [({"end_interaction": {}}, "end"), ({"live_agent_handoff": {"metadata": {"reason": "billing"}}}, "handoff")],
)
@pytest.mark.parametrize("words", ["Bye.", ""])
async def test_signals(chat: Chat, server: DialogflowServer, message: dict[str, Any], signal: str, words: str) -> None:
    """Are told to the channel, whatever can be reached by telephone; the words are there before."""
    server.script(Answer(*([words] if words else []), message))
    answer = await chat.say("Enough")
    assert (answer.outcome, answer.text, answer.signals) == ("done", words, {signal})
    kinds = [type(item) for item in answer.items]
    assert kinds == ([AssistantItem, ToolItem] if words else [ToolItem])
    await chat.say("Hello again")
    assert server.asked[-1].text == "Hello again"


async def test_parts_are_shown_as_they_come(chat: Chat, server: DialogflowServer) -> None:
    """Paragraph by paragraph, with what is to be seen and not what is to be heard."""
    server.script(Answer("Read.", {"output_audio_text": {"text": "Hear."}}, partials=[["One moment."]]))
    answer = await chat.say("Well?")
    assert (answer.text, chat.heard) == ("One moment.\n\nRead.", ["One moment.\n\n", "Read."])


async def test_an_agent_that_hands_on_to_it(chat: Chat, server: DialogflowServer) -> None:
    """Its words are the person's that nobody has answered."""
    chat.items = [UserItem("A table"), AssistantItem("One second."), ToolItem("c", "switch_agent", "{}", "{}")]
    asked = replace(
        Asked("c1", "chat", 1, 1, "bot", list(chat.items), asyncio.get_running_loop().time()), person="chat:ada"
    )
    turn = TextTurn(chat.texts.parts, asked, chat.texts.cast("bot", "chat:ada"), chat.heard.append)
    assert (await turn.run()).text == "You said: A table"
