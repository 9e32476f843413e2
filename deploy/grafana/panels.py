"""Panels as the dashboards here want them, out of the typed builders of Grafana's SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.dashboard import Threshold as Step
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "relay"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Chosen on the dashboard, so that it can be imported anywhere; the first Prometheus there is, if nobody chooses."""

Queries = Mapping[str, str]
"""PromQL by the legend of what it finds."""
Panel = Builder[Any]


def queries(found: Queries, *, instant: bool = False) -> list[Builder[Dataquery]]:
    targets: list[Builder[Dataquery]] = []
    for number, (legend, expression) in enumerate(found.items()):
        target = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        targets.append(target.instant() if instant else target.range())
    return targets


def number(title: str, about: str, found: Queries, unit: str = "short", *, bad_from: float | None = None) -> Panel:
    """What is now, with the way there. ``bad_from``: red from this value on."""
    panel = stat.Panel().title(title).description(about).datasource(SOURCE).span(4).height(4)
    panel = panel.targets(queries(found)).unit(unit).min(0).no_value("0")
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
    steps = [Step(value=None, color="green")]
    if bad_from is not None:
        steps.append(Step(value=bad_from, color="red"))
    return panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))


def curve(
    title: str, about: str, found: Queries, unit: str = "short", *, width: int = 12, stacked: bool = False
) -> Panel:
    """What was when. ``stacked``: the parts of a whole."""
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).span(width).height(8)
    panel = panel.targets(queries(found)).unit(unit).min(0).show_points(VisibilityMode.NEVER)
    legend = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST)
    panel = panel.legend(legend.placement(LegendPlacement.BOTTOM).calcs([]))
    panel = panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(60)
    return panel


def listing(title: str, about: str, expression: str, *, width: int = 12) -> Panel:
    """The labels of what there is now."""
    target = prometheus.Dataquery().expr(expression).ref_id("A").instant().format(PromQueryFormat.TABLE)
    return table.Panel().title(title).description(about).datasource(SOURCE).span(width).height(8).targets([target])


def board(uid: str, title: str, about: str, panels: list[Panel]) -> dashboard.Dashboard:
    built = dashboard.Dashboard(title).uid(uid).description(about).tags([TAG]).readonly()
    built = built.time("now-1h", "now").refresh("10s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    built = built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    others = (
        dashboard.DashboardLink("Relay")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
    )
    built = built.link(others)
    for panel_id, panel in enumerate(panels, 1):
        built = built.with_panel(panel.id(panel_id))  # type: ignore[attr-defined]  # every panel has one
    return built
