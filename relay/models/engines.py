"""Several engines as one model: a request goes to the one it names. All the rest of the program asks this one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager

from relay.models.base import LanguageModel, ModelRequest, ModelStream


class Engines:
    """A LanguageModel. ``models``: by the engine's name; owns them. ``used``: the names that are in use by now, which
    are kept warm; the first is in any case."""

    def __init__(self, models: Mapping[str, LanguageModel], used: Callable[[], Collection[str]]) -> None:
        self._models = dict(models)
        self._first = next(iter(self._models))
        self._used = used

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        return self._models[request.engine].stream(request)

    async def warm(self) -> str:
        used = {self._first, *self._used()}
        models = [model for name, model in self._models.items() if name in used]
        return "; ".join(filter(None, await asyncio.gather(*(model.warm() for model in models))))

    async def close(self) -> None:
        await asyncio.gather(*(model.close() for model in self._models.values()))
