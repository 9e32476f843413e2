"""When calls are traced by OpenTelemetry, and what that takes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.values import CHECKOUT
from handlers.otel.content import NUMBER, without_numbers
from handlers.otel.provider import model_at
from handlers.otel.start import make_spans
from phone.caller import FAST, Caller
from relay.spans import NoSpans
from tests.commands.serving import serving
from tests.fakes.otlp_collector import otlp_collector

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
ASK = "from handlers.otel.start import make_spans; spans = make_spans('', 'a-model');"


async def python(code: str, path: Path | None = None, **environ: str) -> str:
    """What a Python process of its own prints. ``path``: what it imports before anything else."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{path or CHECKOUT}:{CHECKOUT}", **environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=CHECKOUT, env=variables, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "True"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["nothing", "empty", "disabled", "no exporter"],
)
def test_nothing_is_traced_unless_a_collector_is_named(
    variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard variables decide, and nothing is said about it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        assert isinstance(make_spans("", "a-model"), NoSpans)
    assert logs == []


async def test_nothing_is_imported_unless_a_collector_is_named() -> None:
    """Neither what makes spans nor what sends them."""
    names = ["handlers.otel.provider", "handlers.otel.spans", "opentelemetry.sdk.trace", "google.protobuf"]
    found = await python(
        f"{ASK} import handlers.calls, sys, json; print(json.dumps([n for n in {names} if n in sys.modules]))"
    )
    assert json.loads(found) == []


async def test_an_extra_that_is_not_installed_is_told_once(tmp_path: Path) -> None:
    """One line that says how to install it; the process goes on without traces."""
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name='opentelemetry')\n")
    configured = "from relay.logs import configure_logging; configure_logging('info', 'json');"
    told = await python(f"{configured} {ASK} assert type(spans).__name__ == 'NoSpans'", tmp_path, **ENDPOINT)
    (record,) = [json.loads(line) for line in told.splitlines()]
    assert record["level"] == "error"
    assert "the extra is not installed" in record["event"]
    assert "pip install 'relay[otel]'" in record["run"]


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"}],
    ids=["a protocol that is not spoken", "a value that means nothing"],
)
def test_variables_that_cannot_be_used_are_told(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are taken all the same."""
    for name, value in {**ENDPOINT, **variables}.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        assert isinstance(make_spans("", "a-model"), NoSpans)
    assert [(record["log_level"], record["event"].partition(":")[0]) for record in logs] == [
        ("error", "traces are off")
    ]


async def test_a_process_that_leaves_hands_its_spans_over(tmp_path: Path) -> None:
    """What stands in .env counts, and the spans of the last call are there when the process is gone."""
    async with otlp_collector() as collector:
        # So many ms that nothing is sent in time by itself.
        (tmp_path / ".env").write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\nOTEL_BSP_SCHEDULE_DELAY=600000\n")
        async with serving(tmp_path / "data", cwd=tmp_path, LOG_FORMAT="json") as server:
            assert (await server.logged("traces are on"))["content"] is False
            async with Caller(server.url, pace=FAST) as call:
                await call.greeting_played()
            assert collector.spans == []
            assert await server.stop() == 0
        (root,) = collector.named("call")
        assert root.attributes["gen_ai.conversation.id"] == call.record.call_sid
        ended = next(record for record in server.records if record["event"] == "call ended")
        assert (ended["trace_id"], ended["span_id"]) == (root.trace_id, root.span_id)


@pytest.mark.parametrize(
    ("url", "provider", "port"),
    [
        ("", "openai", 443),
        ("https://name.openai.azure.com/openai/v1", "azure.ai.openai", 443),
        ("https://api.mistral.ai/v1", "mistral_ai", 443),
        ("http://127.0.0.1:11434/v1", "openai", 11434),
        ("https://notx.ai/v1", "openai", 443),
    ],
)
def test_who_is_asked_is_told_by_the_host(url: str, provider: str, port: int) -> None:
    """By the conventions' names; whoever else speaks as OpenAI does counts as that."""
    model = model_at(url, "a-model")
    assert (model.provider, model.port) == (provider, port)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Call +15550100200 now", f"Call {NUMBER} now"),
        ("or +44 (0)20 7946-0958.", f"or {NUMBER}."),
        ("or 555 010 0200", f"or {NUMBER}"),
        ("(555) 010-0200 is mine", f"({NUMBER} is mine"),
        ("555-0100", NUMBER),
        ('{"to":"+15550100200"}', f'{{"to":"{NUMBER}"}}'),
        ("on 2026-11-12 at 10:30, table 12", "on 2026-11-12 at 10:30, table 12"),
        ("2026-11-12T10:30:00.123456+01:00", "2026-11-12T10:30:00.123456+01:00"),
        ("order 1234567, 19.90 in all", "order 1234567, 19.90 in all"),
    ],
)
def test_telephone_numbers_are_left_out_of_text(text: str, told: str) -> None:
    """Those that are written as such; dates, times, prices and short numbers stay."""
    assert without_numbers(text) == told


async def test_spans_of_a_bug_cost_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be told is not told, and the log says so."""
    for name, value in {**ENDPOINT, "OTEL_TRACES_SAMPLER": "always_off"}.items():
        monkeypatch.setenv(name, value)
    spans = make_spans("", "a-model")
    call: Any = spans.call(
        "CA1", channel="voice", agent="default", direction="inbound", epoch=1, resumed=False, masks=None
    )
    with capture_logs() as logs:
        call.turn(None)
        tool = call.tool(0, None, 0.0, turn=1, agent="default", turn_begun=0.0)
        tool.end(1.0, None)
        await asyncio.sleep(0)  # what it is told is taken in behind what goes on
    assert [record["event"] for record in logs] == ["bug in a span", "bug in a span"]
    assert tool.headers == {}
    await spans.close()
