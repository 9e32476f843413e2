"""What a process measures: by which names, what the documentation says of them, and what is counted."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from config.values import CHECKOUT
from relay.models.base import Usage
from relay.prices import Prices, make_prices
from relay.telemetry import TEXT_BUCKETS, Telemetry, total
from tests.metrics import families

DOC = (CHECKOUT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|((?: `\w+`,?)*) \| (.+) \|$", re.MULTILINE)


def test_every_metric_is_documented() -> None:
    """The tables of docs/metrics.md have the name, the kind and the labels of each, and no other."""
    documented = {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels, _ in ROW.findall(DOC)}
    assert documented == {family.name: (family.kind, family.labels) for family in families()}


def test_no_label_is_about_a_call_or_a_person() -> None:
    """What calls and people are as many as: their ids, their numbers, what they say."""
    labels = set().union(*(family.labels for family in families()))
    assert not labels & {"call", "call_sid", "conversation", "id", "person", "number", "from", "to", "session", "text"}


def test_the_buckets_of_the_first_words() -> None:
    """They are fine where people notice: every tenth of a second up to 0.6."""
    assert TEXT_BUCKETS == (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)


def test_what_is_watched_is_there_from_the_start() -> None:
    """Prometheus does not see a counter grow that is first seen at 1; and no metric has a second one for its age."""
    text = Telemetry("1.2.3").render().decode()
    assert 'relay_turns_total{outcome="failed"} 0.0\n' in text
    assert 'relay_refused_total{reason="busy"} 0.0\n' in text
    assert "_created" not in text
    assert re.search(r'^relay_build_info\{python="3\.\d+\.\d+\S*",version="1\.2\.3"\} 1\.0$', text, re.MULTILINE)
    assert "process_resident_memory_bytes" in text


def test_money_for_tokens() -> None:
    """Cached tokens are a part of the input and are paid at their own price, once."""
    telemetry = Telemetry(prices=Prices(2.0, 0.5, 8.0))
    telemetry.spent(Usage(1_000_000, 400_000, 250_000))
    telemetry.spent(Usage(500_000, 0, 0))
    text = telemetry.render().decode()
    assert 'relay_tokens_total{kind="input"} 1.5e+06\n' in text
    assert 'relay_cost_total{kind="input"} 2.2\n' in text  # (600,000 + 500,000) tokens at 2
    assert 'relay_cost_total{kind="cached"} 0.2\n' in text
    assert 'relay_cost_total{kind="output"} 2.0\n' in text


@pytest.mark.parametrize(
    ("input", "cached", "output", "expected"),
    [
        (2.0, 0.5, 8.0, Prices(2.0, 0.5, 8.0)),
        (2.0, None, 8.0, Prices(2.0, 2.0, 8.0)),
        (0.0, None, 0.0, Prices(0.0, 0.0, 0.0)),
        (2.0, 0.5, None, None),
        (None, 0.5, 8.0, None),
        (None, None, None, None),
    ],
)
def test_money_is_told_where_both_prices_are_known(
    input: float | None, cached: float | None, output: float | None, expected: Prices | None
) -> None:
    """With one of them a part would look like all; cached tokens cost what others do where they have no price."""
    assert make_prices(input, cached, output) == expected


def test_no_money_without_prices() -> None:
    """The metric is there and has no value."""
    telemetry = Telemetry()
    telemetry.spent(Usage(10, 5, 5))
    assert total(telemetry.tokens) == 20
    assert "relay_cost_total{" not in telemetry.render().decode()


async def test_the_longest_lag_is_told_once() -> None:
    """It is of the time since it was asked for last."""
    telemetry = Telemetry()
    watch = asyncio.create_task(telemetry.watch_loop(0.0), name="watch loop")
    async with asyncio.timeout(20):
        while not total(telemetry.lag):  # noqa: ASYNC110
            await asyncio.sleep(0)
    watch.cancel()
    await asyncio.wait([watch])
    assert telemetry.lag_peak() > 0
    assert telemetry.lag_peak() == 0


async def test_what_a_process_holds_can_be_seen() -> None:
    """Tasks, entries of its memories and the process' own figures are counted whenever somebody looks."""
    telemetry, calls = Telemetry(), ["one"]
    telemetry.remembers("calls", calls)
    calls.append("another")
    lines = telemetry.render().decode().splitlines()
    assert "relay_tasks 1.0" in lines
    assert 'relay_remembered{what="calls"} 2.0' in lines
    if sys.platform == "linux":  # the library reads /proc
        assert any(line.startswith("process_open_fds ") for line in lines)


def test_metrics_are_shown_without_an_event_loop() -> None:
    """Whoever asks from elsewhere is told of no tasks."""
    assert "relay_tasks 0.0" in Telemetry().render().decode().splitlines()
