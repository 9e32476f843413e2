"""What the conversation asks of a language model; the adapters (``responses.py``, ``chat.py``) satisfy it.

One request is one *round*: the model's words and tool calls up to its terminal event. The conversation decides what
follows. Leaving the context closes the upstream request at once, however it is left.

    async with model.stream(request) as stream:
        async for event in stream:      # str (a piece of text), Sign, ToolCall, and last one Finished
            ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Protocol

from config.definition import OPENAI
from relay.items import Item

FinishReason = Literal["stop", "tools", "length", "filter", "refusal", "nothing"]
"""``nothing``: there was nothing to answer, and nothing was said."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it. ``parameters`` is a JSON schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete call the model made; ``arguments`` is the JSON text as received, not yet validated."""

    call_id: str
    name: str
    arguments: str

    def __repr__(self) -> str:
        return f"ToolCall({self.name})"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request as the provider counted them; ``cached`` is part of ``input``."""

    input: int = 0
    cached: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.cached + other.cached, self.output + other.output)

    def fields(self) -> dict[str, int]:
        """As a log record tells it."""
        return {"tokens_in": self.input, "tokens_cached": self.cached, "tokens_out": self.output}


@dataclass(frozen=True, slots=True)
class Finished:
    """The terminal event of a round.

    ``carry``: provider-only items (reasoning, the calls as the provider wrote them) as raw JSON, to be passed with the
    next round of the same turn and never stored.
    """

    reason: FinishReason
    usage: Usage = Usage()
    carry: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One round. ``instructions`` and ``tools`` are the same for every turn of an agent; adapters cache their JSON by
    identity/equality, so hand in the same objects again.

    ``carry``: (call ids, items) of earlier rounds of this turn: the adapter replaces the ToolItems with these call ids
    by what the provider itself wrote, followed by their outputs.
    ``tool_choice``: "auto", "none", or the name of the one function to call.
    ``cache_key``: stable per agent, for the provider's prompt cache; "" sends none.
    ``on_sent``: called without arguments when the request is about to be written to the connection.
    ``on_further``: called with the reason whenever another request is made for this one (``steady.py``).
    ``first_token_deadline``, ``stall_deadline``: seconds of an agent that has its own; None is the usual one.
    ``fresh``: not on a connection that was used before: another request has just failed on one.
    ``engine``: whose request it is. For one that keeps the conversation itself: which ``conversation`` it is, on which
    ``channel``, and the tag of the ``language`` to answer in, "" for none known. ``on_found``: called with names and
    values of what the engine tells of how it came to its answer; none of them are a person's words.
    """

    instructions: str
    items: Sequence[Item]
    tools: tuple[ToolSpec, ...] = ()
    model: str = ""
    tool_choice: str = "auto"
    reasoning: str = ""
    cache_key: str = ""
    carry: tuple[bytes, ...] = ()
    on_sent: Callable[[], None] | None = field(default=None, compare=False)
    on_further: Callable[[str], None] | None = field(default=None, compare=False)
    first_token_deadline: float | None = None
    stall_deadline: float | None = None
    fresh: bool = False
    engine: str = OPENAI
    conversation: str = field(default="", compare=False)
    channel: str = field(default="", compare=False)
    language: str = field(default="", compare=False)
    on_found: Callable[[str, str | float], None] | None = field(default=None, compare=False)

    @property
    def keeps_state(self) -> bool:
        """Whether the engine remembers what it was asked: it is then asked nothing twice, and nothing ahead."""
        return self.engine != OPENAI


class Sign(Enum):
    """What a model does that is no word of its answer yet: a sign of life. Nobody needs to act on one."""

    THINKING = "thinking"  # before it answers
    CALLING = "calling"  # a tool call is being written
    COMPLETE = "complete"  # all of the answer was handed on; only the terminal event is missing


ModelEvent = str | Sign | ToolCall | Finished


class ModelStream(Protocol):
    """Iterates over the events of one round. Raises ModelError (see ``relay.errors``) and nothing else of the
    provider's. Ends after ``Finished``; a stream that ends without its terminal event raises ModelCut."""

    def __aiter__(self) -> AsyncIterator[ModelEvent]: ...


class LanguageModel(Protocol):
    """A way to a model. Safe for any number of streams at once."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]: ...

    async def warm(self) -> str:
        """Open connections ahead of need (also proves key and model name). Returns "" or what is wrong; never raises
        but on cancellation."""
        ...

    async def close(self) -> None: ...
