"""Models on a client that is closed with the test."""

from collections.abc import AsyncIterator, Callable

import pytest

from relay.models.base import ModelEvent, ModelRequest, Sign
from relay.models.chat import ChatModel
from relay.models.client import ModelClient, make_client
from relay.models.responses import ResponsesModel

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
