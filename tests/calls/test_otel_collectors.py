"""Calls as OpenTelemetry spans: who takes them, as the standard variables say, or does not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis

from handlers.otel.provider import FLUSH_SECONDS
from phone.model import Reply, ToolUse
from tests.calls.checks import heard
from tests.calls.traced import Start, starting, whole
from tests.fakes.otlp_collector import otlp_collector


@pytest.fixture
def start(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    return starting(redis_url, tmp_path, monkeypatch)


async def test_langfuse_is_reached_as_it_documents(start: Start) -> None:
    """Its path, its headers as they are written in its pages, and the attribute it reads the first token from."""
    async with otlp_collector("/api/public/otel") as langfuse:
        headers = "Authorization=Basic cGstMTpzay0x,x-langfuse-ingestion-version=4"
        async with start(OTEL_EXPORTER_OTLP_ENDPOINT=langfuse.url, OTEL_EXPORTER_OTLP_HEADERS=headers) as traced:
            traced.line.model.script(Reply("Hello."))
            async with traced.call() as call:
                await call.say("Hello?")
                await call.until(lambda: "Hello." in heard(call))
            span = await langfuse.one("chat a-model")
        assert langfuse.headers[0]["authorization"] == "Basic cGstMTpzay0x"
        assert langfuse.headers[0]["x-langfuse-ingestion-version"] == "4"
        assert langfuse.headers[0]["content-type"] == "application/x-protobuf"
        assert span.attributes["langfuse.observation.completion_start_time"].endswith('+00:00"')


async def test_the_sampler_decides_for_a_whole_call(start: Start) -> None:
    """Of one that is not sampled nothing is sent, and what its tools ask of others says that it is not."""
    async with start(OTEL_TRACES_SAMPLER="always_off") as traced:
        traced.line.model.script(Reply(tools=[ToolUse("fetch", "{}")]), Reply("Soup."))
        async with traced.call() as call:
            await call.say("What is there?")
            await call.until(lambda: "Soup." in heard(call))
        await traced.spans.close()
        assert traced.collector.headers == []
        assert {int(headers["traceparent"][-2:], 16) & 1 for headers in traced.fetched} == {0}


async def test_service_and_resource_are_as_the_variables_say(start: Start) -> None:
    """The name, and attributes beside it."""
    variables = {"OTEL_SERVICE_NAME": "front-desk", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
    async with start(**variables) as traced:
        async with traced.call():
            pass
        root = await whole(traced)
        assert root.resource["service.name"] == "front-desk"
        assert root.resource["deployment.environment.name"] == "test"


async def test_a_collector_that_refuses_is_told_of_once_and_its_return_too(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go on as ever; what was refused is lost, what comes later is taken."""
    async with start() as traced:
        traced.collector.answers = [401, 401]
        with structlog.testing.capture_logs() as logs:
            for count in (1, 2, 3):
                traced.line.model.script(Reply("Hello."))
                async with traced.call() as call:
                    await call.say("Hello?")
                    await call.until(lambda: "Hello." in heard(call))
                await traced.collector.until(lambda count=count: len(traced.collector.headers) >= count)
            await traced.collector.until(lambda: traced.collector.named("call"))
            await traced.spans.close()
        assert ["401" in record.getMessage() for record in caplog.records] == [True]
        assert [record["event"] for record in logs].count("traces are taken again") == 1


async def test_a_collector_that_is_silent_delays_no_call_and_the_end_by_little(start: Start) -> None:
    """The process does not wait for it longer than it says."""
    async with start() as traced:
        traced.collector.held = asyncio.Event()
        traced.line.model.script(Reply("Hello."), Reply("Still here."))
        async with traced.call() as call:
            await call.say("Hello?")
            await call.until(lambda: "Hello." in heard(call))
        await traced.collector.until(lambda: traced.collector.headers)
        async with traced.call() as call:
            await call.say("And now?")
            await call.until(lambda: "Still here." in heard(call))
        began = time.monotonic()
        await traced.spans.close()
        assert FLUSH_SECONDS <= time.monotonic() - began < FLUSH_SECONDS + 15
        traced.collector.held.set()
