"""``relay tail``: calls and turns as they happen, from the events of a running server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import click
import orjson

from commands.tail_lines import Lines, Wanted
from config.settings import load_settings
from handlers.watching import PATH
from phone.screen import printable
from relay.errors import ModelCut, RelayError
from relay.models.sse import EventSplitter

CONNECT_DEADLINE = 5.0
SILENCE = 45.0  # seconds without even a comment after which the connection counts as lost
AGAIN = (0.5, 5.0)  # seconds until a lost connection is made anew: the first time, and at most
LONGEST_EVENT = 256 * 1024

CLOSED = "The dashboard is closed at {url}: set DASHBOARD_TOKEN there, and here (environment or .env)."
WRONG = "The server at {url} wants another DASHBOARD_TOKEN than the one set here (environment or .env)."
NOBODY = "Nothing answers at {url}. Start a server with: make run"


class NotTold(RelayError):
    """The server tells nobody, or not us."""

    code = "not_told"


class _Lost(Exception):
    """The connection, or the server for now; the message is for who has not been connected yet."""


@click.command()
@click.option("--url", default="", help="Where the server listens; http://127.0.0.1:$PORT if left out.")
@click.option("--agent", default="", metavar="NAME", help="Only calls that this agent has.")
@click.option("--call", default="", metavar="SID", help="Only this call; the end of its id is enough.")
@click.option("--slow", type=click.FloatRange(min=0), metavar="MS", help="Only turns that took so long to begin.")
@click.option("--json", "as_json", is_flag=True, help="The events as they are, a JSON object a line.")
def tail(url: str, agent: str, call: str, slow: float | None, as_json: bool) -> None:
    """Show calls and turns as they happen, in all processes of a running server.

    The server's DASHBOARD_TOKEN is needed, unless it is in development mode on this machine. Ctrl-C ends it.
    """
    settings = load_settings()
    token = settings.dashboard_token.get_secret_value() if settings.dashboard_token else ""
    base = url.rstrip("/") or f"http://127.0.0.1:{settings.port}"
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    lines = Lines(Wanted(agent, call, slow), colour=terminal and not os.environ.get("NO_COLOR"))

    def show(event: dict[str, Any]) -> None:
        if lines.wants(event):
            # A whole line is written at once: what reads a pipe sees it now.
            click.echo(orjson.dumps(event) if as_json else lines.line(event), color=True)

    try:
        asyncio.run(follow(base, token, show))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor is the last flush to fail


async def follow(
    base: str,
    token: str,
    show: Callable[[dict[str, Any]], None],
    *,
    note: Callable[[str], None] = lambda text: click.echo(f"* {text}", err=True),
    again: tuple[float, float] = AGAIN,
) -> None:
    """Shows events until it is cancelled, and connects anew when the connection is lost. ``note``: takes what is worth
    knowing beside. Raises NotTold where nothing will come of it."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE, sock_read=SILENCE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    others, connected, failures = True, False, 0
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
        while True:
            try:
                async with aclosing(_events(http, base)) as events:
                    async for event in events:
                        if failures or not connected:
                            note(f"watching {base}" if not connected else "connected again")
                        connected, failures = True, 0
                        if event.get("event") == "status" and event.get("others") is not others:
                            others = bool(event.get("others"))
                            note("other processes are heard again" if others else "other processes are not heard")
                        elif event.get("event") == "dropped":
                            note(f"{event.get('missed')} events were missed")
                        show(event)
            except _Lost as lost:
                if not connected:
                    raise NotTold(str(lost)) from None
                if not failures:
                    note("the connection is lost; trying again")
                failures += 1
            first, longest = again  # a stream that has ended in order goes on without a word
            await asyncio.sleep(min(longest, first * 2.0 ** min(failures, 16)))


async def _events(http: aiohttp.ClientSession, base: str) -> AsyncGenerator[dict[str, Any], None]:
    """Those of one connection, which ends in order. Raises _Lost, NotTold."""
    splitter = EventSplitter(LONGEST_EVENT)
    try:
        async with http.get(base + PATH) as answer:
            await _check(answer, base)
            async for piece in answer.content.iter_any():
                for data in splitter.feed(piece):
                    event = orjson.loads(data)
                    if isinstance(event, dict):
                        yield event
    except aiohttp.InvalidURL:
        raise NotTold(f"{base} is no address of a server.") from None
    except (aiohttp.ClientError, TimeoutError, ModelCut, orjson.JSONDecodeError) as error:
        raise _Lost(NOBODY.format(url=base)) from error


async def _check(answer: aiohttp.ClientResponse, base: str) -> None:
    if answer.status == 401:
        raise NotTold(WRONG.format(url=base))
    if answer.status == 404:
        raise NotTold(CLOSED.format(url=base))
    if answer.status in (429, 502, 503, 504):
        raise _Lost(f"{base} answers {answer.status} now: {printable(await answer.text())[:200]}")
    if answer.status != 200 or answer.content_type != "text/event-stream":
        raise NotTold(f"{base}{PATH} answers {answer.status}: that is no relay, or one that is older.")


__all__ = ["follow", "tail"]
