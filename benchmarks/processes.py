"""Child processes of a benchmark: started on a core of their own, asked for their time and memory, and always ended.

A child that is measured ends when its standard input does (``leash.py``), so it does not outlive a killed benchmark.
Figures come from ``/proc`` where it exists, else from ``ps``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.endpoint import Answered, Script
from phone.driven import Driven, end
from phone.processes import cpu_seconds, memory_bytes, waited_seconds

CHECKOUT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0


class BenchError(Exception):
    """A sentence for whoever started the benchmark."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the server runs on and which the load; None where processes cannot be pinned."""

    server: int | None
    load: int | None
    why_not: str = ""

    @classmethod
    def choose(cls) -> Self:
        if shutil.which("taskset") is None or not hasattr(os, "sched_getaffinity"):
            return cls(None, None, "taskset is not here: server and load share all cores, figures vary more")
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return cls(None, None, "there is one core only: server and load share it, figures vary more")
        return cls(cores[0], cores[-1])

    def pin_load(self) -> None:
        """Puts this process, the driver, on the core of the load."""
        if self.load is not None:
            os.sched_setaffinity(0, {self.load})

    def __str__(self) -> str:
        placed = self.why_not or f"server on core {self.server}, load on core {self.load} (taskset)"
        return f"{placed}; load average before: {os.getloadavg()[0]:.1f}"


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """What a child sees of ours: nothing but what a program needs to run, so that no setting of the user's counts."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT", "XDG_RUNTIME_DIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(values)


class Child:
    """A running process; ``pid`` is the program's own, since taskset gives its place to it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises BenchError with the end of its log if it has ended."""
        if self.process.returncode is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise BenchError(f"{self.name} ended with status {self.process.returncode}:\n{tail}")

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def waited_seconds(self) -> float:
        return waited_seconds(self.pid)

    def memory_bytes(self) -> int:
        return memory_bytes(self.pid)


@asynccontextmanager
async def child(
    name: str, command: Sequence[str], *, core: int | None, env: Mapping[str, str], log: Path
) -> AsyncIterator[Child]:
    """Runs a program as long as the context lasts; then SIGTERM, and SIGKILL if it will not go."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *pinned(command, core),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment(env),
            cwd=CHECKOUT,
        )
    try:
        yield Child(name, process, log)
    finally:
        await end(process)


class Endpoint:
    """The model endpoint in its process (``endpoint.py``)."""

    def __init__(self, driven: Driven) -> None:
        self._driven = driven
        self.pid = driven.pid
        self.url: str = driven.ready["url"]

    @classmethod
    @asynccontextmanager
    async def start(cls, core: int | None, *options: str) -> AsyncIterator[Endpoint]:
        """``options``: of its command line."""
        command = pinned([sys.executable, "-m", "benchmarks.endpoint", *options], core)
        async with Driven.start("the model endpoint", command, env=environment({}), cwd=CHECKOUT) as driven:
            yield cls(driven)

    async def script(self, script: Script) -> None:
        """How it answers from now on."""
        await self._driven.ask({"script": {name: getattr(script, name) for name in Script.__slots__}})

    async def take(self) -> list[Answered]:
        """What it answered since it was last asked, in the order the requests came."""
        rows = (await self._driven.ask({"take": True}))["answered"]
        return [Answered(**row) for row in rows]
