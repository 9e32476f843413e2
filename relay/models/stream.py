"""One round over HTTP: open, read, take apart, close. What the two APIs have in common.

The life of a stream: the request is sent on entering the context. At the terminal event the response goes to a
background reader. Left before that, or cancelled, it is closed at once, which ends the generation upstream. A failure
is raised once; trying again is the business of ``steady.py``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, Self

import httpx2

from relay.errors import ModelCut, ModelError
from relay.models import failures
from relay.models.base import ModelEvent
from relay.models.client import ModelClient, close_response
from relay.models.sse import EventSplitter


class Decoder(Protocol):
    """Takes the events of one response apart; one a response."""

    def decode(self, data: bytes, events: deque[ModelEvent]) -> bool:
        """Appends what ``data`` means. True: it was the terminal event. Raises ProviderFailure for an error object,
        and ValueError, TypeError, KeyError or AttributeError for what it cannot read."""
        ...

    def finish(self, events: deque[ModelEvent]) -> bool:
        """The body has ended without a terminal event. True: the answer is complete all the same."""
        ...


class ProviderFailure(Exception):
    """An error object inside a stream, as the provider wrote it; never leaves this package."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error


class RoundStream:
    """The ModelStream of one request. For one task; enter it once.

    A cancel, wherever it hits, closes the connection before it propagates, and another is opened in the background.
    """

    def __init__(
        self,
        client: ModelClient,
        path: str,
        body: bytes,
        decoder: Callable[[], Decoder],
        *,
        model: str,
        read_timeout: float,
        on_sent: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> None:
        self._client = client
        self._path = path
        self._body = body
        self._make_decoder = decoder
        self._model = model
        self._read_timeout = read_timeout
        self._on_sent = on_sent
        self._fresh = fresh
        self._events: deque[ModelEvent] = deque()
        self._received = False
        self._done = False
        self._failure: ModelError | None = None
        self._response: httpx2.Response | None = None
        self._chunks: AsyncGenerator[bytes]
        self._splitter: EventSplitter
        self._decoder: Decoder

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            self._client.replace(self._model)
            await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        while not self._events:
            if self._failure is not None:
                raise self._failure
            if self._done:
                raise StopAsyncIteration
            await self._read()
        return self._events.popleft()

    async def _open(self) -> None:
        try:
            response = await self._client.post(
                self._path, self._body, read_timeout=self._read_timeout, on_sent=self._on_sent, fresh=self._fresh
            )
        except asyncio.CancelledError:
            self._client.replace(self._model)
            raise
        except Exception as error:  # whatever the library raises here is the provider's side
            failure = failures.from_exception(error, received=False)
            if "status" not in failure.fields:
                self._client.replace(self._model)
            # The provider's error holds a body that may quote the caller; it must not reach a trace.
            raise failure from None
        self._response = response
        self._chunks = response.aiter_bytes()
        self._splitter = EventSplitter()
        self._decoder = self._make_decoder()

    async def _read(self) -> None:
        """Reads one piece of the body. Afterwards there are events, or the stream is done or has failed, or neither."""
        failure: ModelError | None
        try:
            piece = await self._chunks.__anext__()
        except StopAsyncIteration:
            failure = self._take(b"", ended=True)
        except Exception as error:  # as in _open
            if self._decoder.finish(self._events):
                self._done = True
                await self._give_up()
                return
            failure = failures.from_exception(error, received=self._received, request_id=self._request_id())
        else:
            failure = self._take(piece)
        if failure is not None:
            await self._fail(failure)
        elif self._done and self._response is not None:
            response, self._response = self._response, None
            self._client.drain(response, self._chunks, self._model)

    def _take(self, piece: bytes, *, ended: bool = False) -> ModelError | None:
        """Takes a piece of the body apart, or what was held back when it ``ended``. Returns what is wrong with it."""
        decoder, events = self._decoder, self._events
        try:
            for data in self._splitter.finish() if ended else self._splitter.feed(piece):
                if decoder.decode(data, events):
                    self._done = True
                    break
            if ended and not self._done:
                self._done = decoder.finish(events)
                if not self._done:
                    fields = {"reason": "no terminal event", "request_id": self._request_id()}
                    return ModelCut("the model's stream ended without its terminal event", fields=fields)
        except ProviderFailure as error:
            received = self._received or bool(events)
            return failures.from_payload(error.error, received=received, request_id=self._request_id())
        except ModelError as failure:
            return failure
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            fields = {"reason": "unreadable", "request_id": self._request_id()}
            return ModelCut("the model's stream cannot be read", fields=fields)
        if events:
            self._received = True
        return None

    async def _fail(self, failure: ModelError) -> None:
        """Ends the stream with ``failure``, after the events already taken apart."""
        self._received = failure.received = self._received or bool(self._events)
        await self._give_up()
        self._failure = failure

    def _request_id(self) -> str:
        return str(self._response.headers.get("x-request-id", "")) if self._response is not None else ""

    async def _give_up(self) -> None:
        self._client.replace(self._model)
        await self._close()

    async def _close(self) -> None:
        if self._response is not None:
            response, self._response = self._response, None
            await close_response(response, self._chunks)
