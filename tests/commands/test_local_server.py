"""A server started for the length of a call."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from commands.local_server import NoServer, answers, server_at
from tests.fakes.echo_app import EchoApp

LISTENS = """
import http.server, os, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            print("crashed", flush=True)
            os._exit(3)
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
def leave(*args):
    open(sys.argv[1], "w").write("left in order")
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


@pytest.fixture
def url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def files(folder: Path) -> list[str]:
    return [str(path) for path in folder.iterdir()]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logs are written."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


async def test_a_server_that_runs_is_used() -> None:
    """Nothing is started where something answers."""
    async with EchoApp() as app, server_at(app.url, command=["false"]) as started:
        assert started is False


async def test_a_server_is_started_and_stopped(url: str, tmp_path: Path, temporary: Path) -> None:
    """With nobody there it is started at that port, told to leave afterwards, and its log is removed."""
    mark = tmp_path / "mark"
    async with server_at(url, command=[sys.executable, "-c", LISTENS, str(mark)]) as started:
        assert started is True
        assert await answers(url)
        assert not mark.exists()
    assert mark.read_text() == "left in order"
    assert files(temporary) == []


async def test_a_cancelled_call_stops_its_server(url: str, tmp_path: Path) -> None:
    """A cancel in the middle still stops the server in order."""
    mark = tmp_path / "mark"
    running = asyncio.Event()

    async def hold() -> None:
        async with server_at(url, command=[sys.executable, "-c", LISTENS, str(mark)]):
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    async with asyncio.timeout(20):
        await running.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() and mark.exists()


async def test_a_server_that_does_not_start(url: str, temporary: Path) -> None:
    """Its last line is in the message, and its log is kept and named."""
    command = [sys.executable, "-c", "print('loading'); raise SystemExit('PORT is taken')"]
    with pytest.raises(NoServer, match="did not start: PORT is taken") as caught:
        async with server_at(url, command=command):
            raise AssertionError("never entered")
    (log,) = files(temporary)
    assert log in str(caught.value)


async def test_a_server_that_never_answers(url: str, temporary: Path) -> None:
    """After the deadline it is given up, and killed if it does not leave when told."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with pytest.raises(NoServer, match="did not answer within 0"):
        async with server_at(url, command=[sys.executable, "-c", program], deadline=0.3, grace=0.1):
            raise AssertionError("never entered")


async def test_a_server_that_dies_during_the_call(url: str, tmp_path: Path, temporary: Path) -> None:
    """Leaving tells that it died, and where its log is."""
    with pytest.raises(NoServer, match="stopped during the call: crashed"):
        async with server_at(url, command=[sys.executable, "-c", LISTENS, str(tmp_path / "mark")]):
            with pytest.raises(OSError):
                await asyncio.to_thread(urllib.request.urlopen, url + "/crash")
    assert len(files(temporary)) == 1


@pytest.mark.parametrize("url", ["https://127.0.0.1:9", "http://127.0.0.2:9"])
async def test_nothing_is_started_elsewhere(url: str) -> None:
    """Only a plain address on loopback can be served from here."""
    with pytest.raises(NoServer, match="Nothing answers at"):
        async with server_at(url, command=["false"]):
            raise AssertionError("never entered")
