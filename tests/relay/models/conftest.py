"""Models on a client that is closed with the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from relay.models.base import ModelEvent, ModelRequest, Sign
from relay.models.chat import ChatModel
from relay.models.client import ModelClient, make_client
from relay.models.dialogflow import DialogflowModel
from relay.models.dialogflow_client import Bot
from relay.models.responses import ResponsesModel
from relay.telemetry import Telemetry
from tests.fakes.dialogflow_server import DialogflowServer
from tests.relay.models.dialogflow_asking import Build

Adapter = ChatModel | ResponsesModel
Connect = Callable[..., Adapter]


async def collect(model: Adapter, request: ModelRequest) -> list[ModelEvent]:
    """All events of one round but its mere signs of life."""
    async with model.stream(request) as stream:
        return [event async for event in stream if not isinstance(event, Sign)]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``connect(ChatModel, url, ...)``: the adapter on a client of its own. ``own_host``: as if it were OpenAI's."""
    clients: list[ModelClient] = []

    def build(adapter: type[Adapter], url: str, *, own_host: bool = False, **values: object) -> Adapter:
        client = make_client(url, "sk-test")
        client.is_openai = own_host
        clients.append(client)
        return adapter(client, **{"model": "small", **values})  # type: ignore[arg-type]

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
async def dialogflow() -> AsyncIterator[DialogflowServer]:
    async with DialogflowServer() as running:
        yield running


@pytest.fixture
async def build(dialogflow: DialogflowServer) -> AsyncIterator[Build]:
    """``build(edition)``: the adapter of that edition, closed with the test."""
    async with AsyncExitStack() as stack:

        def make(edition: str = "cx", *, deadline: float = 5.0, **bot: Any) -> DialogflowModel:
            agent = "agent-1" if edition == "cx" else ""
            made = Bot(**{"project": "proj", "agent": agent, "endpoint": dialogflow.endpoint, **bot})
            model = DialogflowModel(made, b"key", Telemetry(), deadline=deadline)
            stack.push_async_callback(model.close)
            return model

        yield make
