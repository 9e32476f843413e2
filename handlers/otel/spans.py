"""Calls as OpenTelemetry spans, by the conventions for generative AI:

    call                            SERVER    a session of a call; all of one CallSid are one trace
      invoke_agent AGENT            INTERNAL  a turn, from the prompt read to its end
        chat MODEL                  CLIENT    one request to the model
        execute_tool TOOL           INTERNAL  a tool; the one span that is there while it lasts

What the conventions have no name for is called ``relay.…``. Nothing of this is in anybody's way: but for the tools,
spans are made when their turn has ended, from the times its trace has (``relay/trace.py``), and after what comes next
has begun.

A request that was cut off has no usage from its provider. It is given the estimate that budgets go by, and says so.
Turns carry no usage: who adds up a trace would count it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Concatenate, ParamSpec, TypeVar

import orjson
import structlog
from opentelemetry import context as otel
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from handlers.otel.content import FINISH, Content
from relay.models.base import ToolCall
from relay.spans import NoToolSpan, ToolSpan, TurnOver
from relay.toolbox import ToolOutcome
from relay.trace import Round
from relay.turn import CHARACTERS_PER_TOKEN, estimate_tokens

END_REASONS = {"done": "completed", "interrupted": "interrupted", "superseded": "interrupted"}
FAILED_CALLS = frozenset({"error", "slow", "trouble"})
OTHER = "_OTHER"  # the convention's word for an error that has no name

Attributes = dict[str, AttributeValue]

log = structlog.get_logger(__name__)

_trace_id: ContextVar[int | None] = ContextVar("trace_id", default=None)


class CallIds(RandomIdGenerator):
    """Ids of traces are made of their CallSid: every session of a call is in one trace, and sampled as the others are,
    whichever processes had it."""

    def generate_trace_id(self) -> int:
        return _trace_id.get() or super().generate_trace_id()


@dataclass(frozen=True, slots=True)
class Model:
    """Where requests go, as far as spans tell of it. ``default``: the model of those that name none."""

    provider: str
    address: str
    port: int
    default: str


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def _guarded(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """A bug here is told and costs spans, never a call."""

    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(self, *args, **kwargs)
        except Exception as error:
            log.error("bug in a span", error=type(error).__name__, exc_info=error)
            return None

    return guarded


class OtelCall:
    """The ``CallSpans`` of a session. ``others``: where requests go that name one of these models, which are not paid
    by the token. ``open``: spans that are there while something lasts, for whoever ends what was left."""

    def __init__(
        self,
        tracer: trace.Tracer,
        model: Model,
        others: Mapping[str, Model],
        open_spans: set[Span],
        attributes: Attributes,
        epoch: int,
        conversation: str,
        content: Content | None,
    ) -> None:
        self._tracer = tracer
        self._model = model
        self._others = others
        self._open = open_spans
        self._epoch = epoch * 1_000_000
        self._begun = 0.0
        self._content = content
        self._all: Attributes = {"gen_ai.conversation.id": conversation}  # on every span
        wanted = _trace_id.set(int.from_bytes(sha256(conversation.encode()).digest()[:16]))
        try:
            self._span = self._start("call", otel.Context(), self._epoch, SpanKind.SERVER, attributes)
        finally:
            _trace_id.reset(wanted)
        self._context = trace.set_span_in_context(self._span, otel.Context())
        self._turn: tuple[int, Span] | None = None  # that has a span before its end

    @property
    def captures(self) -> bool:
        return self._content is not None and self._span.is_recording()

    @contextmanager
    def inside(self) -> Iterator[None]:
        try:
            with _inside(self._context):
                yield
        finally:
            if self._turn is not None:
                self._end(self._turn[1], None)
            self._end(self._span, None)

    def begun(self, at: float) -> None:
        self._begun = at

    def tool(self, key: int, call: ToolCall, at: float, *, turn: int, agent: str, turn_begun: float) -> ToolSpan:
        return self._tool(key, call, at, turn, agent, turn_begun) or NoToolSpan()

    @_guarded
    def _tool(self, key: int, call: ToolCall, at: float, turn: int, agent: str, turn_begun: float) -> ToolSpan:
        if self._turn is None or self._turn[0] != turn:
            self._turn = turn, self._turn_span(agent, turn_begun)
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.call_id,
            "gen_ai.agent.name": agent,
        }
        parent = trace.set_span_in_context(self._turn[1], otel.Context())
        span = self._start(f"execute_tool {call.name}", parent, self._at(at), SpanKind.INTERNAL, attributes)
        if self._content is not None:
            self._content.own[call.call_id] = key
        return OtelTool(self, span, key, call)

    def tool_over(self, span: Span, key: int, call: ToolCall, at: float, outcome: ToolOutcome | None) -> None:
        _later(self._tool_over, span, key, call, at, outcome)

    @_guarded
    def _tool_over(self, span: Span, key: int, call: ToolCall, at: float, outcome: ToolOutcome | None) -> None:
        if span.is_recording():
            if self._content is not None:
                span.set_attributes(self._content.of_tool(key, call, outcome))
            if outcome is None:
                span.set_attribute("relay.tool.outcome", "interrupted")
            elif not outcome.ok:
                _fail(span, _error_of(outcome))
        self._end(span, at)

    def turn(self, turn: TurnOver) -> None:
        begun, self._turn = self._turn, None
        _later(self._turn_over, turn, None if begun is None else begun[1])

    @_guarded
    def _turn_over(self, turn: TurnOver, span: Span | None) -> None:
        """``span``: what its tools have had made of it."""
        if span is None:
            span = self._turn_span(turn.agent, turn.begun)
        if span.is_recording():
            self._tell(span, turn)
        self._end(span, turn.ended)

    def _tell(self, span: Span, turn: TurnOver) -> None:
        reason = "session_closed" if turn.closed and turn.outcome != "done" else END_REASONS.get(turn.outcome, "")
        attributes: Attributes = {"relay.turn.number": turn.number, "relay.turn.outcome": turn.outcome}
        if reason:
            attributes["gen_ai.agent.invocation.end_reason"] = reason
        if turn.first_text is not None:
            attributes["relay.turn.first_text"] = turn.first_text
        for name, seconds in (turn.segments or {}).items():
            attributes[f"relay.turn.segment.{name}"] = seconds
        if turn.rounds:
            attributes["gen_ai.provider.name"] = self._asked(turn.rounds[-1]).provider
        span.set_attributes(attributes)
        if turn.outcome == "failed":
            _fail(span, next((each.error for each in reversed(turn.rounds) if each.error), OTHER))
        parent = trace.set_span_in_context(span, otel.Context())
        for each in turn.rounds:
            self._request(each, parent, turn.agent, turn.said if each is turn.rounds[-1] else 0, turn.ended)

    def wasted(self, request: Round) -> None:
        _later(self._wasted, request)

    @_guarded
    def _wasted(self, request: Round) -> None:
        if self._span.get_span_context().trace_flags.sampled:
            self._request(request, self._context, "", 0, request.at)

    @_guarded
    def ended(self, reason: str, turns: int) -> None:
        self._span.set_attributes({"relay.call.reason": reason, "relay.call.turns": turns})
        if reason in FAILED_CALLS:
            _fail(self._span, reason)

    # -- spans

    def _turn_span(self, agent: str, begun: float) -> Span:
        attributes = _of_model(self._model, "invoke_agent", agent)
        return self._start(f"invoke_agent {agent}", self._context, self._at(begun), SpanKind.INTERNAL, attributes)

    def _request(self, request: Round, parent: otel.Context, agent: str, said: int, until: float) -> None:
        """``said``: characters that were sent of it. ``until``: it was over by then."""
        place = self._asked(request)
        model = request.model or place.default
        attributes = _of_model(place, "chat", agent)
        attributes |= {
            "gen_ai.request.model": model,
            "gen_ai.request.stream": True,
            "server.address": place.address,
            "server.port": place.port,
            "relay.request.outcome": request.outcome,
        }
        if request.outcome not in ("cancelled", "failed"):
            attributes["gen_ai.response.finish_reasons"] = [FINISH.get(request.outcome, request.outcome)]
        if request.first is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = request.first - request.at
            first = datetime.fromtimestamp(self._at(request.first) / 1e9, UTC)
            attributes["langfuse.observation.completion_start_time"] = f'"{first.isoformat(timespec="milliseconds")}"'
        if request.further:
            attributes["relay.request.further"] = request.further
        for name, value in request.found.items():
            attributes[f"relay.request.found.{name}"] = value
        if not agent:
            attributes["relay.request.wasted"] = True
        if place is self._model:
            attributes |= _usage(request, said)
        if self._content is not None:
            attributes |= self._content.of_request(request)
        span = self._start(f"chat {model}", parent, self._at(request.at), SpanKind.CLIENT, attributes)
        if request.error:
            _fail(span, request.error)
        self._end(span, until if request.over is None else request.over)

    def _asked(self, request: Round) -> Model:
        return self._others.get(request.model, self._model)

    def _start(self, name: str, parent: otel.Context, at: int, kind: SpanKind, attributes: Attributes) -> Span:
        span = self._tracer.start_span(name, parent, kind, {**attributes, **self._all}, start_time=at)
        self._open.add(span)
        return span

    def _end(self, span: Span, at: float | None) -> None:
        if span in self._open:
            self._open.remove(span)
            span.end(None if at is None else self._at(at))

    def _at(self, moment: float) -> int:
        """A moment of the session's clock in ns since 1970."""
        return self._epoch + round((moment - self._begun) * 1e9)


def _of_model(model: Model, operation: str, agent: str) -> Attributes:
    found: Attributes = {"gen_ai.operation.name": operation, "gen_ai.provider.name": model.provider}
    return {**found, "gen_ai.agent.name": agent} if agent else found


class OtelTool:
    def __init__(self, call: OtelCall, span: Span, key: int, tool: ToolCall) -> None:
        self._call = call
        self._span = span
        self._key = key
        self._tool = tool
        self._context = trace.set_span_in_context(span, otel.Context())
        headers: dict[str, str] = {}
        propagate.inject(headers, self._context)
        self.headers: Mapping[str, str] = headers

    @contextmanager
    def inside(self) -> Iterator[None]:
        with _inside(self._context):
            yield

    def end(self, at: float, outcome: ToolOutcome | None) -> None:
        self._call.tool_over(self._span, self._key, self._tool, at, outcome)


@contextmanager
def _inside(context: otel.Context) -> Iterator[None]:
    """Makes the context that of what is begun meanwhile, for libraries that are instrumented and for log records."""
    span = trace.get_current_span(context).get_span_context()
    ids = {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
    token = otel.attach(context)
    try:
        with structlog.contextvars.bound_contextvars(**ids):
            yield
    finally:
        otel.detach(token)


def _later(tell: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """When what is being done has been done."""
    asyncio.get_running_loop().call_soon(partial(tell, *args, **kwargs))


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


def _error_of(outcome: ToolOutcome) -> str:
    """The code every failure begins with (``tools/registry.py``)."""
    try:
        told = orjson.loads(outcome.output)
    except orjson.JSONDecodeError:
        return OTHER
    code = told.get("error") if isinstance(told, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else OTHER


def _usage(request: Round, said: int) -> Attributes:
    usage = request.usage
    if usage.input or usage.output:
        return {
            "gen_ai.usage.input_tokens": usage.input,
            "gen_ai.usage.output_tokens": usage.output,
            "gen_ai.usage.cache_read.input_tokens": usage.cached,
        }
    if request.outcome != "cancelled" and request.first is None:
        return {}  # nobody is billed for a request that was refused
    instructions, items = request.shown
    return {
        "gen_ai.usage.input_tokens": len(instructions) // CHARACTERS_PER_TOKEN + sum(map(estimate_tokens, items)),
        "gen_ai.usage.output_tokens": said // CHARACTERS_PER_TOKEN,
        "relay.usage.estimated": True,
    }
