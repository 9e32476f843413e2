"""One websocket to the Responses API and its lanes: a reply each, told apart by ``stream_id``.

Replies of one lane come one after the other, so no turn may stand behind a stale one. A reply nobody wants any more is
cancelled at the provider, which may refuse that; what it goes on to say is dropped here, and its lane is leased again
only when it has ended. If it has not within a second, the socket gets no new turns and is left with its last one.

Facts: OpenAI's guide to the websocket mode and the types of the SDK 3.52: 32 names and 16 replies in flight a socket,
events of a lane name it, errors do where they belong to one. ``response.cancel`` is in neither. An endpoint of the
protocol before that knows no lanes: its events name none, so nobody could tell whose they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    from openai.resources.responses.responses import AsyncResponsesConnection

STREAMS = 8  # of the 16: one connection's trouble is that of few calls
NAMES = 32
QUIET_SECONDS = 1.0  # for a cancelled reply to end
REFUSAL_SECONDS = 5.0  # an error without a lane so soon after a cancel is about that
SEND_SECONDS = 1.0

_LAST = {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}


class Listener(Protocol):
    """Who a reply is for. Neither method may wait or raise."""

    def take(self, event: dict[str, Any]) -> None:
        """An event of the reply."""

    def lost(self) -> None:
        """Nothing more will come: the socket is gone or did not take the request."""


class Lane:
    """One reply on one socket. ``response_id`` is "" until it has begun; ``over`` when it has ended."""

    __slots__ = ("_socket", "asked_to_end", "listener", "name", "news", "over", "response_id")

    def __init__(self, socket: Socket, name: str, listener: Listener) -> None:
        self.name = name
        self.listener: Listener | None = listener
        self.response_id = ""
        self.over = False
        self.asked_to_end = False
        self.news: asyncio.Event | None = None  # of an abandoned reply: it has begun or ended
        self._socket = socket

    async def send(self, body: Mapping[str, Any]) -> None:
        """Writes the request. Raises whatever the connection raises, TimeoutError included."""
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send({"type": "response.create", "stream_id": self.name, **body})

    def distrust(self) -> None:
        """What came of this request makes the socket unfit for another."""
        self._socket.retire()

    def abandon(self) -> None:
        """Nobody listens any more. The end of the reply, if it is still to come, is asked for in the background."""
        if self.listener is not None:
            self.listener = None
            if not self.over:
                self._socket.quieten(self)


class Socket:
    """One connection. ``read`` it in a task of its own; that one ends when the connection does."""

    def __init__(
        self,
        connection: AsyncResponsesConnection,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        report: Callable[[Socket], None],
    ) -> None:
        """``spawn`` owns its small tasks; ``report`` is called when it is retired and when it is to be left."""
        self.retired = False
        self.leaving = False
        self.asked = False  # a turn has been given to it
        self.proven = False  # a reply has begun here
        self.laneless = False  # one has begun without the name of its lane
        self._connection = connection
        self._spawn = spawn
        self._report = report
        self._names = deque(f"lane-{number}" for number in range(NAMES))
        self._lanes: dict[str, Lane] = {}
        self._cancelled_at = float("-inf")

    @property
    def free(self) -> int:
        """How many more replies it takes."""
        return 0 if self.retired else STREAMS - len(self._lanes)

    def lease(self, listener: Listener) -> Lane:
        """A lane; ``free`` must not be 0. The name is the one unused for longest."""
        self.asked = True
        lane = Lane(self, self._names.popleft(), listener)
        self._lanes[lane.name] = lane
        return lane

    async def send(self, event: Mapping[str, Any]) -> None:
        await self._connection.send_raw(orjson.dumps(event).decode())

    def retire(self) -> None:
        """No new turns; it is left when it has none any more."""
        before = self.retired, self.leaving
        self.retired = True
        self.leaving = self.leaving or not any(lane.listener for lane in self._lanes.values())
        if before != (self.retired, self.leaving):
            self._report(self)

    def quieten(self, lane: Lane) -> None:
        """Sees to the end of an abandoned reply; one on a socket that is being closed ends with that."""
        if not self.leaving:
            lane.news = asyncio.Event()
            self._spawn(self._quieten(lane, lane.news), "model-quieten")
            if self.retired:
                self.retire()

    async def read(self) -> None:
        """Hands events to whom they are for. Raises when the connection ends, or when what comes cannot be read."""
        while True:
            event = orjson.loads(await self._connection.recv_bytes())
            self._deliver(event, event["type"])

    async def close(self) -> None:
        """Its replies are lost; takes the close timeout of the connection at most."""
        self.retired = self.leaving = True
        for lane in list(self._lanes.values()):
            _lose(lane)
        await self._connection.close()

    def _deliver(self, event: dict[str, Any], kind: str) -> None:
        lane = self._lanes.get(event.get("stream_id", ""))
        if lane is None:
            if not event.get("stream_id"):
                if kind == "error":
                    self._complaint(event)
                elif kind == "response.created":
                    self.laneless = True
                    self._unfit()
            return
        begins = kind == "response.created"
        if begins:
            lane.response_id = event["response"]["id"]
            self.proven = True
        elif not lane.response_id and kind != "error":
            return  # the rest of the reply that had the name before
        # An error on a lane that was asked to end may be the answer to that, and not the end.
        last = kind in _LAST or (kind == "error" and not lane.asked_to_end)
        if last:
            lane.over = True
            del self._lanes[lane.name]
            self._names.append(lane.name)
        if lane.listener is not None:
            lane.listener.take(event)
        if lane.news is not None and (begins or last):
            lane.news.set()
        if last and self.retired:
            self.retire()

    def _complaint(self, event: dict[str, Any]) -> None:
        """An error that names no lane: a cancel was refused, or the socket's hour is over, or nobody knows."""
        error = event.get("error")
        code = error.get("code") if isinstance(error, dict) else event.get("code")
        expired = code == "websocket_connection_limit_reached"
        if not expired and asyncio.get_running_loop().time() - self._cancelled_at < REFUSAL_SECONDS:
            return
        self._unfit()

    def _unfit(self) -> None:
        """No new turns. What has not begun may never: another way is open to it."""
        for lane in [lane for lane in self._lanes.values() if not lane.response_id]:
            _lose(lane)
        self.retire()

    async def _quieten(self, lane: Lane, news: asyncio.Event) -> None:
        """Asks an abandoned reply to end; if it does not in time, the socket is not to be trusted with another."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while not lane.over:
                    if lane.response_id and not lane.asked_to_end:
                        lane.asked_to_end = True
                        self._cancelled_at = asyncio.get_running_loop().time()
                        await self.send({"type": "response.cancel", "response_id": lane.response_id})
                    else:
                        await news.wait()
                        news.clear()
        except Exception:  # too late, or the connection is gone
            self.retire()


def _lose(lane: Lane) -> None:
    listener = lane.listener
    lane.abandon()
    if listener is not None:
        listener.lost()
