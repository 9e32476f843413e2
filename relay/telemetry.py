"""Metrics and logs. Neither ever carries a caller's words, numbers or tool arguments.

One ``Telemetry`` a process, handed down by the composition root; it owns its registry, so two applications in one test
process do not share counters.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Iterator, Sized
from types import TracebackType
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

TEXT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)
SHORT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SEGMENTS = ("queue", "history", "request", "model", "holdback", "send")


class Telemetry:
    """The metrics of one process, by the names operators see."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.segment = Histogram(
            "relay_turn_segment_seconds",
            "Contiguous parts of the way from a prompt to the first words; they sum to it",
            ["segment"],
            buckets=SHORT_BUCKETS,
            registry=registry,
        )
        self.first_text = Histogram(
            "relay_first_text_seconds",
            "From the final prompt read to the first frame with text written",
            ["channel"],
            buckets=TEXT_BUCKETS,
            registry=registry,
        )
        self.interrupt = Histogram(
            "relay_interrupt_seconds",
            "From an interrupt read to the turn cancelled and its talk cycle closed",
            buckets=SHORT_BUCKETS,
            registry=registry,
        )
        self.interrupts = Counter("relay_interrupts_total", "Interrupt frames read", registry=registry)
        self.ghosts = Counter(
            "relay_ghost_frames_total", "Frames with text of a turn that was over (always 0)", registry=registry
        )
        self.calls_active = Gauge("relay_calls_active", "Calls in progress", registry=registry)
        self.calls_ended = Counter("relay_calls_ended_total", "Calls ended", ["reason"], registry=registry)
        self.tool = Histogram(
            "relay_tool_seconds", "Time of a tool", ["tool", "outcome"], buckets=TEXT_BUCKETS, registry=registry
        )
        self.frames_rejected = Counter(
            "relay_frames_rejected_total", "Frames not acted on", ["reason"], registry=registry
        )
        self.refused = Counter(
            "relay_refused_total",
            "Requests, calls and turns that a limit or a budget has refused",
            ["reason"],
            registry=registry,
        )
        self.tokens = Counter("relay_tokens_total", "Model tokens", ["kind"], registry=registry)
        self.peer_errors = Counter(
            "relay_peer_errors_total", "Twilio's error frames by code", ["code"], registry=registry
        )
        self.turn_failures = Counter("relay_turn_failures_total", "Turns that failed", ["code"], registry=registry)
        self.hedges = Counter(
            "relay_hedges_total",
            "Late model requests raced by another, by who spoke first",
            ["winner"],
            registry=registry,
        )
        self.stalls = Counter(
            "relay_stalls_total", "Replies that fell silent or were cut and were taken up again", registry=registry
        )
        self.fallbacks = Counter(
            "relay_fallback_total", "Requests to the fallback model", ["reason"], registry=registry
        )
        self.speculation = Counter(
            "relay_speculation_total", "Requests made ahead of the final prompt", ["result"], registry=registry
        )
        self.wasted = Counter(
            "relay_wasted_tokens_total",
            "Model tokens nobody heard, estimated where none were reported",
            registry=registry,
        )
        self.lag = Histogram(
            "relay_event_loop_lag_seconds",
            "How much later than asked the event loop ran a timer",
            buckets=SHORT_BUCKETS,
            registry=registry,
        )
        self.remembered = Gauge(
            "relay_remembered", "Entries of this process' memories, by what they are", ["what"], registry=registry
        )
        tasks = Gauge("relay_tasks", "Tasks of the event loop", registry=registry)
        tasks.set_function(_count_tasks)
        ProcessCollector(registry=registry)
        # Children are looked up once: labels() costs more than the observation, and these are on a turn's path.
        self.segments = {name: self.segment.labels(name) for name in SEGMENTS}
        self.first_text_voice = self.first_text.labels("voice")

    def remembers(self, what: str, entries: Sized) -> None:
        """A memory of the process, counted whenever somebody looks: one that grows for ever is seen."""
        self.remembered.labels(what).set_function(lambda: len(entries))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    async def watch_loop(self, every: float = 0.25) -> None:
        """Observes the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + every
            await asyncio.sleep(every)
            self.lag.observe(max(0.0, loop.time() - due))


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0  # nobody runs an event loop here


class Current:
    """A name bound to log records that may change while they are written: each tells the one of its moment, whatever
    task writes it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def become(self, name: str) -> None:
        self._name = name

    def __structlog__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name


def configure_logging(level: str = "info", fmt: Literal["auto", "json", "text"] = "auto") -> None:
    """Structured logs on standard output: JSON, or lines for people where standard output is a terminal.

    Records of libraries (aiohttp, websockets) go the same way from warning on. The message of an exception is shown at
    level debug only, and never a library's: aiohttp repeats a request it cannot read, token and all.
    """
    pretty = fmt == "text" or (fmt == "auto" and sys.stdout.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    own = structlog.processors.ExceptionRenderer(_trace if number > logging.DEBUG else _full_trace)
    libraries = structlog.processors.ExceptionRenderer(_trace)
    structlog.configure(
        processors=[*shared, own, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, libraries, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, number))


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _full_trace(exc_info: ExcInfo) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip()


def _trace(exc_info: ExcInfo) -> str:
    """Where it happened and what it was, without its message: that may repeat what a caller said."""

    def lines(error: BaseException) -> Iterator[str]:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is not None:
            yield from lines(before)
        yield from traceback.format_tb(error.__traceback__)
        yield type(error).__qualname__ + "\n"
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from lines(each)

    return "".join(lines(exc_info[1])).rstrip()
