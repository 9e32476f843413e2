"""Has the telephone number pointed here and put back, by a process of its own (``commands.dev.line``)."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from commands.dev.saying import say

UNDO_DEADLINE = 30.0  # seconds for what is under way and for putting the number back
LINE = (sys.executable, "-P", "-m", "commands.dev.line")


class Keeper:
    """``environ``: the variables of that process. It puts the number back when its input ends, which is when this is
    left, or when we are gone; leaving waits for it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: Process | None = None

    async def lead_to(self, public_url: str) -> None:
        """Returns once it is asked for; how it went is said by the process itself."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *LINE, stdin=asyncio.subprocess.PIPE, env=dict(self._environ), start_new_session=True
            )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{public_url}\n".encode())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(UNDO_DEADLINE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            say("the number was not put back in time; see: relay number list")
