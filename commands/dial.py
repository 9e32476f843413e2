"""``relay dial``: has an agent call somebody, by the account's REST API; a running server then answers for the call."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from contextlib import AsyncExitStack

import click
import structlog

from commands.redis_server import redis_of
from config.agents import agent_folders
from config.settings import Settings, load_settings
from handlers.dialling import Dialler, line_of, missing_for_calls
from handlers.messaging import make_rest
from relay.errors import ConfigError
from relay.store.client import connect
from relay.store.outbound import OutboundCalls


@click.command()
@click.argument("number")
@click.option("--agent", default="", metavar="NAME", help="The agent that calls; DEFAULT_AGENT if left out.")
def dial(number: str, agent: str) -> None:
    """Call NUMBER, such as +15550100200, and print the call's sid.

    What holds for the server's route holds here: OUTBOUND_COUNTRIES, OUTBOUND_PER_MINUTE. Once somebody picks up Twilio
    asks the server at PUBLIC_URL, which must be running.
    """
    # Standard output is for the sid, and what goes wrong is said in a sentence.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = load_settings()
    name = agent or settings.default_agent
    if missing := missing_for_calls(settings):
        raise ConfigError([f"{each} is missing; without it no call can be placed." for each in missing])
    if not settings.outbound_countries:
        raise ConfigError(["OUTBOUND_COUNTRIES is missing; without it no country may be dialled."])
    # What is wrong with an agent is for the server to say, which may have a good version of it.
    if name not in [folder.name for folder in agent_folders(settings.agents_dir)]:
        raise ConfigError([f"There is no agent {name} in {settings.agents_dir}."])
    number = re.sub(r"[\s().-]", "", number)
    with redis_of(settings) as url:
        click.echo(asyncio.run(_place(settings, url, name, number)))


async def _place(settings: Settings, redis_url: str, agent: str, number: str) -> str:
    """The sid of the call. Raises DialRefused. A cancel may leave the call placed."""
    async with AsyncExitStack() as stack:
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        rest = make_rest(settings)
        assert rest is not None  # nothing is missing
        stack.push_async_callback(rest.close)
        calls = OutboundCalls(redis, settings.outbound_per_minute)
        return await Dialler(line_of(settings), rest, calls, {agent}).dial(number, agent)


__all__ = ["dial"]
