"""Metrics. None ever carries a caller's words, numbers or tool arguments.

One ``Telemetry`` a process, handed down by the composition root; it owns its registry, so two applications in one test
process do not share counters. docs/metrics.md has them all. No label is about a call or a person.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator, Sized

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from relay.genai import Operations
from relay.models.base import Usage
from relay.prices import Prices

TEXT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)
SHORT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# A segment is a fraction of a millisecond or most of a turn: fine at both ends.
SEGMENT_BUCKETS = (*(bound for bound in SHORT_BUCKETS if bound < TEXT_BUCKETS[0]), *TEXT_BUCKETS)
TOOL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, *TEXT_BUCKETS)
SEGMENTS = ("queue", "history", "request", "tools", "model", "holdback", "send")  # in their order
VOICE = "voice"
CHANNELS = (VOICE, "chat", "debate")
KINDS = ("input", "cached", "output")
OUTCOMES = ("done", "interrupted", "superseded", "failed")
FALLBACK_REASONS = ("late", "stall", "cut", "error", "rate_limit", "quota", "rejected")
REFUSALS = ("rate", "busy", "person_rate", "budget_day", "budget_person", "chat_sockets")

Metric = Counter | Gauge | Histogram


class Telemetry:
    """The metrics of one process, by the names operators see. ``prices``: None where money is not to be told."""

    def __init__(self, version: str = "", prices: Prices | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double what is scraped, and tell what Prometheus finds out by itself
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.build = Gauge("relay_build_info", "Always 1", ["version", "python"], registry=registry)
        self.build.labels(version, platform.python_version()).set(1)

        self.segment = Histogram(
            "relay_turn_segment_seconds",
            "Contiguous parts of the way from a prompt to the first words; they sum to it",
            ["segment"],
            buckets=SEGMENT_BUCKETS,
            registry=registry,
        )
        self.first_text = Histogram(
            "relay_first_text_seconds",
            "From the final prompt read to the first frame with text written",
            ["channel"],
            buckets=TEXT_BUCKETS,
            registry=registry,
        )
        self.turns = Counter("relay_turns_total", "Turns that ended", ["outcome"], registry=registry)
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
        self.chat_sockets = Gauge("relay_chat_sockets", "Sockets of live chats", registry=registry)
        self.tool = Histogram(
            "relay_tool_seconds", "Time of a tool", ["tool", "outcome"], buckets=TOOL_BUCKETS, registry=registry
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
        self.tokens = Counter(
            "relay_tokens_total", "Model tokens; those cached are among the input", ["kind"], registry=registry
        )
        self.cost = Counter("relay_cost_total", "Money for model tokens, by PRICE_*", ["kind"], registry=registry)
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
        self.trace_dropped = Counter(
            "relay_trace_dropped_total", "Entries of traces that Redis did not take", registry=registry
        )
        self.chat_log_dropped = Counter(
            "relay_chat_log_dropped_total",
            "Frames of live chats that are not kept for sockets which come back",
            registry=registry,
        )
        self.lag = Histogram(
            "relay_event_loop_lag_seconds",
            "How much later than asked the event loop ran a timer",
            buckets=SHORT_BUCKETS,
            registry=registry,
        )
        self.figures_failed = Counter(
            "relay_figures_failures_total", "Times the dashboard's figures were not written to Redis", registry=registry
        )
        self.figures_lost = Counter(
            "relay_figures_lost_total",
            "Minutes of this process that the dashboard will never show, Redis having been away for too long",
            registry=registry,
        )
        self.operations = Operations(registry)
        self.remembered = Gauge(
            "relay_remembered", "Entries of this process' memories, by what they are", ["what"], registry=registry
        )
        tasks = Gauge("relay_tasks", "Tasks of the event loop", registry=registry)
        tasks.set_function(_count_tasks)
        # Children are looked up once: labels() costs more than the observation, and these are on a turn's path.
        self.segments = {name: self.segment.labels(name) for name in SEGMENTS}
        self.first_texts = {name: self.first_text.labels(name) for name in CHANNELS}
        # A counter that is first seen at 1 has not grown, for Prometheus: what is watched is there from the start.
        for outcome in OUTCOMES:
            self.turns.labels(outcome)
        for reason in FALLBACK_REASONS:
            self.fallbacks.labels(reason)
        for refusal in REFUSALS:
            self.refused.labels(refusal)
        self.peer_errors.labels("other")
        self._tokens = [self.tokens.labels(kind) for kind in KINDS]
        self.prices = prices
        self._cost = {kind: self.cost.labels(kind) for kind in KINDS} if prices is not None else {}
        self._lag_peak = 0.0

    def spent(self, usage: Usage) -> None:
        """A model has told what a request has taken."""
        for counter, count in zip(self._tokens, (usage.input, usage.cached, usage.output), strict=True):
            counter.inc(count)
        if self.prices is not None:
            for kind, money in self.prices.of(usage).items():
                self._cost[kind].inc(money)

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
            lag = max(0.0, loop.time() - due)
            self.lag.observe(lag)
            self._lag_peak = max(self._lag_peak, lag)

    def lag_peak(self) -> float:
        """The longest lag, in seconds, since this was asked last."""
        peak, self._lag_peak = self._lag_peak, 0.0
        return peak


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0  # nobody runs an event loop here


def samples(metric: Metric) -> Iterator[tuple[str, dict[str, str], float]]:
    """(what it is, labels, value) of each: of a histogram ``bucket``, ``sum`` and ``count``, else ``total`` or ""."""
    for family in metric.collect():
        for sample in family.samples:
            yield sample.name[len(family.name) + 1 :], sample.labels, sample.value


def total(metric: Metric) -> float:
    """Of a counter or a gauge, over all labels."""
    return sum(value for _, _, value in samples(metric))
