"""An application whose calls go to a collector of our own as OpenTelemetry spans, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
import structlog
from aiohttp import web
from opentelemetry import propagate

from handlers.otel.start import make_spans
from phone.caller import FAST, Caller
from relay.spans import Spans
from relay.toolbox import DigitsWanted, ToolContext
from tests.calls.workshop import NAMES, Workshop
from tests.fakes.otlp_collector import Collector, Span, otlp_collector
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry

AGENT = f"""
title = "Test"
tools = {NAMES[:-1]}, "fetch", "ask_pin"]
[says]
fillers = []
[limits]
after_interrupt = 0.2
side_effect_wait = 0.2
interdigit = 60.0
"""


@dataclass
class Traced:
    """An application whose calls go to ``collector``."""

    line: Running
    collector: Collector
    spans: Spans
    workshop: Workshop
    fetched: list[Mapping[str, str]]
    """The headers of requests to a service of the tool's own."""

    def call(self, **options: Any) -> Caller:
        return Caller(self.line.url, pace=FAST, **options)


class Start(Protocol):
    def __call__(self, **variables: str) -> AbstractAsyncContextManager[Traced]:
        """``variables``: beside those that name the collector, in whose place they may be."""
        ...


def starting(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    @asynccontextmanager
    async def started(**variables: str) -> AsyncIterator[Traced]:
        async with otlp_collector() as collector, service() as (address, fetched):
            named = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20", **variables}
            for name, value in named.items():
                monkeypatch.setenv(name, value)
            spans, workshop = make_spans("https://api.groq.com/openai/v1", "a-model"), Workshop()

            def add(registry: ToolRegistry) -> None:
                workshop.add(registry)
                add_tools(registry, address)

            agents = write_agent(tmp_path / "agents", AGENT, prompt="Be brief. Their number: +1 (555) 555-0100.")
            try:
                async with running(redis_url, tmp_path / "data", agents=agents, extra_tools=add, spans=spans) as line:
                    yield Traced(line, collector, spans, workshop, fetched)
            finally:
                await spans.close()

    return started


@asynccontextmanager
async def service() -> AsyncIterator[tuple[str, list[Mapping[str, str]]]]:
    """What a tool asks over HTTP: its address, and the headers of those who came."""
    came: list[Mapping[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        came.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(text="soup")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", came
    finally:
        await runner.cleanup()


def add_tools(registry: ToolRegistry, address: str) -> None:
    async def fetch(context: ToolContext) -> str:
        """Asks a service of its own, as itself and as an instrumented client would."""
        by_itself: dict[str, str] = {}
        propagate.inject(by_itself)
        async with aiohttp.ClientSession() as http:
            for headers in (context.trace_headers(), by_itself):
                async with http.get(address, headers=headers) as response:
                    await response.read()
        structlog.get_logger().info("fetched")
        return "soup"

    async def ask_pin(context: ToolContext, number: str) -> dict[str, str]:
        """Has the caller key in a secret."""
        keyed = await context.collect(DigitsWanted(4, "", 30.0))
        return {"pin": keyed.digits, "number": number}

    registry.add(fetch)
    registry.add(ask_pin)


async def whole(traced: Traced) -> Span:
    """The span of the call, which is the last of them to end."""
    call = await traced.collector.one("call")
    assert {span.trace_id for span in traced.collector.spans} == {call.trace_id}
    assert {span.attributes["gen_ai.conversation.id"] for span in traced.collector.spans} == {
        call.attributes["gen_ai.conversation.id"]
    }
    return call


def within(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start <= inner.end <= outer.end
