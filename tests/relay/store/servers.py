"""Redis servers that a test may stop, freeze and start again."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from relay.store.server import choose

FORGETFUL = ("--save", "", "--appendonly", "no")
LASTING = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class FragileRedis:
    """One server in ``folder``, on a unix socket and, where it has one, on a ``port``. ``options`` as on its command
    line: by default it keeps nothing on disk, so that stopping it loses all it had."""

    def __init__(self, folder: Path, *options: object, port: int = 0) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self._options = options or FORGETFUL
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        self.launch()
        eventually(self.answers, "the server answers")

    def launch(self) -> None:
        """Starts it without waiting for it."""
        program = choose(self._folder, None).program
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self._socket, *self._options]
        words = [str(option) for option in (program, *options)]
        if "--sentinel" in words:  # a file of its own comes first, and it takes no socket
            words = [str(program), *map(str, self._options)]
        self._process = subprocess.Popen(words, cwd=self._folder, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """At once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """It still accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def admin(self, *words: object) -> Any:
        """One command, past everything that a test may have put in the way."""
        place: dict[str, Any] = (
            {"host": "127.0.0.1", "port": self.port} if self.port else {"unix_socket_path": str(self._socket)}
        )
        with redis.Redis(**place, socket_timeout=5) as client:
            return client.execute_command(*words)

    @property
    def role(self) -> str:
        """``master`` or ``slave``."""
        return str(self.admin("ROLE")[0].decode())

    def answers(self) -> bool:
        try:
            return bool(self.admin("PING"))
        except redis.RedisError:
            return False


def patient(url: str) -> str:
    """For a client that waits as good as for ever, where its usual half second may pass and nothing is wrong, or where
    whoever asks has a deadline of their own."""
    return f"{url}?timeout=60&socket_timeout=60&socket_connect_timeout=60"


@contextmanager
def fragile_redis(*options: object, port: int = 0) -> Iterator[FragileRedis]:
    """A started server; in a short path, as a socket's must be."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        server = FragileRedis(Path(folder), *options, port=port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def eventually(holds: Callable[[], object], what: str, within: float = 20.0, every: float = 0.01) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(every)


def free_ports(count: int) -> list[int]:
    """Free on this machine, with those 10,000 above them, on which the nodes of a Cluster talk to each other; below
    those that the system gives away."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(12_000, 22_000)
        if port not in ports and _free(port) and _free(port + 10_000):
            ports.append(port)
    return ports


def _free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
