"""A process driven by lines of JSON: it says one line when it is ready, then answers each line with one, and ends when
its standard input does, so it does not outlive whoever started it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import orjson

from relay.errors import RelayError

ANSWER_SECONDS = 20.0
LEAVE_SECONDS = 10.0
LONGEST = 1 << 28  # bytes of a line


class NotDriven(RelayError):
    """The process ended or gave no answer in time."""

    code = "not_driven"


class Driven:
    """The starting end. ``ready`` is what the process said first."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self.ready: dict[str, Any] = {}
        self._process = process

    @classmethod
    @asynccontextmanager
    async def start(
        cls, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> AsyncIterator[Self]:
        """``name``: for errors. ``env``: this process's own if None. Raises NotDriven; a ``problem`` that it tells
        instead of being ready is the error's text. Leaving ends it."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=env, cwd=cwd, limit=LONGEST
        )
        driven = cls(name, process)
        try:
            driven.ready = await driven._line()
            if "problem" in driven.ready:
                raise NotDriven(driven.ready["problem"])
            yield driven
        finally:
            await end(process)

    async def ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        """One order and its answer; one at a time. Raises NotDriven."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise NotDriven(f"{self.name} does not answer") from error
        if not line:
            raise NotDriven(f"{self.name} ended")
        answer: dict[str, Any] = orjson.loads(line)
        return answer


async def end(process: asyncio.subprocess.Process, *, within: float = LEAVE_SECONDS) -> None:
    """SIGTERM, and SIGKILL if it will not go or, on a cancel, nobody wants to wait."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise


async def answer(ready: Mapping[str, object], take: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """The driven end: tells that it is ready and has ``take`` answer each order. Returns when the input ends."""
    reader = asyncio.StreamReader(limit=LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tell(ready)
    while line := await reader.readline():
        tell(take(orjson.loads(line)))


def tell(message: Mapping[str, object]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()
