"""Whoever takes traces, as a real HTTP server that speaks OTLP: keeps the spans it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Times are ns since 1970, ids hex; ``parent`` is "" at the root. ``error``: its status says so."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Collector:
    """``url`` is the value of OTEL_EXPORTER_OTLP_ENDPOINT. ``answers``: the statuses of the next requests, 200 behind
    them. ``held``: requests are not answered before it is set. ``headers``: of each request that came."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    held: asyncio.Event | None = None
    headers: list[dict[str, str]] = field(default_factory=list)
    body: bytes = b""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, true: Callable[[], object], within: float = 20.0) -> None:
        """Waits until it is true of what has come."""
        async with asyncio.timeout(within):
            while not true():
                self._news.clear()
                await self._news.wait()

    def named(self, name: str) -> list[Span]:
        """The spans of this name, in the order they began."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    async def one(self, name: str) -> Span:
        """The span of this name, once it is there."""
        await self.until(lambda: self.named(name))
        (span,) = self.named(name)
        return span

    def children(self, span: Span) -> list[str]:
        """The names of those below it, in the order they began."""
        below = [each for each in self.spans if each.parent == span.span_id]
        return [each.name for each in sorted(below, key=lambda each: each.start)]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self._news.set()
        if self.held is not None:
            await self.held.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.body += body
            self.spans += _spans(body)
            self._news.set()
        return web.Response(
            status=status,
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )


def _spans(body: bytes) -> list[Span]:
    sent = ExportTraceServiceRequest.FromString(body)
    return [
        Span(
            span.name,
            span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == span.status.STATUS_CODE_ERROR,
            _values(span.attributes),
            _values(of_resource.resource.attributes),
        )
        for of_resource in sent.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(each) for each in found.values] if kind == "array_value" else found


@asynccontextmanager
async def otlp_collector(prefix: str = "") -> AsyncIterator[Collector]:
    """``prefix``: the path it is reached below."""
    collector = Collector()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post(f"{prefix}/v1/traces", collector._take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
        yield collector
    finally:
        await runner.cleanup()
