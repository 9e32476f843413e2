"""A ``relay serve`` of one's own, for as long as a call lasts."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from phone.driven import end
from relay.errors import RelayError

SERVE = (sys.executable, "-m", "commands.main", "serve")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NoServer(RelayError):
    """Nobody answers, and no server could be started."""

    code = "no_server"


async def answers(url: str, *, deadline: float = 5.0) -> bool:
    """Whether anything answers HTTP at the address."""
    timeout = aiohttp.ClientTimeout(total=deadline)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url.rstrip("/") + "/health/live"):
            return True
    except aiohttp.ClientConnectionError:
        return False
    except TimeoutError as error:
        raise NoServer(f"{url} accepts connections but does not answer.") from error


@asynccontextmanager
async def server_at(
    url: str, *, command: Sequence[str] = SERVE, deadline: float = 60.0, grace: float = 15.0
) -> AsyncIterator[bool]:
    """Makes sure that a server answers at ``url``: one that runs, or one started here, with this environment, and
    stopped on leaving, also by a cancel. Yields whether it was started.

    deadline: seconds until it must answer. grace: seconds from SIGTERM to SIGKILL. Raises NoServer; the log of a server
    that failed is kept and named.
    """
    if await answers(url):
        yield False
        return
    where = urlsplit(url)
    if where.hostname not in LOOPBACK or where.scheme != "http":
        raise NoServer(f"Nothing answers at {url}.")
    handle, name = tempfile.mkstemp(prefix="relay-serve-", suffix=".log")
    log = Path(name)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=os.environ | {"PORT": str(where.port or 80)},
            # Ctrl-C in the terminal is for the call; the server is stopped when that is over.
            start_new_session=True,
        )
    finally:
        os.close(handle)
    keep_log = False
    try:
        try:
            await _until_it_answers(url, process, log, deadline)
        except NoServer:
            keep_log = True
            raise
        yield True
        if process.returncode is not None or not await answers(url):
            keep_log = True
            raise NoServer(f"The server stopped during the call: {_last_line(log)}\nIts log: {log}")
    finally:
        await end(process, within=grace)
        if not keep_log:
            _remove(log)


async def _until_it_answers(url: str, process: asyncio.subprocess.Process, log: Path, deadline: float) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    while not await answers(url):
        if process.returncode is not None:
            raise NoServer(f"The server did not start: {_last_line(log)}\nIts log: {log}")
        if clock() > end:
            raise NoServer(f"The server did not answer within {deadline:g} s: {_last_line(log)}\nIts log: {log}")
        await asyncio.sleep(0.05)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."


def _remove(log: Path) -> None:
    log.unlink(missing_ok=True)
