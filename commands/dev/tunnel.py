"""The tunnel: a process that runs ngrok for as long as it is wanted, and starts it again when it dies."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from commands.dev.ngrok import Opened, Trouble, read

FIRST_PAUSE = 0.5  # seconds before it is started again; doubled each time
LONGEST_PAUSE = 30.0
STOP_DEADLINE = 3.0
LONGEST_LINE = 1 << 20


class Tunnel:
    """``opened`` is told the address each time there is one, whether it is another or not; ``say`` what a person should
    know. ``ended`` is set when it is given up, for what ngrok says does not mend itself."""

    def __init__(self, command: Sequence[str], opened: Callable[[str], object], say: Callable[[str], object]) -> None:
        self._command = command
        self._opened = opened
        self._say = say
        self._up = False
        self._last_said = ""
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="tunnel")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends ngrok. Raises what was wrong with us, should it be that."""
        self._running.cancel()
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            self._running.result()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while await self._once():
                if self._up:
                    self._up, pause = False, FIRST_PAUSE
                    self._say("the tunnel is gone; it is opened again")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self.ended.set()

    async def _once(self) -> bool:
        """One run of ngrok; whether another one may be better."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LONGEST_LINE,
                start_new_session=True,  # calls go on through it for a while after Ctrl-C
            )
        except OSError as error:
            self._trouble(Trouble(f"{self._command[0]} cannot be run: {error.strerror}", final=True))
            return False
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                match read(line.decode(errors="replace")):
                    case Opened(url):
                        self._up, self._last_said = True, ""
                        self._opened(url)
                    case Trouble() as trouble:
                        self._trouble(trouble)
                        if trouble.final:
                            return False
            await process.wait()
            return True
        finally:
            await _stop(process)

    def _trouble(self, trouble: Trouble) -> None:
        """Says it, once: ngrok tries again and again, and repeats itself."""
        if trouble.sentence != self._last_said:
            self._last_said = trouble.sentence
            self._say(f"the tunnel {'is given up' if trouble.final else 'has trouble'}: {trouble.sentence}")


async def _stop(process: Process) -> None:
    """Ends it and waits for that, reading what it still says."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
