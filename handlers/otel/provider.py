"""The OpenTelemetry SDK put together: who makes spans, and the thread that hands them to a collector.

The queue between the two is bounded (``OTEL_BSP_*``); what a collector that is away or slow does not take is dropped.
The first failure of a row is told, and when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span

from handlers.otel.content import Content
from handlers.otel.spans import Attributes, CallIds, Model, OtelCall
from relay.genai import Place
from relay.masks import Masks
from relay.spans import CallSpans, NoCallSpans

FLUSH_SECONDS = 3.0
BATCH = 64  # spans: the thread has the interpreter for a few ms at a time, and calls wait no longer than that
EXPORTER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")

PROVIDERS = {
    "openai.azure.com": "azure.ai.openai",
    "anthropic.com": "anthropic",
    "deepseek.com": "deepseek",
    "googleapis.com": "gcp.gemini",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "perplexity.ai": "perplexity",
    "x.ai": "x_ai",
}
"""The convention's names of those who answer at hosts that end so; the others speak as OpenAI does."""

log = structlog.get_logger(__name__)


class OtelSpans:
    """The ``Spans`` of a process. ``places``: of models that are asked elsewhere. ``content``: words, arguments and
    results are told too. ``batch``: spans that are handed over at once; None, as the variables say."""

    def __init__(
        self, base_url: str, model: str, places: Iterable[Place] = (), *, content: bool, batch: int | None = BATCH
    ) -> None:
        self.content = content
        self._model = model_at(base_url, model)
        self._others = {each.model: Model(each.provider, each.address, int(each.port), each.model) for each in places}
        self._open: set[Span] = set()
        self._exporter = _Exporter()
        self._provider = TracerProvider(resource=_resource(), id_generator=CallIds(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter, max_export_batch_size=batch))
        self._tracer = self._provider.get_tracer("relay", version("relay"))
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)  # for libraries of tools that are instrumented
        EXPORTER.addFilter(self._exporter.failures)

    def call(
        self, conversation: str, *, channel: str, agent: str, direction: str, epoch: int, resumed: bool, masks: Masks
    ) -> CallSpans:
        attributes: Attributes = {
            "gen_ai.agent.name": agent,
            "relay.channel": channel,
            "relay.call.direction": direction,
            "relay.call.resumed": resumed,
        }
        content = Content(masks) if self.content else None
        try:
            return OtelCall(
                self._tracer, self._model, self._others, self._open, attributes, epoch, conversation, content
            )
        except Exception as error:  # a sampler of somebody else's
            log.error("a call is not traced", error=type(error).__name__, exc_info=error)
            return NoCallSpans()

    async def close(self) -> None:
        """What is not taken within ``FLUSH_SECONDS`` is lost."""
        for span in [*self._open]:
            span.end()
        self._open.clear()
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            EXPORTER.removeFilter(self._exporter.failures)
            try:
                loop.call_soon_threadsafe(over.set)
            except RuntimeError:  # nobody has waited so long
                pass

        # A thread that does not keep the process, whatever it waits for.
        threading.Thread(target=shut_down, name="flush traces", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await over.wait()
        except TimeoutError:
            log.warning("traces not handed over in time")
            self._exporter.failures.silent = True  # the process may be about to end


class _Failures(logging.Filter):
    """Lets the first failure in a row be told, in the library's own words, which tells of every attempt. ``thread``:
    the one whose records these are."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = self.silent = False
        self.thread = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self.thread:
            return True
        first = record.levelno >= logging.ERROR and not self.failing
        self.failing = self.failing or first
        return first and not self.silent


class _Exporter(OTLPSpanExporter):
    def __init__(self) -> None:
        super().__init__()
        self.failures = _Failures()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.failures.thread = threading.get_ident()
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS and self.failures.failing:
            self.failures.failing = False
            log.info("traces are taken again")
        return result


def model_at(base_url: str, default: str) -> Model:
    parts = urlsplit(base_url or "https://api.openai.com/v1")
    host = parts.hostname or ""
    provider = next((name for end, name in PROVIDERS.items() if host == end or host.endswith(f".{end}")), "openai")
    return Model(provider, host, parts.port or (443 if parts.scheme == "https" else 80), default)


def _resource() -> Resource:
    """What the variables say of this process; its name where they give none."""
    found = Resource.create({SERVICE_VERSION: version("relay")})
    named = not str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource({SERVICE_NAME: "relay"}))
