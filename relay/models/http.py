"""What the two APIs have in common: the shared client, one request a round, what never changes kept as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from relay.models.base import ModelRequest, ToolSpec
from relay.models.client import ModelClient
from relay.models.options import Fragments
from relay.models.stream import Decoder, RoundStream


class HttpModel(ABC):
    """A LanguageModel over HTTP.

    ``model``: for requests that name none. ``reasoning``: the effort where a request has no wish of its own ("" and
    "none": none where the model has it). ``read_timeout``: seconds between two pieces of an answer. ``max_tokens``: of
    one answer, reasoning included; None leaves it to the server.
    """

    path: ClassVar[str]

    def __init__(
        self,
        client: ModelClient,
        *,
        model: str,
        reasoning: str = "",
        read_timeout: float = 15.0,
        max_tokens: int | None = None,
    ) -> None:
        self._client = client
        self._model = model
        self._reasoning = reasoning
        self._read_timeout = read_timeout
        self._max_tokens = max_tokens
        self._instructions = Fragments()
        self._tools = Fragments(self._render_tools)

    def stream(self, request: ModelRequest) -> RoundStream:
        return RoundStream(
            self._client,
            self.path,
            self._body(request),
            self._decoder,
            model=request.model or self._model,
            read_timeout=self._read_timeout,
            on_sent=request.on_sent,
            fresh=request.fresh,
        )

    async def warm(self) -> str:
        return await self._client.warm(self._model)

    async def close(self) -> None:
        await self._client.close()

    @abstractmethod
    def _body(self, request: ModelRequest) -> bytes:
        """The request as the API wants it."""

    @abstractmethod
    def _decoder(self) -> Decoder:
        """A new one for each response."""

    @abstractmethod
    def _render_tools(self, tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
        """Tools as the API wants them."""
