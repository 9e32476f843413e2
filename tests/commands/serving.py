"""``relay serve`` as a process of its own, and what it says."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

RELAY = str(Path(sys.executable).with_name("relay"))
DEADLINE = 30.0
# Settings of whoever runs the tests are none of theirs.
INHERITED = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR") if name in os.environ}


class Serving:
    """A started server. ``output``: all it has written so far, both streams; ``records``: its log, read as JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._reading = asyncio.create_task(self._read())
        self._news = asyncio.Condition()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    @property
    def url(self) -> str:
        return str(next(record["address"] for record in self.records if record["event"] == "listening"))

    async def logged(self, event: str) -> dict[str, Any]:
        """The first record of an event, once it is there."""
        async with asyncio.timeout(DEADLINE), self._news:
            while True:
                found = next((record for record in self.records if record["event"] == event), None)
                if found is not None:
                    return found
                assert not self._reading.done(), f"it ended: {self.output}"
                await self._news.wait()

    async def said(self, text: str, times: int = 1) -> None:
        """Returns once its output has the text so many times."""
        async with asyncio.timeout(DEADLINE), self._news:
            while self.output.count(text) < times:
                assert not self._reading.done(), f"it ended: {self.output}"
                await self._news.wait()

    async def ended(self) -> int:
        """Its exit status; all of its output is there then."""
        async with asyncio.timeout(DEADLINE):
            await self._reading
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.output += line.decode()
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


async def launch(data_dir: Path, *, cwd: Path, arguments: Sequence[str] = (RELAY, "serve"), **environ: str) -> Serving:
    """Starts it and returns at once. ``environ``: settings by their names, beside a free port and ``data_dir``."""
    variables = {"DATA_DIR": str(data_dir), "PORT": "0", "PYTHONWARNINGS": "default", **INHERITED, **environ}
    return Serving(
        await asyncio.create_subprocess_exec(
            *arguments, cwd=cwd, env=variables, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-2
        )
    )


@asynccontextmanager
async def serving(data_dir: Path, *, cwd: Path, **environ: str) -> AsyncIterator[Serving]:
    """A server that listens; killed, should it still run afterwards."""
    server = await launch(data_dir, cwd=cwd, **environ)
    try:
        await server.logged("listening")
        yield server
    finally:
        if server.process.returncode is None:
            server.process.kill()
        await server.ended()


def redis_process(data_dir: Path) -> int:
    """The process id of the folder's Redis server; 0 when none runs."""
    file = data_dir / "redis" / "server.lock"
    if not file.exists():
        return 0
    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(json.loads(file.read_text())["pid"])
    return 0
