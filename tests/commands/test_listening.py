"""``relay serve`` on a socket that it is given, as systemd does it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from tests.commands.serving import INHERITED, RELAY, Serving, redis_process

ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def told() -> Iterator[socket.socket]:
    """Where it says how it does."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"{folder}/notify")
        made.setblocking(False)
        yield made


async def test_a_socket_of_somebody_elses(tmp_path: Path, listening: socket.socket, told: socket.socket) -> None:
    """It serves on the socket and says so; no connection is kept for another request. On SIGUSR1 it leaves and accepts
    nothing more, which is then for whoever else holds the socket."""
    port = listening.getsockname()[1]
    environ = {**INHERITED, "DATA_DIR": str(tmp_path / "data"), "NOTIFY_SOCKET": told.getsockname()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ACTIVATE, str(listening.fileno()), RELAY, "serve"),
        cwd=tmp_path,
        env=environ,
        pass_fds=(listening.fileno(),),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=-1,
        stderr=-2,
    )
    server = Serving(process)
    try:
        async with asyncio.timeout(30):
            message = await asyncio.get_running_loop().sock_recv(told, 4096)
        assert message.decode().split() == ["READY=1", f"MAINPID={process.pid}"]
        url = f"http://127.0.0.1:{port}/health/live"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert await server.stop(signal.SIGUSR1) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await server.ended()
    assert not redis_process(tmp_path / "data")
    listening.settimeout(10)
    with socket.create_connection(("127.0.0.1", port), 10), listening.accept()[0]:
        pass


def test_sockets_that_are_none(tmp_path: Path) -> None:
    """A process that was promised sockets it did not get says so, and listens on nothing."""
    command = f"LISTEN_FDS=1 LISTEN_PID=$$ exec {RELAY} serve 3</dev/null"
    environ = {**INHERITED, "DATA_DIR": str(tmp_path / "data"), "PORT": "0"}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "relay: LISTEN_FDS is 1, but those are no TCP sockets that listen; see ListenStream=.\n",
    )
