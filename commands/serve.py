"""`relay serve`: the process itself. Chooses the event loop, the Redis server and the model's endpoint, then serves."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import FrameType

import click
import structlog
from aiohttp import web

from commands.listening import BACKLOG, READY, cannot_listen, inherited_sockets, notify, supervised
from config.agents import agent_folders
from config.settings import Settings, hand_on, load_settings
from config.tokens import BETTER, weak_tokens
from handlers.app import build_app
from handlers.keys import CALLS, DRAIN, LIVE_CHAT, RELAY_SOCKET
from handlers.modelling import Endpoint, bot_of, endpoint_of
from handlers.otel.start import make_spans
from handlers.routes import provided, route_table
from relay.errors import ConfigError
from relay.logs import configure_logging
from relay.store.embedded import EmbeddedRedis

LEAVE_DEADLINE = 1.0  # seconds for requests in hand
ASIDE = 0.25  # seconds for what was just let in to be answered
AGAIN = 1.0  # seconds after the first signal: what comes sooner is the same one, told twice
KEEP_ALIVE = 75.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

log = structlog.get_logger(__name__)


class Leaving:
    """SIGINT and SIGTERM, from the first moment to the last: the first is remembered, and so is one that comes later,
    from somebody who does not want to wait; the rest change nothing.

    SIGUSR1 is as good as they are, from somebody who has started another process on the same socket: ``replaced``.

    The handlers are Python's own and not the event loop's, which puts the default ones back when it is closed: a
    second signal (make may pass one on twice) would then kill the process while it still stops its Redis server.
    """

    def __init__(self) -> None:
        self._asked: float | None = None
        self._again = False
        self._wake: Callable[[], object] = lambda: None
        self.replaced = False
        for number in SIGNALS:
            signal.signal(number, self._signalled)

    async def wait(self) -> None:
        """Returns once a signal has come, also one from before the event loop ran."""
        await self._until(lambda: self._asked is not None)

    async def again(self) -> None:
        """Returns once another one has come."""
        await self._until(lambda: self._again)

    async def _until(self, told: Callable[[], bool]) -> None:
        loop, come = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(come.set)
        try:
            if not told():
                await come.wait()
        finally:
            self._wake = lambda: None

    def over(self) -> None:
        """Nothing is left to do: from now on signals are ignored, for Python puts the default handlers back, but not
        over that, before it ends."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self.replaced = number == signal.SIGUSR1
        elif now - self._asked >= AGAIN:
            self._again = True
        else:
            return
        self._wake()


@click.command()
def serve() -> None:
    """Answer calls until SIGINT or SIGTERM. Settings come from the environment and .env (see README)."""
    leaving = Leaving()
    embedded: EmbeddedRedis | None = None
    try:
        settings = load_settings()
        hand_on("OTEL_")
        configure_logging(settings.log_level, settings.log_format)
        for name, why in weak_tokens(settings).items():
            log.warning("weak token", setting=name, why=why, better=BETTER)
        if settings.redis_url is None:
            embedded = EmbeddedRedis.start(settings.data_dir)
            redis_url = embedded.url
        else:
            redis_url = settings.redis_url.get_secret_value()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, redis_url, leaving))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"relay: {problem}", err=True)
        sys.exit(1)
    finally:
        if embedded is not None:
            embedded.close()
        leaving.over()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists, else None for the standard loop."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: Settings, redis_url: str, leaving: Leaving) -> None:
    async with AsyncExitStack() as stack:
        endpoint = endpoint_of(settings)
        if endpoint is None:
            endpoint = await _rehearsal(settings, stack)
        bot = bot_of(settings)
        spans = make_spans(endpoint.base_url, settings.openai_model, [] if bot is None else [bot.place])
        stack.push_async_callback(spans.close)
        app = await build_app(settings, redis_url=redis_url, endpoint=endpoint, spans=spans)
        given = inherited_sockets()
        if given:
            app.on_response_prepare.append(_close_behind)
        runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            shutdown_timeout=LEAVE_DEADLINE,
            auto_decompress=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = await _listen(runner, settings, given)
        gc.collect()
        # What start-up made stays and need not be walked again. Nearly nothing of a call waits for the collector: what
        # failed or was cancelled does, with all it knows. Seldom enough not to cost (at its usual pace it takes 5 % of
        # the CPU of a token), and often enough that neither the waiting grows large nor a single walk takes long.
        gc.freeze()
        gc.set_threshold(20_000, 5, 10)
        _say_where(settings, port, endpoint)
        notify(READY)
        await leaving.wait()
        if leaving.replaced:
            await _stand_aside(runner)
        await _drain(app, settings, leaving)


async def _drain(app: web.Application, settings: Settings, leaving: Leaving) -> None:
    """Calls and chats end, or are handed on: at once if another signal comes."""
    drain, calls, chats = app[DRAIN], app[RELAY_SOCKET].calls, app[LIVE_CHAT]
    if calls and settings.log_format != "json" and not leaving.replaced:
        left = f"{calls} call{'s' if calls > 1 else ''} may go on for {settings.drain_seconds:g} s"
        click.echo(f"\n  {left}; press Ctrl-C again to hand on what is left now.\n", err=not sys.stdout.isatty())

    async def hurry() -> None:
        await leaving.again()
        drain.hurry()
        chats.hurry()

    watching = asyncio.create_task(hurry(), name="watch for another signal")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(drain.run(app[RELAY_SOCKET], app[CALLS].hand_on), name="drain calls")
            group.create_task(chats.leave(settings.drain_seconds), name="drain chats")
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _rehearsal(settings: Settings, stack: AsyncExitStack) -> Endpoint:
    """Without a model there is one that plays the agents' scripts, as an endpoint like any other."""
    from phone.model import rehearsal_server

    agent_folders(settings.agents_dir)
    try:
        server = rehearsal_server(settings.agents_dir, default=settings.default_agent)
    except ValueError as error:
        raise ConfigError([str(error)]) from error
    await stack.enter_async_context(server)
    return Endpoint(server.url, "rehearsal", rehearsal=True)


async def _listen(runner: web.AppRunner, settings: Settings, given: Sequence[socket.socket]) -> int:
    """On the sockets this process was given, else on one of its own; returns the port."""
    for each in given:
        await web.SockSite(runner, each, backlog=BACKLOG).start()
    if not given:
        try:
            await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
        except OSError as error:
            raise cannot_listen(error, settings.host, settings.port, "make run") from error
    bound: int = runner.addresses[0][1]
    return bound


async def _close_behind(request: web.Request, response: web.StreamResponse) -> None:
    """On a socket that is shared no connection is kept for a second request: it would come to us when another process
    has taken our place."""
    if not isinstance(response, web.WebSocketResponse):
        response.force_close()
        response.headers["Connection"] = "close"  # aiohttp has written its own by now


async def _stand_aside(runner: web.AppRunner) -> None:
    """Leaves new connections to the process that has taken our place; those we have are still answered as ever."""
    for site in list(runner.sites):
        await site.stop()
    await asyncio.sleep(ASIDE)


def _say_where(settings: Settings, port: int, endpoint: Endpoint) -> None:
    """One record of what is served, and for people the start-up table and what to do next."""
    address = f"http://{settings.host}:{port}"
    model = "rehearsal (no OPENAI_API_KEY: a script answers)" if endpoint.rehearsal else settings.openai_model
    store = "your REDIS_URL" if settings.redis_url else f"embedded, in {settings.data_dir}"
    routes = route_table(settings)
    log.info(
        "listening",
        address=address,
        public_url=settings.public_url,
        model=model,
        redis=store,
        provided=[f"{what}: {state}" for what, state in provided(settings)],
        routes=[f"{route} {state}" for route, state in routes],
    )
    if settings.log_format == "json" or supervised():
        return
    width = max(len(route) for route, _ in routes)
    lines = [f"  relay listens on {address}", f"  model: {model}", f"  redis: {store}"]
    lines += [f"  {what}: {state}" for what, state in provided(settings)] + [""]
    lines += [f"  {route:<{width}}  {state}" for route, state in routes]
    here = settings.public_url or address
    lines += ["", "  Talk to it from another terminal:   make call"]
    lines.append(f"  Write to it in a browser:           {here}/chat")
    if settings.public_url:
        lines.append(f"  Point your Twilio number at {settings.public_url}/voice/incoming:   relay number connect")
        lines.append("  Is all well?   relay doctor")
    else:
        lines.append("  Connect a real number: put TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN into .env, then   make dev")
    # Standard output is for records where it is no terminal.
    click.echo("\n" + "\n".join(lines) + "\n", err=not sys.stdout.isatty())
