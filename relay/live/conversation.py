"""One conversation of the live chat in this process: its frames are numbered here, kept, and told to its sockets.

A turn is done in the process its message came to, with the conversation's lease. What follows a socket to another
process is the log: who reads there is told what is made here, and what has become of a turn whose process died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from relay.chats import Answered, OpenTurn, said
from relay.live.feed import Feed, Frames
from relay.live.frames import Ack, Done, Failed, dump, dump_delta, ends
from relay.live.line import MOST_WAITING, Line, Spawn, Wish
from relay.live.problems import PROBLEMS
from relay.store.chat_running import RunningTurn, RunningTurns

HUNG_UP = 4403  # close code: who is told it does not come again
MOST_RECENT = 1000  # frames that a socket which comes back is told from memory

log = structlog.get_logger(__name__)


class Log(Protocol):
    """What conversations were sent; ``relay.store.chat_log.ChatLog`` satisfies it."""

    async def begin(self, conversation: str, /) -> int: ...

    def add(self, conversation: str, seq: int, frame: bytes, /, *, ends: bool) -> None: ...

    async def flush(self, conversation: str, /) -> None: ...

    async def last(self, conversation: str, /) -> int: ...

    async def is_open(self, conversation: str, /) -> bool: ...

    async def since(self, conversation: str, after: int, /) -> Frames | None: ...

    def follow(
        self, conversation: str, after: int, take: Callable[[int, bytes], object], lost: Callable[[], object], /
    ) -> Callable[[], None]: ...


class Client(Protocol):
    """A socket of the conversation. None of these waits."""

    def send(self, frame: bytes, /) -> None: ...

    def leave(self, code: int, reason: str, /) -> None: ...

    def rest(self) -> None:
        """Nothing is being answered any more."""
        ...


class LiveConversation:
    """``agent``: who has it as long as nothing else is stored; ``person``: whose it is. ``answer``: does one thing in
    it. ``idle``: called when there is nothing more to do for it. ``worker``: the name of this process."""

    def __init__(
        self,
        name: str,
        agent: str,
        person: str,
        log: Log,
        running: RunningTurns,
        answer: Callable[[LiveConversation, Wish], Awaitable[None]],
        spawn: Spawn,
        idle: Callable[[LiveConversation], object],
        *,
        worker: str,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.name = name
        self.agent = agent
        self.person = person
        self.line = Line(name, lambda wish: answer(self, wish), spawn, self._rest, most=most_waiting)
        self._idle = idle
        self._log = log
        self._running = running
        self._worker = worker
        self._feeds: dict[Feed, Client] = {}
        self._unfollow: Callable[[], None] | None = None
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=MOST_RECENT)  # of this turn, without a gap
        self._seq = 0  # of the last frame that was made here, or on which those made here count on

    @property
    def unused(self) -> bool:
        """Whether nothing is lost with this object."""
        return not self._feeds and not self.line.busy

    @property
    def watched(self) -> bool:
        """Whether it has a socket here."""
        return bool(self._feeds)

    # -- its sockets

    async def attach(self, feed: Feed, client: Client) -> None:
        """The feed gets all frames from now on; it is held until it is told to go. The client gets those that have no
        number. Raises StoreError; the feed is then to be detached all the same, as after a cancel."""
        self._feeds[feed] = client
        last = await self._log.last(self.name)
        if self._unfollow is None:
            self._unfollow = self._log.follow(self.name, max(last, self._seq), self._take, self._lost)
        running = await self._running.read(self.name)
        if running is not None and not (self.line.current and self.line.current.turn == running.turn):
            self.line.submit(Wish(kind="look"))  # whatever becomes of that turn is found out in turn
        feed.know(max(last, self._seq))

    def detach(self, feed: Feed) -> None:
        self._feeds.pop(feed, None)
        if not self._feeds and self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def hang_up(self) -> bool:
        """Closes its sockets for good; whether there are any."""
        for client in [*self._feeds.values()]:
            client.leave(HUNG_UP, "ended")
        return bool(self._feeds)

    async def since(self, after: int) -> Frames | None:
        """The frames behind that one, None where they are not all kept any more. Raises StoreError."""
        recent = self._recent
        if recent and recent[0][0] <= after + 1 and recent[-1][0] == self._seq and after <= self._seq:
            return [each for each in recent if each[0] > after]
        return await self._log.since(self.name, after)

    async def running(self) -> RunningTurn | None:
        """The turn that is under way in whichever process. Raises StoreError."""
        return await self._running.read(self.name)

    def _take(self, seq: int, frame: bytes) -> None:
        """From another process, or once more from this one."""
        for feed in [*self._feeds]:
            feed.offer(seq, frame)

    def _lost(self) -> None:
        self._unfollow = None
        for feed in [*self._feeds]:
            feed.fail()

    # -- the course of a turn; the conversation's lease is held. These raise StoreError

    async def begin(self, turn: OpenTurn, wish: Wish) -> None:
        """The turn begins, with its name; from here on it is missed where its process dies."""
        left = await self._running.begin(self.name, RunningTurn(wish.turn, wish.key, self._worker))
        if left is not None:
            await self._settle(turn, left)
        self._count_on(await self._log.begin(self.name))
        if wish.key:
            self._write(dump(Ack(wish.key, wish.turn)))

    async def repeat(self, wish: Wish, answered: Answered) -> None:
        """The message was answered before: its client is told so, and how."""
        self._write(dump(Ack(wish.key, answered.turn)))
        frames = await self._log.since(self.name, 0) or ()
        told = next(((seq, frame) for seq, frame in reversed(frames) if ends(frame) == answered.turn), None)
        if told is None:
            self._write(dump(Done(answered.turn, await self._log.last(self.name), _words(answered))))
            return
        for feed, client in [*self._feeds.items()]:
            if feed.knows and feed.seen >= told[0]:
                client.send(told[1])
            else:
                feed.offer(*told)  # in its order, behind what the client has still to be told

    async def look(self, turn: OpenTurn) -> None:
        """Tells what has become of a turn whose process has died."""
        left = await self._running.read(self.name)
        if left is not None:
            await self._settle(turn, left)
            await self.over()

    async def over(self) -> None:
        """All of the turn is told, and stored where it was to be: whoever comes next finds nothing under way."""
        await self._log.flush(self.name)
        self._recent.clear()
        await self._running.end(self.name)

    async def _settle(self, turn: OpenTurn, left: RunningTurn) -> None:
        if not await self._log.is_open(self.name):
            return  # its end was told; or not even its beginning was
        self._count_on(await self._log.begin(self.name))
        answered = turn.answered(left.key)
        log.info("turn of another process", conversation=self.name, stored=answered is not None)
        if answered is not None:
            self._emit(dump(Done(left.turn, self._seq + 1, _words(answered))), ends=True)
        else:
            self._fail(left.turn, left.key, "lost", *PROBLEMS["lost"])

    def _count_on(self, seq: int) -> None:
        if seq != self._seq:
            self._recent.clear()
        self._seq = seq
        for feed in [*self._feeds]:
            if feed.knows and feed.newest > seq:
                feed.restart(seq)  # the log was forgotten, or Redis has lost it

    # -- what a turn tells; none of these waits

    def delta(self, wish: Wish, text: str) -> None:
        self._emit(dump_delta(wish.turn, self._seq + 1, text))

    def done(self, wish: Wish, text: str, *, stopped: bool = False, ended: bool = False, handoff: bool = False) -> None:
        self._emit(dump(Done(wish.turn, self._seq + 1, text, stopped, ended, handoff)), ends=True)

    def failed(self, wish: Wish, code: str, message: str, retryable: bool) -> None:
        """The turn is over without an answer; or it has not begun, and no frame of it is to be kept."""
        if wish.turn:
            self._fail(wish.turn, wish.key, code, message, retryable)
        elif wish.key:
            self._write(dump(Failed(code, message, retryable, "", wish.key)))

    def _fail(self, turn: str, key: str, code: str, message: str, retryable: bool) -> None:
        self._emit(dump(Failed(code, message, retryable, turn, key, self._seq + 1)), ends=True)

    def _emit(self, frame: bytes, *, ends: bool = False) -> None:
        self._seq += 1
        self._recent.append((self._seq, frame))
        self._log.add(self.name, self._seq, frame, ends=ends)
        for feed in [*self._feeds]:
            feed.offer(self._seq, frame)

    def _write(self, frame: bytes) -> None:
        for feed, client in [*self._feeds.items()]:
            if feed.knows:  # one that has not been told where the conversation stands makes nothing of it
                client.send(frame)

    def _rest(self) -> None:
        self._idle(self)
        for client in [*self._feeds.values()]:
            client.rest()


def _words(answered: Answered) -> str:
    """Of an answer that is stored."""
    return "\n\n".join(text for who, text in said(answered.items) if who == "assistant")


__all__ = ["Client", "LiveConversation", "Log"]
