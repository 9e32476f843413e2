"""Every metric of the program, as a registry that has counted nothing yet knows it."""

from __future__ import annotations

from dataclasses import dataclass

from relay.telemetry import Telemetry

SUFFIXES = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}


@dataclass(frozen=True)
class Family:
    """``name`` as it is written in /metrics, without the suffixes of a histogram."""

    name: str
    kind: str
    labels: frozenset[str]
    about: str


def families() -> list[Family]:
    """The registry tells all but the labels of what has not been counted; the metrics themselves know those."""
    found = []
    for collector in Telemetry().registry._collector_to_names:
        for metric in collector.collect():
            labels = getattr(collector, "_labelnames", None)
            if labels is None:
                labels = {label for sample in metric.samples for label in sample.labels}
            name = metric.name + ("_total" if metric.type == "counter" else "")
            found.append(Family(name, metric.type, frozenset(labels), metric.documentation))
    return found


def samples() -> dict[str, frozenset[str]]:
    """The labels of everything that can be asked for by name."""
    return {
        family.name.removesuffix("_total") + suffix: family.labels
        for family in families()
        for suffix in SUFFIXES[family.kind]
    }
