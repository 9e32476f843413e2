"""``relay dev``: serves, reachable from the world, with what is being edited live.

This process has the listening socket, the tunnel and the keeper of the telephone number, and outlives what is edited:
it imports no web framework, no Redis client and nothing of Twilio's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path

import click

from commands.dev import ngrok
from commands.dev.bench import Bench
from commands.dev.keeper import Keeper
from commands.dev.saying import say
from commands.dev.servers import Servers
from commands.dev.tunnel import Tunnel
from commands.dev.watch import Watch
from commands.listening import open_socket
from config.settings import Settings, load_settings
from config.values import CHECKOUT


@click.command()
@click.option("--public-url", default="", metavar="URL", help="An address that leads here; no tunnel is opened then.")
@click.option("--no-tunnel", is_flag=True, help="Open no tunnel, also where there is no address.")
@click.option("--no-number", is_flag=True, help="Leave the telephone number alone.")
def dev(public_url: str, no_tunnel: bool, no_number: bool) -> None:
    """Serve through a tunnel, point the Twilio number at it, and take up what is edited.

    ngrok opens the tunnel, unless there is an address already: --public-url, or PUBLIC_URL. A changed agent takes the
    next call; for a changed module, or .env, another process takes the new calls, while calls in progress stay where
    they are, for DRAIN_SECONDS at most. On Ctrl-C the number is put back as it was.
    """
    environ = dict(os.environ)
    if public_url:
        environ["PUBLIC_URL"] = public_url
    settings = load_settings(environ=environ)
    with closing(open_socket(settings.host, settings.port, "relay dev")) as listening:
        environ |= {"HOST": listening.getsockname()[0], "PORT": str(listening.getsockname()[1])}
        command = None
        if settings.public_url is None and not no_tunnel:
            command = _tunnel_command(settings, _here(listening))
        keeper = None if no_number else _keeper(settings, environ)
        sys.exit(asyncio.run(develop(settings, environ, listening, command, keeper)))


def _tunnel_command(settings: Settings, target: str) -> list[str] | None:
    """What opens a tunnel; None, and why, where that cannot be or is of no use."""
    if not settings.twilio_auth_token:
        say("no tunnel: without TWILIO_AUTH_TOKEN nobody who came through it would be let in")
        return None
    if (command := ngrok.command(target)) is None:
        say(ngrok.GET_ONE)
        say(ngrok.OR_YOUR_OWN)
    return command


def _keeper(settings: Settings, environ: Mapping[str, str]) -> Keeper | None:
    """Who has the number pointed here; None, and why, where nobody can."""
    missing = [] if settings.twilio_account_sid else ["TWILIO_ACCOUNT_SID"]
    if not settings.twilio_auth_token:
        missing.append("TWILIO_AUTH_TOKEN")
    if missing:
        say(f"the number is not connected, without {' and '.join(missing)} (Twilio's Console > Account Info)")
        return None
    return Keeper(environ)


def _here(listening: socket.socket) -> str:
    """Where a program of this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def develop(
    settings: Settings,
    environ: Mapping[str, str],
    listening: socket.socket,
    tunnel_command: list[str] | None,
    keeper: Keeper | None,
) -> int:
    """Until SIGINT, SIGTERM or the end of the terminal; returns the exit status."""
    bench = Bench(f"http://{_here(listening)}", settings.public_url or "", keeper)
    read_once = (CHECKOUT / ".env", Path.cwd() / ".env", settings.agents_dir / "apartments" / "apartments.toml")
    watch = Watch(CHECKOUT, read_once, bench.files_changed)
    tunnel = Tunnel(tunnel_command, bench.address_is, say) if tunnel_command else None
    servers = Servers(listening, environ, drain=settings.drain_seconds, gone=bench.server_gone)
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set():
            servers.signal_all()  # somebody does not want to wait
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    # In the end first the number is put back, then calls come to theirs, and the tunnel, which they need, is the last.
    async with tunnel or nullcontext(), servers, keeper or nullcontext():
        stopped = asyncio.create_task(stop.wait(), name="stop")
        tasks = [
            stopped,
            asyncio.create_task(bench.run(servers, tunnel), name="serve"),
            asyncio.create_task(watch.run(), name="watch"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a bug of ours
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            say("leaving")
    return 0 if stopped in done else 1
