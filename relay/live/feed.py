"""What one socket is sent of a conversation: each frame once and in order, whichever process makes it.

Frames come by two ways, from this process as they are made and from others through Redis, and the second may lose one.
Only the next frame is written as it comes. Any other tells that something was missed: then what is missing is read.

Nothing is written before ``go``: a client that comes back is told where the conversation stands (``ready``) and says
itself from where on it wants it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from relay.errors import StoreError
from relay.live.frames import Reset, dump

Frames = Sequence[tuple[int, bytes]]

log = structlog.get_logger(__name__)


class Feed:
    """``write`` sends and does not wait. ``fetch``: the frames behind one, None where they are not all kept any more;
    it raises StoreError, of which ``broken`` is told: the client must come again."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        fetch: Callable[[int], Awaitable[Frames | None]],
        broken: Callable[[], object],
    ) -> None:
        self._write = write
        self._fetch = fetch
        self._broken = broken
        self._held = True
        self.knows = False
        """Whether the client is about to be told where the conversation stands."""
        self._catching: asyncio.Task[None] | None = None
        self._closed = False
        self.seen = 0
        """The last frame the client has."""
        self.newest = 0
        """The last frame there is, as far as is known here."""

    @property
    def held(self) -> bool:
        """Whether the client has still to say from where on it wants frames."""
        return self._held

    def offer(self, seq: int, frame: bytes) -> None:
        """A frame was made. Never waits."""
        if seq <= self.newest:
            return  # it came by the other way, or will be read
        self.newest = seq
        if self._held or self._closed:
            return
        if self._catching is None and seq == self.seen + 1:
            self.seen = seq
            self._write(frame)
        else:
            self._catch_up()

    def know(self, seq: int) -> None:
        """There are so many frames; the client wants those that follow unless it says otherwise."""
        self.newest = max(self.newest, seq)
        self.seen = self.newest
        self.knows = True

    def go(self, after: int | None = None) -> None:
        """Frames are written from now on: those behind ``after``, None for what followed ``know``."""
        if self._closed:
            return
        self._held = False
        if after is not None:
            self.seen = after
        # Beyond what is known here may be what another process has sent and not written yet.
        if self.seen != self.newest:
            self._catch_up()

    def reset(self) -> None:
        """The client has what nobody knows of any more: it is to read the history, and gets what follows."""
        self._held = False
        self.seen = self.newest
        self._write(dump(Reset()))

    def restart(self, seq: int) -> None:
        """What was told is not kept any more, and frames count on from this number, which is less: the same."""
        self.newest = seq
        self.reset()

    def fail(self) -> None:
        """What follows cannot be read here."""
        self._broken()

    async def close(self) -> None:
        """Nothing is written any more."""
        self._closed = True
        if self._catching is not None:
            self._catching.cancel()
            await asyncio.wait([self._catching])

    def _catch_up(self) -> None:
        if self._catching is None:
            self._catching = asyncio.create_task(self._read(), name="chat: catch up")

    async def _read(self) -> None:
        try:
            while self.seen != self.newest:
                after = self.seen
                found = await self._fetch(after)
                if self.seen != after:
                    continue  # the client has asked for something else meanwhile
                for seq, frame in found or ():
                    if seq > self.seen:
                        self.seen = seq
                        self._write(frame)
                if found is None or self.seen == after < self.newest:
                    self.reset()
                self.newest = max(self.newest, self.seen)
        except StoreError as error:
            log.warning("chat not caught up", code=error.code)
            self._broken()
        except Exception as error:
            log.error("bug in a chat", error=type(error).__name__, exc_info=error)
            self._broken()
        finally:
            self._catching = None


__all__ = ["Feed", "Frames"]
