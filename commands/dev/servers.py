"""The processes that serve: one takes new calls, those before it only see theirs to the end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from commands.listening import READY
from relay.errors import ConfigError

READY_DEADLINE = 60.0
GRACE = 30.0  # seconds a server may take to end once its calls have
MESSAGE = 4096

CHILD = (sys.executable, "-P", "-m", "commands.dev.child")


class Servers:
    """Servers on one listening socket, which stays open between them: who connects is never refused.

    ``environ``: the variables of each. ``drain``: seconds their calls may take to end. ``gone``: called when the one
    that takes calls has ended by itself.
    """

    def __init__(
        self, listening: socket.socket, environ: Mapping[str, str], *, drain: float, gone: Callable[[], object]
    ) -> None:
        self._listening = listening
        self._environ = dict(environ)
        self._limit = drain + GRACE
        self._gone = gone
        self._current: Process | None = None
        self._waits: dict[Process, asyncio.Task[None]] = {}
        self._ready: dict[int, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="relay-dev-")
        place = Path(self._folder.name) / "notify"
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.setblocking(False)
        try:
            self._told.bind(str(place))
        except OSError:
            self._told.close()
            self._folder.cleanup()
            raise ConfigError([f"{place} cannot be a socket; set TMPDIR to a shorter folder of yours."]) from None
        self._environ["NOTIFY_SOCKET"] = str(place)
        self._hearing = asyncio.create_task(self._hear(), name="notifications")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Has the last one leave too, and waits for all; who takes longer than their calls may is killed."""
        current, self._current = self._current, None
        if current is not None:
            self._see_off(current, signal.SIGTERM)
        if self._waits:
            await asyncio.wait(self._waits.values())
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        self._told.close()
        self._folder.cleanup()

    @property
    def serving(self) -> bool:
        """Whether there is one that takes calls."""
        return self._current is not None and self._current.returncode is None

    async def replace(self, **environ: str) -> bool:
        """Starts a server, with these variables too; once it listens the one before takes nothing more. False: it did
        not start, has said why, and the one before goes on. A cancel stops the new one."""
        process = await asyncio.create_subprocess_exec(
            *CHILD,
            str(self._listening.fileno()),
            stdin=asyncio.subprocess.PIPE,
            env=self._environ | environ,
            pass_fds=(self._listening.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal is for us
        )
        ready = self._ready[process.pid] = asyncio.Event()
        ended = self._waits[process] = asyncio.create_task(self._wait(process), name=f"server {process.pid}")
        listening = asyncio.create_task(ready.wait(), name=f"server {process.pid} listens")
        try:
            await asyncio.wait((listening, ended), timeout=READY_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._see_off(process, signal.SIGTERM)
            raise
        finally:
            listening.cancel()
        if not ready.is_set() or ended.done():
            self._see_off(process, signal.SIGTERM)
            return False
        before, self._current = self._current, process
        if before is not None:
            self._see_off(before, signal.SIGUSR1)
        return True

    def signal_all(self) -> None:
        """SIGTERM to every one, which has those that are leaving already hurry."""
        for process in self._waits:
            _send(process, signal.SIGTERM)

    def _see_off(self, process: Process, number: signal.Signals) -> None:
        """Tells it to leave, and kills it should that take too long."""
        _send(process, number)
        asyncio.get_running_loop().call_later(self._limit, _send, process, signal.SIGKILL)

    async def _wait(self, process: Process) -> None:
        await process.wait()
        self._waits.pop(process, None)
        self._ready.pop(process.pid, None)
        if process is self._current:
            self._gone()

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = (await loop.sock_recv(self._told, MESSAGE)).decode(errors="replace").splitlines()
            for line in message:
                name, _, pid = line.partition("=")
                if name == "MAINPID" and READY in message and pid.isdecimal() and int(pid) in self._ready:
                    self._ready[int(pid)].set()


def _send(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)
