"""Dashboards and alert rules: what is checked in is what is written, and every query finds what the program measures.

PromQL itself is checked by promtool, of Debian's package ``prometheus``; where that is not installed the tests say so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.values import CHECKOUT
from deploy.grafana.boards import DASHBOARDS
from deploy.grafana.make import files
from relay.models.base import Usage
from relay.prices import Prices
from relay.telemetry import Telemetry
from tests.deploy.files import compose, in_yaml, mounts
from tests.metrics import samples

GRAFANA = CHECKOUT / "deploy" / "grafana"
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}
SCRAPED = {"up": frozenset[str]()}  # what Prometheus adds itself
EVERYWHERE = {"le", "instance", "job"}  # labels of every bucket, and of all that is scraped


def promtool(*arguments: str, standard_input: bytes | None = None) -> str:
    """What it says, where it has no objection."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus): queries are not checked")
    done = subprocess.run([program, *arguments], input=standard_input, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def boards() -> list[dict[str, Any]]:
    return [json.loads((GRAFANA / f"{name}.json").read_text()) for name in DASHBOARDS]


def alerts() -> list[dict[str, Any]]:
    [group] = in_yaml("deploy/alerts.yml")["groups"]
    return list(group["rules"])


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel and alert, with Grafana's variables filled in."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
                yield f"{board['title']}, {panel['title']}", expression
    for alert in alerts():
        yield alert["alert"], alert["expr"]


def named(expression: str) -> tuple[set[str], set[str]]:
    """(metrics, labels) of some PromQL."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    labels = {label for group in re.findall(r"\bby\s*\(([^)]*)\)", bare) for label in re.findall(r"\w+", group)}
    labels |= {label for matcher in re.findall(r"\{([^}]*)\}", bare) for label in re.findall(r"(\w+)\s*[=!]", matcher)}
    rest = re.sub(r"\bby\s*\([^)]*\)|\{[^}]*\}", " ", bare)
    return set(re.findall(r"\b([a-zA-Z_]\w*)\b(?!\s*\()", rest)) - KEYWORDS, labels


# -- what is checked in


def test_files_are_up_to_date() -> None:
    """They are what ``python -m deploy.grafana.make`` writes, and there is no other dashboard."""
    made = files()
    for path, content in made.items():
        assert path.read_text(encoding="utf-8") == content, f"python -m deploy.grafana.make has not been run: {path}"
    assert set(GRAFANA.glob("**/*.json")) == {path for path in made if path.suffix == ".json"}


def test_panels_have_a_place_each() -> None:
    """No panel lies on another or beyond the edge, each is known by a number, and asks the source that is chosen."""
    for board in boards():
        taken: set[tuple[int, int]] = set()
        [source] = board["templating"]["list"]
        assert (source["type"], source["query"]) == ("datasource", "prometheus")
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert cells and not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({board["uid"] for board in boards()}) == len(DASHBOARDS)


def test_queries_name_what_there_is() -> None:
    """Every metric of a query is one of the program's, and every label is one of a metric of that query."""
    known = samples() | SCRAPED
    for where, expression in expressions():
        metrics, labels = named(expression)
        assert metrics and metrics <= known.keys(), (where, metrics - known.keys())
        assert labels <= EVERYWHERE.union(*(known[metric] for metric in metrics)), (where, labels)


def test_what_a_query_names_is_found() -> None:
    """The check above sees metrics and labels where they stand, and no function or number."""
    expression = (
        'histogram_quantile(0.9, sum by (le, tool) (rate(a_bucket{x="b_c",y=~"d|e"}[5m]))) > 2e3 and f_total > 1'
    )
    assert named(expression) == ({"a_bucket", "f_total"}, {"le", "tool", "x", "y"})


def test_compose_has_them() -> None:
    """Grafana reads the dashboards from the folder that compose mounts, and opens with one that exists; Prometheus
    reads the rules beside its configuration."""
    [provider] = in_yaml("deploy/grafana/dashboards.yml")["providers"]
    [source] = in_yaml("deploy/grafana/datasource.yml")["datasources"]
    folders = dict(mounts())
    assert folders["./deploy/grafana"] == provider["options"]["path"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    home = compose()["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, name = home.rpartition("/")
    assert folder == provider["options"]["path"]
    assert (GRAFANA / name).is_file()
    config = Path(folders["./deploy/prometheus.yml"])
    assert [config.parent / rules for rules in in_yaml("deploy/prometheus.yml")["rule_files"]] == [
        Path(folders["./deploy/alerts.yml"])
    ]


# -- what promtool says


def test_promtool_reads_the_rules() -> None:
    """The alert rules, and the configuration beside them, are ones that Prometheus takes."""
    said = promtool("check", "rules", str(CHECKOUT / "deploy" / "alerts.yml"))
    assert f"{len(alerts())} rules found" in said
    promtool("check", "config", "--syntax-only", str(CHECKOUT / "deploy" / "prometheus.yml"))


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    """The PromQL of every panel and alert is valid."""
    rules = [{"record": f"query:{number}", "expr": each} for number, (_, each) in enumerate(expressions())]
    assert len(rules) > 50
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "queries.yml"))


def test_promtool_has_nothing_against_the_names() -> None:
    """What /metrics shows is well-formed and keeps to Prometheus's rules for names and units."""
    telemetry = Telemetry("1.2.3", Prices(1, 1, 1))
    telemetry.spent(Usage(1, 1, 1))
    telemetry.tool.labels("book", "ok").observe(0.1)
    assert promtool("check", "metrics", standard_input=telemetry.render()) == ""


BUCKETS = ("0.05", "1.0", "2.0", "3.0", "+Inf")


def slow(metric: str, labels: str = "") -> dict[str, str]:
    """A histogram of which every observation is between two and three seconds."""
    rising = {bound: "0+60x60" if bound in ("3.0", "+Inf") else "0x60" for bound in BUCKETS}
    return {f'{metric}_bucket{{le="{bound}"{labels}}}': values for bound, values in rising.items()}


TURNS = {'relay_turns_total{outcome="done"}': "0+60x60"}
OPERATIONS = "gen_ai_client_operation_duration_seconds_count"
FIRES: dict[str, tuple[dict[str, str], str]] = {
    "RelayDown": ({'up{job="relay",instance="a"}': "0x60"}, 'instance="a", job="relay"'),
    "RelayFirstWordsSlow": ({**slow("relay_first_text_seconds"), **TURNS}, ""),
    "RelayTurnsFailing": ({**TURNS, 'relay_turns_total{outcome="failed"}': "0+6x60"}, ""),
    "RelayGhostFrames": ({"relay_ghost_frames_total": "0x50 1x10"}, ""),
    "RelayEventLoopLagging": (slow("relay_event_loop_lag_seconds", ',instance="a"'), 'instance="a"'),
    "RelayModelErrors": (
        {f'{OPERATIONS}{{error_type=""}}': "0+60x60", f'{OPERATIONS}{{error_type="model_cut"}}': "0+10x60"},
        "",
    ),
    "RelayOnFallback": ({**TURNS, 'relay_fallback_total{reason="late"}': "0+20x60"}, ""),
    "RelayToolFailing": (
        {f'relay_tool_seconds_count{{tool="book",outcome="{each}"}}': "0+6x60" for each in ("ok", "timeout")},
        'tool="book"',
    ),
    "RelayTwilioErrors": ({'relay_peer_errors_total{code="64105"}': "0+2x60"}, 'code="64105"'),
    "RelayCallsCut": (
        {f'relay_calls_ended_total{{reason="{each}"}}': "0+6x60" for each in ("completed", "dropped")},
        "",
    ),
    "RelayRefusing": ({'relay_refused_total{reason="busy"}': "0x50 1x10"}, 'reason="busy"'),
    "RelayWithoutRedis": ({'relay_figures_failures_total{instance="a"}': "0+30x60"}, 'instance="a"'),
}
"""By alert: a load (series by the minute for an hour) in which it fires, and the labels it then has."""

WELL = {
    'up{job="relay",instance="a"}': "1x60",
    'relay_first_text_seconds_bucket{le="0.5"}': "0+60x60",
    'relay_first_text_seconds_bucket{le="+Inf"}': "0+60x60",
    'relay_event_loop_lag_seconds_bucket{le="0.001",instance="a"}': "0+240x60",
    'relay_event_loop_lag_seconds_bucket{le="+Inf",instance="a"}': "0+240x60",
    **TURNS,
    'relay_turns_total{outcome="failed"}': "0x60",
    'relay_turns_total{outcome="interrupted"}': "0+20x60",
    "relay_ghost_frames_total": "0x60",
    f'{OPERATIONS}{{error_type=""}}': "0+60x60",
    f'{OPERATIONS}{{error_type="cancelled"}}': "0+20x60",
    'relay_fallback_total{reason="late"}': "0+1x60",
    'relay_tool_seconds_count{tool="book",outcome="ok"}': "0+10x60",
    'relay_tool_seconds_count{tool="book",outcome="failed"}': "0+1x60",
    'relay_peer_errors_total{code="other"}': "0x60",
    'relay_calls_ended_total{reason="completed"}': "0+10x60",
    'relay_refused_total{reason="rate"}': "0+100x60",
    'relay_refused_total{reason="busy"}': "0x60",
    'relay_figures_failures_total{instance="a"}': "0x20 1x40",
}


def load(series: dict[str, str], fires: str, labels: str = "") -> dict[str, Any]:
    """A test of promtool's: at the end of the hour this alert, and no other, is firing; "" none."""
    [severity] = [alert["labels"]["severity"] for alert in alerts() if alert["alert"] == fires] or [""]
    which = f'ALERTS{{alertname="{fires}", alertstate="firing", severity="{severity}"{labels and f", {labels}"}}}'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": "59m",
                "exp_samples": [{"labels": which, "value": 1}] if fires else [],
            }
        ],
    }


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Each fires in a load that is bad in its way, no other does then, and none in a good one."""
    assert FIRES.keys() == {alert["alert"] for alert in alerts()}
    tests = [load(series, name, labels) for name, (series, labels) in FIRES.items()]
    rules = [str(CHECKOUT / "deploy" / "alerts.yml")]
    content = {"rule_files": rules, "evaluation_interval": "1m", "tests": [*tests, load(WELL, "")]}
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(content))
    promtool("test", "rules", str(tmp_path / "alerts.test.yml"))
