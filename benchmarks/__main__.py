"""``python -m benchmarks``: all of them, or the one that is named. Exit status 1 when a target was missed."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import click
import uvloop

from benchmarks.browsers import Plan as Watched
from benchmarks.browsers import browsers as run_browsers
from benchmarks.comparison import Load
from benchmarks.debate import Plan as Debates
from benchmarks.debate import debate as run_debate
from benchmarks.faults import Plan as Faults
from benchmarks.faults import faults as run_faults
from benchmarks.idle import idle as run_idle
from benchmarks.interrupts import Plan
from benchmarks.interrupts import interrupts as run_interrupts
from benchmarks.latency import latency as run_latency
from benchmarks.live_chat import Plan as Chatting
from benchmarks.live_chat import live_chat as run_live_chat
from benchmarks.noise import KINDS
from benchmarks.noisy import Plan as Noise
from benchmarks.noisy import noisy as run_noisy
from benchmarks.opponents import Plan as Opposing
from benchmarks.opponents import load_opponents
from benchmarks.opponents import opponents as run_opponents
from benchmarks.processes import BenchError
from benchmarks.reconnects import Plan as Returning
from benchmarks.reconnects import reconnects as run_reconnects
from benchmarks.soak import Plan as Soaking
from benchmarks.soak import soak as run_soak
from benchmarks.speculation import Plan as Speaking
from benchmarks.speculation import speculation as run_speculation
from benchmarks.systems import SYSTEMS
from benchmarks.telemetry import telemetry as run_telemetry
from benchmarks.transport import SIZES
from benchmarks.transport import transport as run_transport
from benchmarks.warm import Plan as Warm
from benchmarks.warm import warm as run_warm
from phone.driven import NotDriven
from phone.load import CallLost

LIMIT_SECONDS = 3600.0

LOAD, PLAN, SPEAKING, FAULTS, WARM = Load(), Plan(), Speaking(), Faults(), Warm()
NOISE, SOAKING, WATCHED, CHATTING, RETURNING = Noise(), Soaking(), Watched(), Chatting(), Returning()
DEBATES = Debates()
TRANSPORT = Load(turns=4, runs=2)
TELEMETRY = Load()
SIZE = click.IntRange(min=1)


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """What the relay costs and adds, measured on this machine and on loopback only. Without a command: all of them."""
    if context.invoked_subcommand is None:
        _run(
            lambda: run_latency(LOAD, list(SYSTEMS)),
            lambda: run_interrupts(PLAN),
            lambda: run_speculation(SPEAKING),
            lambda: run_faults(FAULTS),
            lambda: run_warm(WARM),
            lambda: run_noisy(NOISE),
            run_idle,
            lambda: run_transport(TRANSPORT, SIZES),
            lambda: run_telemetry(TELEMETRY),
            lambda: run_debate(DEBATES),
            lambda: run_browsers(WATCHED),
            lambda: run_live_chat(CHATTING),
            lambda: run_reconnects(RETURNING),
        )


@main.command()
@click.option("--calls", type=SIZE, default=LOAD.calls, show_default=True)
@click.option("--turns", type=SIZE, default=LOAD.turns, show_default=True, help="measured turns a call")
@click.option("--runs", type=SIZE, default=LOAD.runs, show_default=True)
@click.option("--first", default=LOAD.first, show_default=True, help="the model's first token, seconds: MEDIAN[:P95]")
@click.option("--pace", default=LOAD.pace, show_default=True, help="between its tokens, seconds: MEDIAN[:P95]")
@click.option("--tokens", type=SIZE, default=LOAD.tokens, show_default=True, help="length of an answer")
@click.option("--seed", type=int, default=LOAD.seed, show_default=True)
@click.option("--only", type=click.Choice(list(SYSTEMS)), multiple=True, help="leave the others out (may be repeated)")
def latency(
    calls: int, turns: int, runs: int, first: str, pace: str, tokens: int, seed: int, only: tuple[str, ...]
) -> None:
    """What ours, the peer and the floor add to the model's first token, and their CPU a token."""
    load = Load(calls, turns, runs, first, pace, tokens, seed)
    names = [name for name in SYSTEMS if not only or name in only]
    _run(lambda: run_latency(load, names))


@main.command()
@click.option("--count", type=SIZE, default=PLAN.count, show_default=True)
@click.option("--calls", type=SIZE, default=PLAN.calls, show_default=True, help="calls at a time")
@click.option("--seed", type=int, default=PLAN.seed, show_default=True)
def interrupts(count: int, calls: int, seed: int) -> None:
    """Random interrupts: no word of an old turn may follow."""
    _run(lambda: run_interrupts(Plan(count, min(calls, count), seed)))


@main.command()
@click.option("--calls", type=SIZE, default=SPEAKING.calls, show_default=True, help="with it, and as many without")
@click.option("--turns", type=SIZE, default=SPEAKING.turns, show_default=True, help="of each kind, a call")
@click.option(
    "--first", default=SPEAKING.first, show_default=True, help="the model's first token, seconds: MEDIAN[:P95]"
)
@click.option("--pace", default=SPEAKING.pace, show_default=True, help="between its tokens, seconds: MEDIAN[:P95]")
@click.option("--gap", type=float, default=SPEAKING.gap, show_default=True, help="between two partial prompts, seconds")
@click.option("--seed", type=int, default=SPEAKING.seed, show_default=True)
def speculation(calls: int, turns: int, first: str, pace: str, gap: float, seed: int) -> None:
    """How much earlier the first words come when partial prompts are asked ahead, and what that costs."""
    _run(lambda: run_speculation(Speaking(calls, turns, first, pace, gap=gap, seed=seed)))


@main.command()
@click.option("--turns", type=SIZE, default=FAULTS.turns, show_default=True, help="of each of the two runs")
@click.option("--calls", type=SIZE, default=FAULTS.calls, show_default=True, help="calls at a time")
@click.option("--seed", type=int, default=FAULTS.script.seed, show_default=True)
def faults(turns: int, calls: int, seed: int) -> None:
    """A model that is late, stalls, is cut, fails: every turn ends in speech, in time, nothing is said twice."""
    _run(lambda: run_faults(Faults(turns, min(calls, turns), script=replace(FAULTS.script, seed=seed))))


@main.command()
@click.option("--relays", type=SIZE, default=WARM.relays, show_default=True, help="side by side")
@click.option("--rounds", type=SIZE, default=WARM.rounds, show_default=True)
@click.option("--one-way", type=float, default=WARM.one_way, show_default=True, help="seconds to the endpoint")
@click.option("--quiet", type=float, default=WARM.quiet, show_default=True, help="seconds nobody speaks")
@click.option("--keep-alive", type=float, default=WARM.keep_alive, show_default=True, help="of the endpoint, seconds")
def warm(relays: int, rounds: int, one_way: float, quiet: float, keep_alive: float) -> None:
    """Whether a turn ever waits for a connection to an endpoint behind TLS."""
    _run(lambda: run_warm(Warm(relays, rounds, one_way, keep_alive, quiet)))


@main.command()
@click.option("--calls", type=SIZE, default=500, show_default=True)
def idle(calls: int) -> None:
    """Memory a call takes while nobody speaks."""
    _run(lambda: run_idle(calls))


@main.command()
@click.option("--calls", type=SIZE, multiple=True, default=SIZES, show_default=True, help="a size (may be repeated)")
@click.option("--turns", type=SIZE, default=TRANSPORT.turns, show_default=True, help="measured turns a call")
@click.option("--runs", type=SIZE, default=TRANSPORT.runs, show_default=True)
@click.option("--tokens", type=SIZE, default=TRANSPORT.tokens, show_default=True, help="length of an answer")
@click.option("--seed", type=int, default=TRANSPORT.seed, show_default=True)
def transport(calls: tuple[int, ...], turns: int, runs: int, tokens: int, seed: int) -> None:
    """The Responses API by HTTP and by websocket: what each adds, and its CPU a token."""
    load = Load(turns=turns, runs=runs, tokens=tokens, seed=seed)
    _run(lambda: run_transport(load, calls))


@main.command()
@click.option("--calls", type=SIZE, default=TELEMETRY.calls, show_default=True, help="with, and as many without")
@click.option("--turns", type=SIZE, default=TELEMETRY.turns, show_default=True, help="measured turns a call")
@click.option("--runs", type=SIZE, default=TELEMETRY.runs, show_default=True)
@click.option("--seed", type=int, default=TELEMETRY.seed, show_default=True)
def telemetry(calls: int, turns: int, runs: int, seed: int) -> None:
    """What it costs to put together, keep and tell what happens in calls."""
    _run(lambda: run_telemetry(replace(TELEMETRY, calls=calls, turns=turns, runs=runs, seed=seed)))


@main.command()
@click.option("--calls", type=SIZE, default=WATCHED.calls, show_default=True, help="of each of two relays")
@click.option("--browsers", type=SIZE, default=WATCHED.browsers, show_default=True)
@click.option("--rounds", type=SIZE, default=WATCHED.rounds, show_default=True, help="each relay watched once")
@click.option("--periods", type=SIZE, default=WATCHED.periods, show_default=True, help="of 12 s")
@click.option("--chromium", is_flag=True, help="pages in the system's Chromium, not clients that ask as they do")
def browsers(calls: int, browsers: int, rounds: int, periods: int, chromium: bool) -> None:
    """What the dashboard costs the relay while it is open in browsers."""
    _run(lambda: run_browsers(Watched(calls, browsers, rounds, periods, chromium)))


@main.command()
@click.option("--calls", type=SIZE, default=NOISE.calls, show_default=True, help="quiet ones")
@click.option("--seconds", type=float, default=NOISE.seconds, show_default=True, help="with noise, and without")
@click.option("--only", type=click.Choice(list(KINDS)), multiple=True, help="a kind of noise (may be repeated)")
@click.option("--seed", type=int, default=NOISE.seed, show_default=True)
def noisy(calls: int, seconds: float, only: tuple[str, ...], seed: int) -> None:
    """What one caller who makes noise costs the others."""
    _run(lambda: run_noisy(Noise(calls, seconds, only or NOISE.kinds, seed)))


@main.command()
@click.option("--debates", type=SIZE, default=DEBATES.debates, show_default=True)
@click.option("--turns", type=SIZE, default=DEBATES.turns, show_default=True, help="measured turns a debate")
@click.option(
    "--first", default=DEBATES.first, show_default=True, help="the model's first token, seconds: MEDIAN[:P95]"
)
@click.option("--pace", default=DEBATES.pace, show_default=True, help="between its tokens, seconds: MEDIAN[:P95]")
@click.option("--tokens", type=SIZE, default=DEBATES.tokens, show_default=True, help="length of a reply")
@click.option("--seed", type=int, default=DEBATES.seed, show_default=True)
def debate(debates: int, turns: int, first: str, pace: str, tokens: int, seed: int) -> None:
    """What the debate adds to the model's own time, with many at once."""
    _run(lambda: run_debate(Debates(debates, turns, first, pace, tokens, seed=seed)))


@main.command()
@click.option("--debates", type=SIZE, default=1, show_default=True, help="of each opponent, in each language")
@click.option("--only", type=click.Choice(list(load_opponents().lines)), multiple=True, help="an opponent")
def opponents(debates: int, only: tuple[str, ...]) -> None:
    """Scripted opponents against the model of OPENAI_..., or the rehearsal: how often the side held. Only when named:
    it may cost something."""
    _run(lambda: run_opponents(Opposing(debates, only)))


@main.command()
@click.option("--calls", type=SIZE, default=SOAKING.calls, show_default=True)
@click.option("--rate", type=float, default=SOAKING.rate, show_default=True, help="calls a second")
@click.option("--settle", type=float, default=SOAKING.settle, show_default=True, help="seconds at the end")
@click.option("--seed", type=int, default=SOAKING.seed, show_default=True)
def soak(calls: int, rate: float, settle: float, seed: int) -> None:
    """Callers who hang up at any moment, for long: no growth, nothing left behind. Only when named: it takes long."""
    _run(lambda: run_soak(Soaking(calls, rate, settle, seed)))


@main.command()
@click.option("--visitors", type=SIZE, default=CHATTING.visitors, show_default=True)
@click.option("--seconds", type=float, default=CHATTING.seconds, show_default=True, help="measured, of each system")
@click.option("--first", default=CHATTING.first, show_default=True, help="the model's first token: MEDIAN[:P95]")
@click.option("--pace", default=CHATTING.pace, show_default=True, help="between its tokens, seconds: MEDIAN[:P95]")
@click.option("--tokens", type=SIZE, default=CHATTING.tokens, show_default=True, help="length of an answer")
@click.option("--pause", type=(float, float), default=CHATTING.pause, show_default=True, help="of a visitor, seconds")
@click.option("--seed", type=int, default=CHATTING.seed, show_default=True)
def chat(
    visitors: int, seconds: float, first: str, pace: str, tokens: int, pause: tuple[float, float], seed: int
) -> None:
    """What is added to a delta of the live chat, with many visitors at once; the floor beside it."""
    _run(lambda: run_live_chat(Chatting(visitors, seconds, first, pace, tokens, pause, seed=seed)))


@main.command()
@click.option("--count", type=SIZE, default=RETURNING.reconnects, show_default=True, help="reconnects, in all")
@click.option("--visitors", type=SIZE, default=RETURNING.visitors, show_default=True)
@click.option("--processes", type=SIZE, default=RETURNING.processes, show_default=True)
@click.option("--seed", type=int, default=RETURNING.seed, show_default=True)
def reconnects(count: int, visitors: int, processes: int, seed: int) -> None:
    """Visitors of the live chat who lose their connection while they are answered: nothing is lost or said twice."""
    _run(lambda: run_reconnects(Returning(count, visitors, processes, seed=seed)))


def _run(*benchmarks: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """One after the other; ends the program with the status for all of them. Children end with it, however it ends."""

    async def each() -> bool:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with asyncio.timeout(LIMIT_SECONDS):
            return all([await benchmark() for benchmark in benchmarks])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            reached = runner.run(each())
        except (BenchError, CallLost, NotDriven) as error:
            raise SystemExit(f"benchmark: {error}") from None
        except TimeoutError:
            raise SystemExit(f"benchmark: not done after {LIMIT_SECONDS:g} s") from None
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise SystemExit("benchmark: stopped") from None
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
