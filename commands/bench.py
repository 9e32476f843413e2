"""``relay bench``: what a ConversationRelay server makes of a load; ``relay bench compare``: two results."""

from __future__ import annotations

import asyncio
import resource
import signal
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import click
import orjson

from config.settings import Settings, load_settings
from phone.bench.caller import Plan
from phone.bench.compare import read
from phone.bench.compare import report as comparison
from phone.bench.door import Door
from phone.bench.endpoint import FAULTS, Endpoint, Script
from phone.bench.failed import BenchFailed
from phone.bench.report import Circumstances
from phone.bench.report import report as html_report
from phone.bench.result import doubts, result_of, summary
from phone.bench.run import Bench, Measured
from phone.endpoint.strain import Delay
from phone.loops import fast_runner
from phone.progress import Progress

WAIT_EVERY = 0.2
OF_THE_ENDPOINT = ("first_token", "gap", "tokens", "faults")


class DelayType(click.ParamType[Delay]):
    name = "MEDIAN[:P95]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Delay:
        try:
            return value if isinstance(value, Delay) else Delay.parse(value)
        except ValueError:
            self.fail(f"{value} is no number of seconds, nor two as MEDIAN:P95.", param, ctx)


class FaultsType(click.ParamType[dict[str, float]]):
    name = "SHARE|NAME=SHARE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        try:
            if "=" not in value:
                shares = dict.fromkeys(FAULTS, float(value) / len(FAULTS))
            else:
                shares = {name.strip(): float(share) for name, share in (each.split("=") for each in value.split(","))}
        except ValueError:
            self.fail(f"{value} is neither a share such as 0.1 nor a list such as late=0.05,cut=0.02.", param, ctx)
        if unknown := sorted(shares.keys() - FAULTS.keys()):
            self.fail(f"{unknown[0]} is none of {', '.join(FAULTS)}.", param, ctx)
        if any(not 0 <= share <= 1 for share in shares.values()) or sum(shares.values()) > 1:
            self.fail("Shares lie between 0 and 1, and so does their sum.", param, ctx)
        return shares


class UrlOrCompare(click.Command):
    """Takes a URL; ``compare`` in its place is a command of its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["compare"]:
            return compare.make_context(f"{info_name} compare", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(name="compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
def compare(a: Path, b: Path) -> None:
    """Show two results of relay bench --json as ratios, and which is better by more than noise.

    A file may hold several runs, one behind the other (relay bench ... --json >> FILE): then their spread is the noise.
    """
    click.echo(comparison(read(a), read(b), (a.name, b.name)))


@click.command(cls=UrlOrCompare, epilog="Two results are compared by: relay bench compare A B")
@click.argument("url")
@click.option("--calls", type=click.IntRange(min=1), default=10, show_default=True, help="Calls at once.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How long the callers talk, once all calls are open.",
)
@click.option(
    "--think",
    type=DelayType(),
    default="1",
    show_default=True,
    help="Seconds between the end of an answer and the next prompt.",
)
@click.option(
    "--interrupt-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the turns that are interrupted, at a random word.",
)
@click.option(
    "--model-port",
    type=click.IntRange(0, 65535),
    help="Start a model endpoint on this port of 127.0.0.1, for the server to use; 0 takes a free one.",
)
@click.option(
    "--first-token",
    type=DelayType(),
    default="0.25:0.6",
    show_default=True,
    help="The endpoint's first token, seconds.",
)
@click.option(
    "--gap", type=DelayType(), default="0.02", show_default=True, help="Between the endpoint's tokens, seconds."
)
@click.option(
    "--tokens", type=click.IntRange(min=1), default=60, show_default=True, help="Length of the endpoint's answers."
)
@click.option(
    "--faults",
    type=FaultsType(),
    default="0",
    show_default=True,
    help="Share of the endpoint's answers that go wrong: of all four kinds (late, stall, cut, error), or of each.",
)
@click.option(
    "--pid",
    type=click.IntRange(min=1),
    multiple=True,
    help="The server's process, for its CPU and memory (may be repeated).",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds the server is given until something listens there.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything that is drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON and nothing else.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a report with plots.")
@click.pass_context
def bench(context: click.Context, /, url: str, as_json: bool, page: Path | None, **options: Any) -> None:
    """Measure a ConversationRelay server under calls: ours or any other.

    URL is its voice webhook (http, https), which is asked for TwiML as Twilio does, or its websocket (ws, wss).
    Requests are signed for PUBLIC_URL with TWILIO_AUTH_TOKEN, where these are set.

    With --model-port a model endpoint is started, whose address is the OPENAI_BASE_URL to set for the server. Its words
    carry their clocks, so what the server adds to the model's own time is known exactly.

    --json prints calls, turns, errors, first_words_ms and added_ms (each {p50, p95, p99}), ghost_frames,
    cpu_us_per_token and rss_kb_per_call; null is what cannot be known: added_ms and cpu_us_per_token of a server that
    does not use the endpoint, cpu_us_per_token and rss_kb_per_call without --pid.
    """
    if options["model_port"] is None:
        for name in OF_THE_ENDPOINT:
            given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            # How many words an answer has also says where it may be interrupted.
            if given and name != "tokens":
                raise click.UsageError(f"{_option(name)} is of the model endpoint, which needs --model-port.")
    if page is not None and not page.parent.is_dir():
        raise click.BadParameter(f"There is no folder {page.parent}.", param_hint="--html")
    settings = load_settings()
    _allow_sockets()
    try:
        with fast_runner() as runner:
            measured = runner.run(_measure(settings, url, options))
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        click.echo("relay: stopped", err=True)
        sys.exit(130 if isinstance(stopped, KeyboardInterrupt) else 143)
    result = result_of(measured)
    doubted = doubts(measured, result)
    click.echo(orjson.dumps(result.as_json()).decode() if as_json else summary(measured, result))
    for doubt in doubted:
        click.echo(f"relay: {doubt}", err=True)
    if page is not None:
        about = Circumstances(_without_password(url), datetime.now().astimezone(), _shown(options))
        try:
            page.write_text(html_report(measured, result, doubted, about), encoding="utf-8")
        except OSError as error:
            raise BenchFailed(f"{page} cannot be written: {error.strerror}.") from error


def _allow_sockets() -> None:
    """Each call is one: as many as the system lets this program open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        pass  # macOS says that there is no limit, and takes none; what it allowed before must do


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(options: dict[str, Any]) -> dict[str, str]:
    """The options as one would write them; what was left out by its default."""

    def text(value: Any) -> str:
        match value:
            case Delay():
                return f"{value.median:g}" + (f":{value.p95:g}" if value.p95 else "") + " s"
            case dict():
                return ", ".join(f"{name} {share:.1%}" for name, share in value.items() if share) or "none"
            case tuple():
                return ", ".join(map(str, value)) or "-"
        return "-" if value is None else f"{value:g}"

    return {_option(name): text(value) for name, value in options.items()}


async def _measure(settings: Settings, url: str, options: dict[str, Any]) -> Measured:
    """Everything that is started here ends with it, also by a cancel (Ctrl-C, SIGTERM)."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    plan = Plan(**{part.name: options[part.name] for part in fields(Plan)})
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        door = Door(
            url,
            http,
            public_url=settings.public_url or "",
            token=settings.twilio_auth_token[0].get_secret_value() if settings.twilio_auth_token else "",
            account_sid=settings.twilio_account_sid or "AC" + "0" * 32,
            to=settings.twilio_phone_number or "+15555550199",
            tls=ssl.create_default_context() if urlsplit(url).scheme in ("https", "wss") else None,
        )
        endpoint = None
        if options["model_port"] is not None:
            endpoint = await stack.enter_async_context(Endpoint.start(_script(options)))
            click.echo(f"OPENAI_BASE_URL={endpoint.url}", err=True)
        if options["wait"]:
            await door.opens(within=options["wait"])
        with Progress("measuring", plan.seconds, stream=sys.stderr) as progress:
            return await Bench(plan, door, endpoint=endpoint, pids=options["pid"], tell=progress.reach).run()


def _script(options: dict[str, Any]) -> Script:
    first, gap = options["first_token"], options["gap"]
    return Script(
        port=options["model_port"],
        first=f"{first.median}:{first.p95}",
        gap=f"{gap.median}:{gap.p95}",
        tokens=options["tokens"],
        faults=options["faults"],
        seed=options["seed"],
    )
