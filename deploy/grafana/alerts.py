"""What somebody is to be woken by, or told in the morning (``severity``)."""

from __future__ import annotations

from typing import Any, Literal

from grafana_foundation_sdk.builders import alerting, prometheus

from deploy.grafana.boards import grown, quantile, rate

TEN = "[10m]"
REQUESTS = "gen_ai_client_operation_duration_seconds_count"
FAILED = '{outcome="failed"}'
ENDED_BADLY = '{error_type!~"|cancelled"}'
CUT = '{reason=~"dropped|error|slow"}'
BUT_STRANGERS = '{reason!="rate"}'


def rule(
    name: str,
    expression: str,
    summary: str,
    todo: str,
    *,
    lasting: str = "5m",
    severity: Literal["page", "ticket"] = "ticket",
) -> alerting.Rule:
    """``lasting``: how long it is so before somebody is told."""
    query = alerting.Query("A").model(prometheus.Dataquery().expr(expression).ref_id("A").instant())
    built = alerting.Rule(name).with_query(query).for_val(lasting).labels({"severity": severity})
    return built.annotations({"summary": summary, "description": todo})


def group() -> alerting.RuleGroup:
    turns = rate("relay_turns_total", over=TEN)
    requests = rate(REQUESTS, over=TEN)
    rules = [
        rule(
            "RelayDown",
            'up{job="relay"} == 0',
            "{{ $labels.instance }} does not answer Prometheus",
            "Its calls are gone, or will be. Look at the platform and at the end of its log.",
            lasting="1m",
            severity="page",
        ),
        rule(
            "RelayFirstWordsSlow",
            f"{quantile(0.95, 'relay_first_text_seconds', over=TEN)} > 2 and 600 * {turns} > 20",
            "One turn in twenty waits {{ $value | humanizeDuration }} or longer for its first words",
            "The dashboard's slowest turns show which segment it is. Model: see the provider's status, and "
            "OPENAI_FALLBACK_MODEL. Queue: the event loop.",
            severity="page",
        ),
        rule(
            "RelayTurnsFailing",
            f"{rate('relay_turns_total', where=FAILED, over=TEN)} / {turns} > 0.05 and "
            f"{grown('relay_turns_total', where=FAILED, over=TEN)} > 3",
            "{{ $value | humanizePercentage }} of the turns end in an apology",
            "relay_turn_failures_total tells why by its code; most often the model's provider is away or refuses.",
            severity="page",
        ),
        rule(
            "RelayGhostFrames",
            f"{grown('relay_ghost_frames_total', over=TEN)} > 0",
            "Words were on their way to a caller who had cut them off",
            "They were stopped, but a part of the program lost track of its turn: a bug, to be reported with the log.",
            lasting="0m",
        ),
        rule(
            "RelayEventLoopLagging",
            f"{quantile(0.99, 'relay_event_loop_lag_seconds', 'instance', over='[5m]')} > 0.1",
            "The event loop of {{ $labels.instance }} runs {{ $value | humanizeDuration }} late",
            "Every call of the process waits that long, again and again. More processes, or lower MAX_CALLS.",
            severity="page",
        ),
        rule(
            "RelayModelErrors",
            f"{rate(REQUESTS, where=ENDED_BADLY, over=TEN)} / {requests} > 0.1 and "
            f"{grown(REQUESTS, where=ENDED_BADLY, over=TEN)} > 3",
            "{{ $value | humanizePercentage }} of the requests to models fail",
            "The label error_type tells how. Calls go on by a second request or by the fallback, later than usual.",
        ),
        rule(
            "RelayOnFallback",
            f"{rate('relay_fallback_total', over=TEN)} / {turns} > 0.2 and "
            f"{grown('relay_fallback_total', over=TEN)} > 3",
            "{{ $value | humanizePercentage }} of the turns are answered by the fallback model",
            "relay_fallback_total tells why by its reason.",
            lasting="15m",
        ),
        rule(
            "RelayToolFailing",
            "("
            + rate("relay_tool_seconds_count", "tool", where='{outcome=~"failed|timeout"}', over=TEN)
            + " / "
            + rate("relay_tool_seconds_count", "tool", over=TEN)
            + " > 0.2) and "
            + grown("relay_tool_seconds_count", "tool", over=TEN)
            + " > 5",
            "{{ $labels.tool }} fails {{ $value | humanizePercentage }} of the times it is called",
            "Its log records tell why. What stands behind it is perhaps away.",
            lasting="10m",
        ),
        rule(
            "RelayTwilioErrors",
            f"{grown('relay_peer_errors_total', 'code', over=TEN)} > 5",
            "Twilio reports error {{ $labels.code }} in calls",
            "The code is explained in Twilio's list of errors; what calls need is checked by: relay doctor",
            lasting="0m",
        ),
        rule(
            "RelayCallsCut",
            f"{rate('relay_calls_ended_total', where=CUT, over=TEN)} / "
            f"{rate('relay_calls_ended_total', over=TEN)} > 0.1",
            "{{ $value | humanizePercentage }} of the calls lose their connection",
            "Twilio opens another where it can. A proxy that closes idle websockets is a usual cause.",
            lasting="10m",
        ),
        rule(
            "RelayRefusing",
            f"{grown('relay_refused_total', 'reason', where=BUT_STRANGERS, over=TEN)} > 0",
            "Callers are turned away: {{ $labels.reason }}",
            "busy: MAX_CALLS of every process are reached. budget_day: BUDGET_TOKENS_PER_DAY is used up.",
            lasting="0m",
        ),
        rule(
            "RelayWithoutRedis",
            f"{grown('relay_figures_failures_total', 'instance', over='[5m]')} > 30",
            "{{ $labels.instance }} cannot write to Redis",
            "Calls go on, but what is said in them waits in memory, and none can be resumed elsewhere.",
            severity="page",
        ),
    ]
    return alerting.RuleGroup("relay").rules(list(rules))


def prometheus_rules() -> dict[str, Any]:
    """The rules as Prometheus reads them."""
    built = group().build()
    rules = []
    for each in built.rules or []:
        assert each.data is not None
        [query] = each.data
        assert query.model is not None
        rules.append(
            {
                "alert": each.title,
                "expr": query.model.expr,  # type: ignore[attr-defined]  # it is a query of Prometheus's
                "for": each.for_val,
                "labels": each.labels,
                "annotations": each.annotations,
            }
        )
    return {"groups": [{"name": built.title, "rules": rules}]}
