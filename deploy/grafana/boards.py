"""What Grafana shows of the relay. Every query is over all processes unless it says ``instance``."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Panel, board, curve, listing, number

STEP = "[$__rate_interval]"


def rate(metric: str, by: str = "", where: str = "", over: str = STEP) -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{where}{over}))"


def grown(metric: str, by: str = "", where: str = "", over: str = STEP) -> str:
    return f"sum{f' by ({by})' if by else ''} (increase({metric}{where}{over}))"


def quantile(share: float, histogram: str, by: str = "", over: str = STEP) -> str:
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', over=over)})"


def mean(histogram: str, by: str) -> str:
    return f"{rate(f'{histogram}_sum', by)} / {rate(f'{histogram}_count', by)}"


FIRST_WORDS = {f"p{share * 100:.0f}": quantile(share, "relay_first_text_seconds") for share in (0.5, 0.95, 0.99)}


def overview() -> Dashboard:
    panels: list[Panel] = [
        number("Calls in progress", "Of all processes.", {"calls": "sum(relay_calls_active)"}),
        number("Turns a minute", "", {"turns": f"60 * {rate('relay_turns_total')}"}),
        number(
            "First words, 95 %",
            "From the final prompt read to the first frame with text written.",
            {"p95": FIRST_WORDS["p95"]},
            "s",
            bad_from=2,
        ),
        number(
            "Turns that failed",
            "In the time shown; each was an apology to a caller.",
            {"failed": grown("relay_turns_total", where='{outcome="failed"}', over="[$__range]")},
            bad_from=1,
        ),
        number(
            "Frames after an interrupt",
            "In the time shown. Text of a turn that was over: anything but 0 is a bug.",
            {"ghosts": grown("relay_ghost_frames_total", over="[$__range]")},
            bad_from=1,
        ),
        number(
            "Money an hour",
            "By PRICE_INPUT, PRICE_CACHED and PRICE_OUTPUT; nothing while they are not set.",
            {"cost": f"3600 * {rate('relay_cost_total')}"},
        ),
        curve("First words", "From the final prompt read to the first frame with text written.", FIRST_WORDS, "s"),
        curve(
            "Where a turn spends its time",
            "Means of the contiguous parts of the way to the first words; tools with the rounds that asked for them.",
            {"{{segment}}": mean("relay_turn_segment_seconds", "segment")},
            "s",
            stacked=True,
        ),
        curve(
            "Turns by outcome",
            "A minute.",
            {"{{outcome}}": f"60 * {rate('relay_turns_total', 'outcome')}"},
            stacked=True,
        ),
        curve("Calls in progress", "By process.", {"{{instance}}": "relay_calls_active"}, stacked=True),
        curve(
            "What went wrong",
            "A minute.",
            {
                "failed: {{code}}": f"60 * {rate('relay_turn_failures_total', 'code')}",
                "fallback: {{reason}}": f"60 * {rate('relay_fallback_total', 'reason')}",
                "Twilio: {{code}}": f"60 * {rate('relay_peer_errors_total', 'code')}",
                "refused: {{reason}}": f"60 * {rate('relay_refused_total', 'reason')}",
            },
        ),
        curve("How calls end", "A minute.", {"{{reason}}": f"60 * {rate('relay_calls_ended_total', 'reason')}"}),
    ]
    return board("relay-overview", "Relay: overview", "How callers are served.", panels)


def turns() -> Dashboard:
    panels: list[Panel] = [
        curve(
            "Segments, 95 %",
            "Of each part of the way to the first words by itself: they do not add up.",
            {"{{segment}}": quantile(0.95, "relay_turn_segment_seconds", "segment")},
            "s",
        ),
        curve(
            "Interrupts",
            "From an interrupt read to the turn cancelled and its talk cycle closed.",
            {"p99": quantile(0.99, "relay_interrupt_seconds"), "p50": quantile(0.5, "relay_interrupt_seconds")},
            "s",
        ),
        curve("Tools, 95 %", "", {"{{tool}}": quantile(0.95, "relay_tool_seconds", "tool")}, "s"),
        curve(
            "Tools by outcome",
            "Calls a minute.",
            {"{{tool}} {{outcome}}": f"60 * {rate('relay_tool_seconds_count', 'tool, outcome')}"},
        ),
        curve(
            "Interrupts and ghosts",
            "A minute.",
            {
                "interrupts": f"60 * {rate('relay_interrupts_total')}",
                "ghost frames": f"60 * {rate('relay_ghost_frames_total')}",
            },
        ),
        curve(
            "Frames not acted on",
            "A minute.",
            {"{{reason}}": f"60 * {rate('relay_frames_rejected_total', 'reason')}"},
        ),
        curve(
            "Requests ahead of the final prompt",
            "A minute; what was discarded or failed cost tokens that nobody heard.",
            {"{{result}}": f"60 * {rate('relay_speculation_total', 'result')}"},
        ),
        curve("Tokens that nobody heard", "A minute.", {"tokens": f"60 * {rate('relay_wasted_tokens_total')}"}),
    ]
    return board("relay-turns", "Relay: turns", "Where turns spend their time.", panels)


def models() -> Dashboard:
    operation, model = "gen_ai_client_operation", "gen_ai_request_model"
    legend, kinds = f"{{{{{model}}}}}", f"{model}, gen_ai_token_type"
    ended = rate(f"{operation}_duration_seconds_count", f"{model}, error_type")
    panels: list[Panel] = [
        curve(
            "First piece of an answer, 95 %",
            "From a request begun.",
            {legend: quantile(0.95, f"{operation}_time_to_first_chunk_seconds", model)},
            "s",
        ),
        curve(
            "First piece of an answer, half of them",
            "From a request begun.",
            {legend: quantile(0.5, f"{operation}_time_to_first_chunk_seconds", model)},
            "s",
        ),
        curve(
            "From piece to piece",
            "Means of finished answers.",
            {legend: mean(f"{operation}_time_per_output_chunk_seconds", model)},
            "s",
        ),
        curve(
            "Requests by how they ended",
            "A minute; without a word: well; cancelled: by us, as after an interrupt.",
            {f"{legend} {{{{error_type}}}}": f"60 * {ended}"},
        ),
        curve(
            "Tokens",
            "A minute; those that the provider had cached are among the input.",
            {"{{kind}}": f"60 * {rate('relay_tokens_total', 'kind')}"},
        ),
        curve("Money", "An hour.", {"{{kind}}": f"3600 * {rate('relay_cost_total', 'kind')}"}, stacked=True),
        curve(
            "Tokens of a request, 95 %",
            "",
            {f"{legend} {{{{gen_ai_token_type}}}}": quantile(0.95, "gen_ai_client_token_usage", kinds)},
        ),
        curve(
            "Late, silent, replaced",
            "A minute.",
            {
                "hedge won by {{winner}}": f"60 * {rate('relay_hedges_total', 'winner')}",
                "taken up again": f"60 * {rate('relay_stalls_total')}",
                "fallback: {{reason}}": f"60 * {rate('relay_fallback_total', 'reason')}",
            },
        ),
    ]
    return board("relay-models", "Relay: models", "How the models answer, and what they cost.", panels)


def processes() -> Dashboard:
    panels: list[Panel] = [
        curve(
            "Event loop lag, 99 %",
            "How much later than asked a timer ran: what every call of the process waits.",
            {"{{instance}}": quantile(0.99, "relay_event_loop_lag_seconds", "instance")},
            "s",
        ),
        curve("CPU", "", {"{{instance}}": rate("process_cpu_seconds_total", "instance")}, "percentunit"),
        curve("Memory", "", {"{{instance}}": "process_resident_memory_bytes"}, "bytes"),
        curve("Open files", "Calls are two each, or more.", {"{{instance}}": "process_open_fds"}),
        curve("Calls in progress", "", {"{{instance}}": "relay_calls_active"}),
        curve(
            "Sockets of live chats",
            "",
            {"{{instance}}": "relay_chat_sockets"},
        ),
        curve(
            "Figures not written",
            "Times a minute that the dashboard's figures waited for Redis, and minutes that are lost for it.",
            {
                "{{instance}}": f"60 * {rate('relay_figures_failures_total', 'instance')}",
                "{{instance}} lost": grown("relay_figures_lost_total", "instance"),
            },
        ),
        listing("Versions", "What runs.", "count by (version, python) (relay_build_info)"),
    ]
    return board("relay-processes", "Relay: processes", "How the processes are.", panels)


DASHBOARDS = {"overview": overview, "turns": turns, "models": models, "processes": processes}
"""By the names of their files."""
