"""Several engines as one model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream
from relay.models.engines import Engines


class Named:
    """A model that answers with its name."""

    def __init__(self, name: str, problem: str = "") -> None:
        self.name = name
        self.problem = problem
        self.warmed = self.closed = 0

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        async def events() -> AsyncIterator[ModelEvent]:
            yield self.name
            yield Finished("stop")

        yield events()

    async def warm(self) -> str:
        self.warmed += 1
        return self.problem

    async def close(self) -> None:
        self.closed += 1


async def test_a_request_goes_to_the_engine_it_names() -> None:
    """And to the usual one where it names none."""
    engines = Engines({"openai": Named("a"), "dialogflow": Named("b")}, lambda: ())
    for request, wanted in ((ModelRequest("", ()), "a"), (ModelRequest("", (), engine="dialogflow"), "b")):
        async with engines.stream(request) as stream:
            assert [event async for event in stream] == [wanted, Finished("stop")]


@pytest.mark.parametrize(
    ("used", "problem", "warmed"),
    [((), "no key", (1, 0)), (("dialogflow",), "no key; away", (1, 1)), (("openai",), "no key", (1, 0))],
)
async def test_warm(used: tuple[str, ...], problem: str, warmed: tuple[int, int]) -> None:
    """The first one and those that agents use, at once; what is wrong with any of them is told."""
    first, second = Named("a", "no key"), Named("b", "away")
    assert await Engines({"openai": first, "dialogflow": second}, lambda: used).warm() == problem
    assert (first.warmed, second.warmed) == warmed


async def test_all_are_closed() -> None:
    """Used or not."""
    models = {"openai": Named("a"), "dialogflow": Named("b")}
    await Engines(models, lambda: ()).close()
    assert [model.closed for model in models.values()] == [1, 1]
