"""The switch of OpenTelemetry: its standard variables, and the libraries of the extra ``otel`` where they ask for it.

Nothing is imported unless they do. The libraries read their own variables themselves; here it is only seen whether
traces are wanted, and content in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import structlog

from relay.genai import Place
from relay.spans import NoSpans, Spans

INSTALL = "pip install 'relay[otel]' (in a checkout: .venv/bin/pip install -e '.[otel]')"

log = structlog.get_logger(__name__)


def make_spans(base_url: str, model: str, places: Iterable[Place] = ()) -> Spans:
    """What calls are told to: an OTLP collector where the environment names one. ``base_url``: where models are asked,
    "" for OpenAI's own; ``model``: the one of agents that name none. ``places``: of models that are asked elsewhere.
    What is wrong is logged, and nothing is traced."""
    if not _wanted(os.environ):
        return NoSpans()
    if (protocol := _protocol(os.environ)) != "http/protobuf":
        log.error("traces are off: this protocol is not spoken; set it to http/protobuf", protocol=protocol)
        return NoSpans()
    try:
        from handlers.otel.provider import OtelSpans

        said = {"batch": None} if os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") else {}
        spans = OtelSpans(base_url, model, places, content=_content(os.environ), **said)
    except ImportError as error:
        log.error("traces are off: OTEL_* asks for them, the extra is not installed", missing=error.name, run=INSTALL)
        return NoSpans()
    except Exception as error:
        log.error("traces are off: OTEL_* variables that cannot be used", error=type(error).__name__, exc_info=error)
        return NoSpans()
    log.info("traces are on", content=spans.content)
    return spans


def _wanted(environ: Mapping[str, str]) -> bool:
    """A collector is named, and nothing says that there are to be no traces."""
    named = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return bool(named) and not off and _first(environ, "OTEL_TRACES_EXPORTER") != "none"


def _protocol(environ: Mapping[str, str]) -> str:
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return _first(environ, *names) or "http/protobuf"


def _content(environ: Mapping[str, str]) -> bool:
    """Whether words are to be in spans; the later form of the variable says where."""
    wish = environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower()
    return wish in ("true", "span_only", "span_and_event")


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")
