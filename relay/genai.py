"""Requests to models, in the names and buckets of OpenTelemetry's GenAI conventions.

One *operation* is one HTTP request, so a round that was hedged or taken up again is several. Nothing is done here while
a reply streams: an operation is observed once, when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Histogram

from relay.models.base import Usage

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))
CHAT = "chat"  # what both of OpenAI's APIs are called there

# Hosts, or the ends of them, by the conventions' name of who is behind it. Whoever else speaks OpenAI's API counts as
# "openai": that is what the conventions ask for where the provider cannot be told.
_PROVIDERS = {
    ".openai.azure.com": "azure.ai.openai",
    ".services.ai.azure.com": "azure.ai.inference",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    ".amazonaws.com": "aws.bedrock",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is asked. ``model``: the one that a request which names none goes to."""

    provider: str = "openai"
    model: str = ""
    address: str = ""
    port: str = ""


def place_of(base_url: str, model: str) -> Place:
    """``base_url`` with scheme and host."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    port = parts.port or (80 if parts.scheme == "http" else 443)
    providers = (name for end, name in _PROVIDERS.items() if host == end or (end[0] == "." and host.endswith(end)))
    return Place(next(providers, "openai"), model, host, str(port))


class Operations:
    """The metrics of all model operations of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = [
            "gen_ai_operation_name",
            "gen_ai_provider_name",
            "gen_ai_request_model",
            "server_address",
            "server_port",
        ]
        self.duration = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "From a model request begun to its end; error_type: empty where it ended well, cancelled where we ended it",
            [*labels, "error_type"],
            buckets=SECONDS,
            registry=registry,
        )
        self.first_chunk = Histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From a model request begun to the first piece of its answer",
            labels,
            buckets=SECONDS,
            registry=registry,
        )
        self.chunk = Histogram(
            "gen_ai_client_operation_time_per_output_chunk_seconds",
            "Mean time from one piece of an answer to the next, once an answer",
            labels,
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a model request as the provider told them",
            [*labels, "gen_ai_token_type"],
            buckets=TOKENS,
            registry=registry,
        )
        self._known: dict[tuple[Place, str], _Children] = {}

    def observe(self, place: Place, model: str, operation: Operation, now: float) -> None:
        """An operation is over. ``model``: as the request named it, "" the place's own."""
        children = self._known.get((place, model))
        if children is None:
            children = self._known[place, model] = _Children(self, place, model or place.model)
        children.observe(operation, now)


class Operation:
    """One request, as it is seen while it runs; moments are seconds of one clock, 0 where there was none. ``problem``:
    the code of the error it ended in."""

    __slots__ = ("begun", "chunks", "ended", "first", "last", "problem", "usage")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.first = self.last = self.ended = 0.0
        self.chunks = 0
        self.problem = "cancelled"
        self.usage = Usage()

    def finished(self, now: float, last: float, chunks: int, usage: Usage) -> None:
        """It ended well. ``last``: when the last of so many pieces came."""
        self.ended, self.last, self.chunks, self.usage = now, last, chunks, usage
        self.problem = ""


class _Children:
    """Those of one model: labels() costs more than the observation."""

    def __init__(self, metrics: Operations, place: Place, model: str) -> None:
        labels = (CHAT, place.provider, model, place.address, place.port)
        self._labels = labels
        self._duration = metrics.duration
        self._done = metrics.duration.labels(*labels, "")
        self._first_chunk = metrics.first_chunk.labels(*labels)
        self._chunk = metrics.chunk.labels(*labels)
        self._input = metrics.tokens.labels(*labels, "input")
        self._output = metrics.tokens.labels(*labels, "output")

    def observe(self, operation: Operation, now: float) -> None:
        problem = operation.problem
        duration = self._duration.labels(*self._labels, problem) if problem else self._done
        duration.observe((operation.ended or now) - operation.begun)
        if operation.first:
            self._first_chunk.observe(operation.first - operation.begun)
        if operation.chunks > 1:
            self._chunk.observe((operation.last - operation.first) / (operation.chunks - 1))
        if operation.usage.input:
            self._input.observe(operation.usage.input)
        if operation.usage.output:
            self._output.observe(operation.usage.output)
