"""Reading what a model makes of a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ModelCut
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream
from relay.summary import Summary, parse, summarise, transcript


class Model:
    """Answers with these events; ``asked`` has the requests. Without events it says nothing for ever."""

    def __init__(self, *events: ModelEvent) -> None:
        self.events: Sequence[ModelEvent] = events
        self.asked: list[ModelRequest] = []

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        self.asked.append(request)

        async def events() -> AsyncIterator[ModelEvent]:
            for event in self.events:
                yield event
            if not self.events:
                await asyncio.Event().wait()

        yield events()

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        ('{"summary": "A table.", "follow_ups": ["Call back"]}', Summary("A table.", ("Call back",))),
        ('```json\n{"summary": "A table.", "follow_ups": []}\n```', Summary("A table.")),
        ('Here it is: {"summary": "A table."} Done.', Summary("A table.")),
        ('{"summary": "A table.", "follow_ups": "Call back"}', Summary("A table.", ("Call back",))),
        ('{"summary": "A", "follow_ups": [1, null, " ", "x", "x"]}', Summary("A", ("x",))),
        ('{"summary": null, "follow_ups": null}', Summary()),
        ("They wanted a table.", Summary("They wanted a table.")),
        ('{"summary": "One\\nline.\\u0000"}', Summary("One line.")),
    ],
)
def test_answers_are_read_leniently(answer: str, summary: Summary) -> None:
    """Models write things around JSON, and forget half of it."""
    assert parse(answer) == summary


@pytest.mark.parametrize("answer", ["", "  \n", '{"summary": "cut off', "```\n```"])
def test_an_answer_without_words_is_none(answer: str) -> None:
    """It is asked again."""
    with pytest.raises(ValueError, match="no summary"):
        parse(answer)


@pytest.mark.parametrize(
    "secret", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "415 555 012 34", "123456"]
)
def test_long_rows_of_digits_are_left_out(secret: str) -> None:
    """Though the model was told; dates, times and prices stay."""
    found = parse(f'{{"summary": "Paid by {secret}.", "follow_ups": ["Charge {secret}"]}}')
    assert found == Summary("Paid by ….", ("Charge …",))
    assert parse('{"summary": "On 2026-11-20 at 10:30 for 1,250.00"}').summary == "On 2026-11-20 at 10:30 for 1,250.00"


@given(st.text(max_size=3000))
def test_whatever_is_answered_stays_bounded(answer: str) -> None:
    """And on one line."""
    try:
        found = parse(answer)
    except ValueError:
        return
    assert len(found.summary) <= 600 and "\n" not in found.summary
    assert len(found.follow_ups) <= 5


def test_what_the_model_is_shown() -> None:
    """Who said what, a line each, without what was said only while a tool ran."""
    items: list[Item] = [
        AssistantItem("Hello."),
        UserItem("A\ntable"),
        AssistantItem("One moment.", origin="filler"),
        ToolItem("c", "book", "{}", '{"booked": true}'),
        NoteItem("The caller pressed 1."),
    ]
    assert transcript(items).splitlines() == [
        "Agent: Hello.",
        "Caller: A table",
        'Tool book (done): {"booked": true}',
        "Note: The caller pressed 1.",
    ]


async def test_what_was_open_before_is_asked_about() -> None:
    """With the transcript, in a request of its own, without tools."""
    model = Model('{"summary": "A ', 'table."}', Finished("stop"))
    assert await summarise(model, "small", [UserItem("A table")], ["Call back"]) == Summary("A table.")
    [request] = model.asked
    assert (request.model, request.tools) == ("small", ())
    assert "follow_ups" in request.instructions
    assert request.items == [UserItem("Open before this call: Call back\n\nCaller: A table")]


async def test_an_answer_that_breaks_off_is_none() -> None:
    """What a stream without its end said is not the model's answer."""
    with pytest.raises(ModelCut):
        await summarise(Model('{"summary": "A"}'), "", [UserItem("Hi")])


async def test_a_model_that_says_nothing_is_not_waited_for() -> None:
    """Longer than the deadline."""
    with pytest.raises(TimeoutError):
        await summarise(Model(), "", [UserItem("Hi")], deadline=0.02)
