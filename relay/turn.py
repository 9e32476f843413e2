"""One round of a turn: history and tools to the model, its words and calls to a sink; for every channel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from relay.errors import ModelCut, ModelError
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Finished, LanguageModel, ModelRequest, ToolCall, Usage

log = structlog.get_logger()

CHARACTERS_PER_TOKEN = 4
AT_ONCE = 4096  # characters of a model's text that are made fit for the ear without a pause
ITEM_TOKENS = 8  # what an item costs beside its text


class Sink(Protocol):
    """Where a round reports to. None of these waits."""

    def delta(self, text: str) -> None: ...

    def finished(self, calls: tuple[ToolCall, ...], finished: Finished) -> None: ...

    def failed(self, code: str) -> None: ...


async def run_round(model: LanguageModel, request: ModelRequest, sink: Sink) -> None:
    """Streams one round into the sink and ends it with ``finished`` or ``failed``, whatever happens.

    Errors of the model's side and bugs are reported, not raised. A cancel closes the request upstream at once and
    reports nothing more.
    """
    calls: list[ToolCall] = []
    end: Finished | None = None
    try:
        async with model.stream(request) as stream:
            async for event in stream:
                if type(event) is str:
                    if len(event) <= AT_ONCE:
                        sink.delta(event)
                    else:
                        await _bit_by_bit(event, sink)
                elif isinstance(event, ToolCall):
                    calls.append(event)
                elif isinstance(event, Finished):
                    end = event
        if end is None:
            raise ModelCut("ended without a terminal event", received=True)
        sink.finished(tuple(calls), end)
    except ModelError as error:
        log.warning("model failed", code=error.code, received=error.received, **error.fields)
        sink.failed(error.code)
    except Exception as error:
        log.error("bug in a turn", error=type(error).__name__, exc_info=True)
        sink.failed("bug")


async def _bit_by_bit(text: str, sink: Sink) -> None:
    """A whole book in one event: other conversations go on between its pages, and the turn may end before the last."""
    for start in range(0, len(text), AT_ONCE):
        sink.delta(text[start : start + AT_ONCE])
        await asyncio.sleep(0)


def estimate_tokens(item: Item) -> int:
    """About how many tokens an item takes: four Latin characters one, others one each."""
    match item:
        case UserItem() | AssistantItem() | NoteItem():
            text = item.text
        case ToolItem():
            text = item.name + item.arguments + item.output
    wide = 0 if text.isascii() else sum(ord(character) > 0x2E7F for character in text)
    return ITEM_TOKENS + (len(text) - wide) // CHARACTERS_PER_TOKEN + wide


def tokens_spent(usage: Usage, shown: tuple[str, Sequence[Item]], characters: int, *, free: bool = False) -> int:
    """What a request has cost; about, where the provider has not told. ``shown``: its instructions and items;
    ``characters``: of what came. ``free``: it costs nothing unless that is told."""
    if told := usage.input + usage.output:
        return told
    if free:
        return 0
    instructions, items = shown
    return (len(instructions) + characters) // CHARACTERS_PER_TOKEN + sum(map(estimate_tokens, items))


def window(items: Sequence[Item], tokens: int) -> list[Item]:
    """The last whole turns that fit; the last one in any case. A turn begins with what the person said. What was said
    while a tool ran is left out."""
    items = [item for item in items if not (isinstance(item, AssistantItem) and item.aside)]
    start = len(items)
    used = 0
    for index in range(len(items) - 1, -1, -1):
        used += estimate_tokens(items[index])
        if used > tokens and start < len(items):
            break
        if isinstance(items[index], UserItem) or index == 0:
            start = index
    return items[start:]
