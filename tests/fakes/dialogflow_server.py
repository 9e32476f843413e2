"""Dialogflow, ES and CX, as a real gRPC server made of Google's message classes: answers as a test scripts it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.cloud import dialogflow_v2 as es
from google.cloud import dialogflowcx_v3 as cx

from phone.model import Gate

Message = str | Mapping[str, Any]
"""Of a response: a text, or the fields of ``Intent.Message`` (ES) or ``ResponseMessage`` (CX)."""

PARTIAL, FINAL = cx.DetectIntentResponse.ResponseType.PARTIAL, cx.DetectIntentResponse.ResponseType.FINAL


class Answer:
    """What is answered to one request. ``partials``: the messages of responses before the last one (CX). ``result``:
    more fields of the ``query_result``. ``status``: it ends with this in the place of its last response. ``gate``: it
    waits there, after the partials. ``ends`` False: the last response is left out."""

    def __init__(
        self,
        *messages: Message,
        partials: Sequence[Sequence[Message]] = (),
        result: Mapping[str, Any] | None = None,
        status: grpc.StatusCode | None = None,
        gate: Gate | None = None,
        ends: bool = True,
    ) -> None:
        self.messages = messages
        self.partials = partials
        self.result = result or {}
        self.status = status
        self.gate = gate
        self.ends = ends


@dataclass
class Asked:
    """A request that came. ``cancelled`` is set when the client gave it up, ``over`` when it is over, however."""

    session: str
    text: str
    keys: str
    language: str
    params: str
    bearer: str
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class DialogflowServer:
    """``endpoint`` is the value of DIALOGFLOW_ENDPOINT. What no answer was scripted for is said again. ``limit``: of a
    text, longer ones are refused. ``refuses``: the status every request ends with, if any. ``most_at_once``: requests
    of one session there were at the same time."""

    def __init__(self, *, limit: int = 256, tls: grpc.ServerCredentials | None = None) -> None:
        self.limit = limit
        self.refuses: grpc.StatusCode | None = None
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self.endpoint = ""
        self._tls = tls
        self._answers: deque[Answer] = deque()
        self._inside = Counter[str]()
        self._news = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._port = 0

    def script(self, *answers: Answer) -> None:
        self._answers += answers

    async def received(self, count: int, within: float = 5.0) -> Asked:
        """The so-manieth request, once it has come."""
        async with asyncio.timeout(within):
            while len(self.asked) < count:
                self._news.clear()
                await self._news.wait()
        return self.asked[count - 1]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Also anew after a ``stop``, on the same port."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = (
            ("google.cloud.dialogflow.v2.Sessions", "DetectIntent", es, grpc.unary_unary_rpc_method_handler, self._es),
            (
                "google.cloud.dialogflow.cx.v3.Sessions",
                "ServerStreamingDetectIntent",
                cx,
                grpc.unary_stream_rpc_method_handler,
                self._cx,
            ),
        )
        for service, method, library, make, function in handlers:
            handler = make(
                function,
                request_deserializer=library.DetectIntentRequest.deserialize,
                response_serializer=library.DetectIntentResponse.serialize,
            )
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        address = f"127.0.0.1:{self._port}"
        if self._tls is None:
            self._port = self._server.add_insecure_port(address)
            self.endpoint = f"http://127.0.0.1:{self._port}"
        else:
            self._port = self._server.add_secure_port(address, self._tls)
            self.endpoint = f"localhost:{self._port}"
        await self._server.start()

    async def stop(self) -> None:
        """Requests under way are cut off."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _es(self, request: Any, context: Any) -> Any:
        text = request.query_input.text
        asked = Asked(request.session, text.text, "", text.language_code, *_metadata(context))
        async for response in self._answer(asked, context, self._es_response):
            return response
        return es.DetectIntentResponse()

    async def _cx(self, request: Any, context: Any) -> AsyncIterator[Any]:
        query = request.query_input
        keys = query.dtmf.digits + query.dtmf.finish_digit
        asked = Asked(request.session, query.text.text, keys, query.language_code, *_metadata(context))
        async for response in self._answer(asked, context, self._cx_response):
            yield response

    async def _answer(self, asked: Asked, context: Any, response: Any) -> AsyncIterator[Any]:
        self.asked.append(asked)
        self._news.set()
        self._inside[asked.session] += 1
        self.most_at_once = max(self.most_at_once, self._inside[asked.session])
        try:
            if self.refuses is not None:
                await context.abort(self.refuses, "refused")
            if not (asked.text or asked.keys):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Input should not be empty.")
            if len(asked.text) > self.limit:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Input text exceeds {self.limit} characters.")
            answer = self._answers.popleft() if self._answers else Answer(f"You said: {asked.text or asked.keys}")
            for messages in answer.partials:
                yield response(messages, {}, PARTIAL)
            if answer.gate is not None:
                answer.gate.reached.set()
                await answer.gate.wait()
            if answer.status is not None:
                await context.abort(answer.status, f"about {asked.text}")
            if answer.ends:
                yield response(answer.messages, answer.result, FINAL)
        except asyncio.CancelledError:
            asked.cancelled.set()
            raise
        finally:
            self._inside[asked.session] -= 1
            asked.over.set()

    def _es_response(self, messages: Sequence[Message], result: Mapping[str, Any], kind: object) -> Any:
        all_of = [es.Intent.Message({"text": {"text": [each]}} if isinstance(each, str) else each) for each in messages]
        return es.DetectIntentResponse(query_result={"fulfillment_messages": all_of, **result})

    def _cx_response(self, messages: Sequence[Message], result: Mapping[str, Any], kind: object) -> Any:
        all_of = [
            cx.ResponseMessage({"text": {"text": [each]}} if isinstance(each, str) else each) for each in messages
        ]
        return cx.DetectIntentResponse(query_result={"response_messages": all_of, **result}, response_type=kind)


def _metadata(context: Any) -> tuple[str, str]:
    metadata = dict(context.invocation_metadata())
    return str(metadata.get("x-goog-request-params", "")), str(metadata.get("authorization", ""))
