"""The Responses API by HTTP and by websocket, beside each other in one run: what each adds, and what a token costs.

The same calls as in the latency benchmark, but the relay only against itself. With 300 calls the pauses between turns
are three times as long, so that the core is about as busy as with 100: what is compared is how many calls there are,
not how full the machine is. One call has short pauses and more turns, since percentiles need some.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.comparison import Load, Run, line
from benchmarks.latency import measure
from benchmarks.processes import Cores, Endpoint
from benchmarks.systems import ours
from phone.progress import say, table

TRANSPORTS = ("http", "websocket")
SIZES = (1, 100, 300)
FULL_LOAD = 100  # calls with pauses as they are
SHORTEST = 0.2  # of them
TURNS = {1: 20}


async def transport(load: Load, sizes: Sequence[int]) -> bool:
    """Runs both at every size, prints and saves it. There is no target: the figures decide what is worth setting."""
    cores = Cores.choose()
    placed = str(cores)
    cores.pin_load()
    say(f"calls: {', '.join(map(str, sizes))}; {load.turns} measured turns each, {load.runs} runs; {placed}")
    runs: list[tuple[int, Run]] = []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        async with Endpoint.start(cores.load) as endpoint:
            for number in range(load.runs):
                order = TRANSPORTS if number % 2 == 0 else tuple(reversed(TRANSPORTS))
                for calls in sizes:
                    for name in order:
                        place = Path(folder) / f"{number}-{calls}-{name}"
                        place.mkdir()
                        variables = {"OPENAI_API": "responses", "OPENAI_TRANSPORT": name, "FIRST_TOKEN_DEADLINE": "30"}
                        label = f"run {number + 1}, {calls} calls, {name}"
                        part = replace(load, calls=calls, turns=max(load.turns, TURNS.get(calls, 0)))
                        async with ours(endpoint.url, cores.server, place, variables=variables) as system:
                            system.name = name
                            run = await measure(system, endpoint, part, label, max(SHORTEST, calls / FULL_LOAD))
                        runs.append((calls, run))
                        say(f"{label}: {line(run)}")
    say()
    _report(runs, sizes, load, placed)
    return True


def _report(runs: Sequence[tuple[int, Run]], sizes: Sequence[int], load: Load, cores: str) -> None:
    rows: list[list[str]] = []
    ratios: dict[str, dict[str, float]] = {}
    for calls in sizes:
        found: dict[str, dict[str, float]] = {}
        for name in TRANSPORTS:
            of = [run for size, run in runs if size == calls and run.system == name]
            word = [value * 1e3 for run in of for value in run.word]
            token = [value * 1e3 for run in of for value in run.token]
            turns = sum(len(run.token) for run in of)
            found[name] = {
                "first_token_p50": figures.percentile(token, 0.5),
                "first_token_p99": figures.percentile(token, 0.99),
                "first_word_p50": figures.percentile(word, 0.5),
                "first_word_p99": figures.percentile(word, 0.99),
                "cpu": figures.median([run.cpu_a_token * 1e6 for run in of]),
            }
            by_socket = sum(run.by_socket for run in of)
            rows.append(
                [
                    f"{calls} {name}",
                    *(f"{value:.2f}" for value in list(found[name].values())[:4]),
                    f"{found[name]['cpu']:.1f}",
                    f"{of[-1].memory / 1e6:.0f}",
                    f"{of[-1].connections}",
                    f"{by_socket / turns:.0%}" if turns else "-",
                    f"{max(run.waited / run.seconds for run in of):.0%}",
                    str(sum(run.lost for run in of)),
                ]
            )
        ratios[str(calls)] = {
            key: figures.ratio(found["websocket"][key], found["http"][key]) for key in found["websocket"]
        }
    say("Added to the model's first token and to its first whole word, ms, all runs together; CPU a token, us")
    heads = ["calls", "token p50", "p99", "word p50", "p99", "us/token", "MB", "conns", "by ws", "waited", "lost"]
    say(table(heads, rows))
    say()
    heads = ["websocket to http", "token p50", "p99", "word p50", "p99", "us/token"]
    say(table(heads, [[f"{calls} calls", *(f"{value:.2f}" for value in ratios[calls].values())] for calls in ratios]))
    saved: dict[str, Any] = {
        "load": {name: getattr(load, name) for name in Load.__slots__ if name != "calls"},
        "sizes": list(sizes),
        "cores": cores,
        "runs": [{"calls": calls, **run.figures()} for calls, run in runs],
        "ratios": ratios,
    }
    curves = {
        f"{calls} {name}": [
            value * 1e3 for size, run in runs if size == calls and run.system == name for value in run.word
        ]
        for calls in sizes[-1:]
        for name in TRANSPORTS
    }
    path = figures.save("transport", saved, figures.curves("Added to the model's first whole word", "ms", curves))
    say(f"saved {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
