"""``python -m phone.model``: the endpoint in a process of its own, for load tests and for trying a script."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from phone.endpoint.checks import Ask
from phone.endpoint.reply import Reply
from phone.endpoint.rules import ScriptError
from phone.endpoint.script import Rehearsals
from phone.endpoint.strain import FAULTS, Delay, Load, Strain
from phone.loops import fast_runner


class Server(Protocol):
    @property
    def url(self) -> str: ...


Serve = Callable[..., AbstractAsyncContextManager[Server]]


def main(serve: Serve, arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; the first line printed is the base URL."""
    options = _parser().parse_args(arguments)
    behaviour: Callable[[Ask], Reply]
    try:
        if options.agents is not None:
            behaviour = scripts = Rehearsals.load(options.agents)
            server = serve(behaviour, host=options.host, port=options.port, models=scripts.models, keep=0)
        else:
            faults = {name: getattr(options, name) for name in FAULTS}
            waits = {"slow_for": options.slow_for, "stall_for": options.stall_for}
            load = Load(first=options.first, pace=options.pace, tokens=options.tokens, **faults, **waits)
            server = serve(Strain(load, seed=options.seed), host=options.host, port=options.port, keep=0)
    except (ScriptError, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    with fast_runner() as runner, contextlib.suppress(KeyboardInterrupt):
        try:
            runner.run(_run(server))
        except OSError as error:
            raise SystemExit(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from error


async def _run(server: AbstractAsyncContextManager[Server]) -> None:
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave.set)
    async with server as running:
        print(running.url, flush=True)
        await leave.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m phone.model", description="A scripted OpenAI-compatible endpoint. No model, no network."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--agents", type=Path, help="play the rehearsal scripts of this folder instead of a load")
    parser.add_argument("--first", type=Delay.parse, default=Delay(0.25), help="first token, seconds: MEDIAN[:P95]")
    parser.add_argument("--pace", type=Delay.parse, default=Delay(0.02), help="between tokens, seconds: MEDIAN[:P95]")
    parser.add_argument("--tokens", type=int, default=60, help="length of an answer")
    for name in FAULTS:
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="SHARE", help="share of the answers, 0 to 1")
    parser.add_argument("--slow-for", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--stall-for", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    return parser
