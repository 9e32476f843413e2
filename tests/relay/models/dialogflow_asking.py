"""How the tests of Dialogflow's adapter ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from relay.errors import ModelError
from relay.items import Item, UserItem
from relay.models.base import ModelEvent, ModelRequest
from relay.models.dialogflow import DialogflowModel

Build = Callable[..., DialogflowModel]

EDITIONS = ["es", "cx"]

both = pytest.mark.parametrize("edition", EDITIONS)


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
