"""The figures of a measurement, what to think of them, and how they look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from phone.bench.run import Measured
from phone.figures import percentile, percentiles
from phone.progress import table

Percentiles = Mapping[str, float]

LATE_SHARE = 0.25  # of a figure that may be the load's own lateness
WAITED_SHARE = 0.05  # of the time without a core
LEAST_TURNS = 100  # for a 99th percentile that is more than the slowest turn


@dataclass(frozen=True, slots=True)
class Result:
    """What ``--json`` prints, by these names in this order; None where a figure cannot be known.

    calls: opened. turns: with words. errors: calls that were not opened or were lost, turns without words or without an
    end, frames Twilio would refuse. first_words_ms: from a prompt to the first text. added_ms: of that, what was not
    the model's own time. ghost_frames: with text of an interrupted turn, after the interrupt was acknowledged.
    cpu_us_per_token: of the server's processes, by the tokens our endpoint wrote. rss_kb_per_call: what their memory
    grew by, by the calls.
    """

    calls: int
    turns: int
    errors: int
    first_words_ms: Percentiles
    added_ms: Percentiles | None
    ghost_frames: int
    cpu_us_per_token: float | None
    rss_kb_per_call: float | None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def result_of(measured: Measured) -> Result:
    answered, watched, model = measured.tally.answered, measured.watched, measured.model
    added = [turn.added for turn in answered if turn.added is not None]
    cpu = memory = None
    if watched and model is not None and model.tokens:
        cpu = round(watched[-1].cpu / model.tokens * 1e6, 1)
    if watched:
        memory = round((watched[-1].memory - measured.before) / 1024 / measured.opened, 1)
    return Result(
        calls=measured.opened,
        turns=len(answered),
        errors=measured.tally.errors.total(),
        first_words_ms=milliseconds([turn.first for turn in answered]),
        added_ms=milliseconds(added) if added else None,
        ghost_frames=measured.tally.ghosts,
        cpu_us_per_token=cpu,
        rss_kb_per_call=memory,
    )


def milliseconds(seconds: list[float]) -> dict[str, float]:
    return {name: round(value * 1e3, 2) for name, value in percentiles(seconds).items()}


def doubts(measured: Measured, result: Result) -> list[str]:
    """Why the figures are not to be trusted, a sentence each; nothing when they are."""
    found = []
    figures = {"first words": result.first_words_ms}
    if result.added_ms is not None:
        figures["added"] = result.added_ms
    elif measured.model is not None:
        found.append(
            "No word of the model endpoint was heard, so nothing is known of what was added: set OPENAI_BASE_URL of "
            "the server and start it again."
        )
    own = {
        "The callers of the load were": measured.lag,
        "The model endpoint was": measured.model.lag if measured.model else [],
    }
    for who, lag in own.items():
        late = milliseconds(lag)
        for name, share in figures.items():
            if bad := [p for p in share if late[p] > LATE_SHARE * share[p]]:
                p = bad[-1]
                found.append(
                    f"{who} late, by {late[p]:.1f} ms ({p}) beside {share[p]:.1f} ms ({name}): make the load smaller, "
                    "or give it a core."
                )
                break
    if measured.waited > WAITED_SHARE:
        found.append(f"The load waited for a core during {measured.waited:.0%} of the run: other programs use them.")
    if result.turns < LEAST_TURNS:
        found.append(f"{result.turns} turns are few: p99 says little below {LEAST_TURNS}.")
    return found


def summary(measured: Measured, result: Result) -> str:
    """Tables for a terminal."""
    rows = [["first words, ms", *_cells(result.first_words_ms)], ["added by the server, ms", *_cells(result.added_ms)]]
    if transit := list(measured.tally.transit):
        rows.append(["a token's way, ms", *_cells(milliseconds(transit))])
    facts = [["", ""], *facts_of(measured, result)]
    return table(["", "p50", "p95", "p99"], rows) + "\n" + table(facts[0], facts[1:])


def facts_of(measured: Measured, result: Result) -> list[list[str]]:
    """(name, figure) of all that is one number."""
    tally, seconds = measured.tally, measured.seconds
    late = percentile(measured.lag, 0.99) * 1e3
    facts = [
        ["calls", f"{result.calls}"],
        ["turns", f"{result.turns}"],
        ["turns a second", f"{result.turns / seconds:.1f}"],
        ["interrupts", f"{tally.interrupts}"],
        ["ghost frames", f"{result.ghost_frames}"],
        ["errors", f"{result.errors}"],
        *([f"  {kind}", f"{count}"] for kind, count in tally.errors.most_common()),
        ["CPU a token, us", _figure(result.cpu_us_per_token)],
        ["memory a call, kB", _figure(result.rss_kb_per_call)],
    ]
    if measured.watched:
        facts.append(["core busy", f"{measured.watched[-1].cpu / seconds:.0%}"])
    if model := measured.model:
        facts += [
            ["requests to the model", f"{model.requests}"],
            ["tokens it wrote", f"{model.tokens}"],
            *([f"  answers gone wrong: {name}", f"{count}"] for name, count in model.faults.items()),
        ]
    return [*facts, ["the load's own lateness, p99 ms", f"{late:.1f}"]]


def _cells(figures: Percentiles | None) -> list[str]:
    return ["-"] * 3 if figures is None else [f"{figures[p]:.1f}" for p in ("p50", "p95", "p99")]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
