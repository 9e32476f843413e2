"""The Redis server of a machine that has none set up: one real redis-server (or valkey-server) for each data folder.

Relays that share a data folder share its server. Three locks (``flock``: the kernel takes them back when a process
dies, however it dies) keep that true:

    start.lock    exclusive, while a relay joins, starts or leaves
    users.lock    shared, for the life of every relay; who gets it alone when leaving is the last and stops the server
    server.lock   exclusive, inherited by the server itself: held means alive, whether it can be reached or not

Without the last one a server whose socket was swept from the temporary folder would count as absent, and a second one
would write the same files. ``server.lock`` says in JSON where its holder listens; ``server.json`` which program wrote
the data, because 6.2 opens the files of 7.0 as an empty store without a word.

Nothing here is asynchronous: it runs before the event loop and after it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

from relay.errors import ConfigError
from relay.store.server import Server, choose

_SUN_PATH = 104 if sys.platform == "darwin" else 108  # with its closing zero byte
_POLL = 0.01
_REPLY = 0.5


class _Answer(Enum):
    READY = auto()
    BUSY = auto()  # somebody listens: still loading, or not answering now
    SILENT = auto()  # nobody listens


class EmbeddedRedis:
    """This process's share in the server of a data folder. Made by ``start``, given back by ``close``."""

    def __init__(self, socket_path: Path, folder: Path, users: int, process: subprocess.Popen[bytes] | None) -> None:
        self.url = f"unix://{socket_path}"
        self._socket_path = socket_path
        self._folder = folder
        self._users: int | None = users
        self._process = process

    @classmethod
    def start(cls, data_dir: Path, *, deadline: float = 10.0) -> EmbeddedRedis:
        """Joins the folder's server, or starts one, and returns when it answers.

        Blocks for ``deadline`` seconds at most, about 50 ms when a small store is opened. Raises ``ConfigError`` with
        one sentence when that cannot be: no program, the data of a newer one, a folder that cannot be written.
        """
        until = time.monotonic() + deadline
        try:
            folder = data_dir.resolve() / "redis"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _exclusive(folder / "start.lock", until):
                socket_path, process = _join(folder, until) or _launch(folder, until)
                users = _open(folder / "users.lock")
                fcntl.flock(users, fcntl.LOCK_SH)
        except OSError as error:
            raise _problem(f"{error.filename or data_dir} cannot be used: {error.strerror or error}.") from None
        return cls(socket_path, folder, users, process)

    def close(self, *, deadline: float = 5.0) -> None:
        """Leaves; the last one out stops the server, which writes what it holds first.

        Blocks for ``deadline`` seconds at most and raises nothing: a server that could not be stopped in time is
        joined by the next relay. A second call does nothing.
        """
        users, self._users = self._users, None
        if users is None:
            return
        until = time.monotonic() + deadline
        try:
            with _exclusive(self._folder / "start.lock", until):
                if _try_lock(users):
                    _shut_down(self._socket_path)
                    _wait_released(self._folder / "server.lock", until)
                    if self._process is not None:
                        self._process.wait(max(0.0, until - time.monotonic()))
        except (OSError, ConfigError, subprocess.TimeoutExpired):
            pass
        finally:
            os.close(users)
            if self._process is not None and self._process.poll() is None:
                # It serves others from now on; a Popen that still counts it as its own would warn when collected.
                self._process.returncode = 0


def _join(folder: Path, until: float) -> tuple[Path, None] | None:
    """The socket of the server that is there already; None when there is none."""
    if _held(folder / "server.lock"):
        holder = _read(folder / "server.lock")
        path = Path(holder.get("socket", "/nonexistent"))
        if _wait_ready(path, until):
            return path, None
        pid = holder.get("pid")
        stop = f"stop it with: kill {pid}" if pid else "stop it first"
        raise _problem(f"A Redis server uses {folder} but cannot be reached at {path}; {stop}.")
    path = _socket_path(folder)
    if _ping(path) is not _Answer.SILENT and _wait_ready(path, until):
        return path, None
    return None


def _launch(folder: Path, until: float) -> tuple[Path, subprocess.Popen[bytes]]:
    """Starts a server and waits until it answers; when it does not, or on any exception, it is stopped again."""
    server = choose(folder, Server.from_record(_read(folder / "server.json")))
    path = _socket_path(folder)
    _private(path.parent)
    # Written before the server runs: a newer one converts the files as soon as it opens them.
    _write(folder / "server.json", server.record())
    flags = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(folder)]
    flags += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
    flags += ["--daemonize", "no", "--logfile", str(folder / "server.log"), "--loglevel", "warning"]
    lock = _open(folder / "server.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _overwrite(lock, {"socket": str(path)})
        process = subprocess.Popen(
            [str(server.program), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C is for the relay, which needs Redis to finish its work
            pass_fds=(lock,),
        )
        _overwrite(lock, {"socket": str(path), "pid": process.pid})
    finally:
        os.close(lock)
    try:
        if _wait_ready(path, until, process):
            return path, process
        raise _problem(f"{server} did not start in time; {folder / 'server.log'} says why.")
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _ping(path: Path) -> _Answer:
    """Asks once. An error reply (a full disk, a long script) is an answer too: that server must not get a rival."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_REPLY)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            reply = client.recv(64)
    except (FileNotFoundError, ConnectionRefusedError):
        return _Answer.SILENT
    except OSError:
        return _Answer.BUSY
    return _Answer.BUSY if not reply or reply.startswith(b"-LOADING") else _Answer.READY


def _wait_ready(path: Path, until: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    while _ping(path) is not _Answer.READY:
        if time.monotonic() > until or (process is not None and process.poll() is not None):
            return False
        time.sleep(_POLL)
    return True


def _shut_down(path: Path) -> None:
    """Asks the server to end; it closes the connection when it has."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_REPLY)
        client.connect(str(path))
        client.sendall(b"SHUTDOWN\r\n")
        client.recv(64)


def _socket_path(folder: Path) -> Path:
    """The same for every process that names the same folder."""
    place = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.access(place, os.W_OK | os.X_OK):  # su and containers leave it pointing nowhere
        place = tempfile.gettempdir()
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    path = Path(place, f"relay-{os.getuid()}", f"{name}.sock")
    if len(os.fsencode(path)) >= _SUN_PATH:
        raise _problem(f"The socket path {path} is too long for this system; set TMPDIR to a shorter folder.")
    return path


def _private(folder: Path) -> None:
    """Makes a folder that nobody else may enter; one that somebody else made first is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise _problem(f"{folder} must be a folder of yours that nobody else may enter; remove it and start again.")


@contextmanager
def _exclusive(file: Path, until: float) -> Iterator[None]:
    lock = _open(file)
    try:
        while not _try_lock(lock):
            if time.monotonic() > until:
                raise _problem(f"Another relay has held {file} for too long; stop it and start again.")
            time.sleep(_POLL)
        yield
    finally:
        os.close(lock)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(file: Path) -> bool:
    lock = _open(file)
    try:
        return not _try_lock(lock)
    finally:
        os.close(lock)


def _wait_released(file: Path, until: float) -> None:
    while _held(file) and time.monotonic() < until:
        time.sleep(_POLL)


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; empty when there is none, or when its writer died over it."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, value: dict[str, Any]) -> None:
    """Replaces a file whole and durably."""
    beside = file.with_suffix(".new")
    with beside.open("w") as out:
        json.dump(value, out)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)


def _overwrite(lock: int, value: dict[str, Any]) -> None:
    """Writes into a locked file, which must stay the same file for the lock to mean something."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(value).encode(), 0)


def _problem(sentence: str) -> ConfigError:
    return ConfigError([sentence])
