"""Many calls at once, for load: Twilio's side of the websocket without a caller's manners, and a clock on every frame.

    call = await LoadCall.open(entrance, call_sid="CA...")
    answer = call.prompt("What is free from Monday on?")
    await answer.ended(within=10)
    answer.first - answer.sent                       # seconds until the first words
    await call.close()

``caller.py`` plays a person: it speaks, listens at the pace of speech and is interrupted. This one only sends and
notes times. A call costs one connection and no task (``wire.py``).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from websockets.frames import CloseCode, Frame, Opcode

from phone.signing import HEADER, sign
from phone.wire import CallLost, Clock, Wire
from relay.errors import InvalidFrame
from relay.frames import AgentSpeaking, End, Incoming, Interrupt, Prompt, Setup, Text, encode, parse_outgoing


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a call's websocket is opened. ``token`` signs the handshake as Twilio does; "" leaves it unsigned.
    ``parameters`` go into ``setup``, as a ``<Parameter>`` of the TwiML does. ``dialled``: where ``url`` is reached,
    "" for just there. ``tls``: for an address that begins with ``wss``, None for the system's certificates.
    ``action``: what is asked how the call goes on after the session; "" for nothing."""

    url: str
    token: str = field(default="", repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    dialled: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    account_sid: str = "AC" + "0" * 32
    from_: str = field(default="+15555550100", repr=False)
    to: str = field(default="+15555550199", repr=False)
    action: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        return self.dialled or self.url


class Answer:
    """What came back for one prompt. Times are the call's clock, in seconds; 0 is not yet.

    sent: the prompt was written. first, second: frames with text arrived. last: the frame that closed the talk cycle.
    open: a talk cycle has begun and is not closed.
    """

    __slots__ = ("_ended", "first", "frames", "last", "open", "second", "sent", "text")

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.first = self.second = self.last = 0.0
        self.frames = 0
        self.open = False
        self.text = ""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ended(self, *, within: float) -> Self:
        """Waits for the closing frame. Raises CallLost when it does not come in time or the socket is gone."""
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), within)
        except TimeoutError:
            raise CallLost(f"no end of an answer within {within:g} s") from None
        return self

    def _take(self, frame: Text, at: float) -> None:
        if frame.token:
            if not self.frames:
                self.first = at
            elif self.frames == 1:
                self.second = at
            self.frames += 1
            self.text += frame.token
            self.open = True
        if frame.last:
            self.last = at
            self.open = False
            self._end()

    def _end(self, error: Exception | None = None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
            self._ended.exception()  # nobody may be waiting


class LoadCall:
    """One call. ``hear`` is told of every text frame and the moment it arrived, before anything else happens.

    Frames are sent at once and in order. Made by ``open``; ``close`` it.
    """

    def __init__(self, call_sid: str, hear: Callable[[Text, float], None] | None, clock: Clock) -> None:
        self.call_sid = call_sid
        self.clock = clock
        self.answer: Answer | None = None
        self.ended = False  # the server sent `end`
        self.faults = 0  # frames Twilio would have refused
        self._hear = hear
        self._pongs: dict[bytes, Callable[[], None]] = {}
        self._pings = 0
        self._wire: Wire

    @classmethod
    async def open(
        cls,
        entrance: Entrance,
        *,
        call_sid: str,
        session: str = "",
        from_: str = "",
        setup: bool = True,
        within: float = 10.0,
        hear: Callable[[Text, float], None] | None = None,
        clock: Clock = time.monotonic,
    ) -> Self:
        """Connects and sends ``setup``, unless that is to be left out. ``session``: its id, made of the call's if "".
        ``from_``: who calls, the entrance's if "". Raises CallLost. A cancel leaves no connection behind."""
        call = cls(call_sid, hear, clock)
        headers = {HEADER: sign(entrance.token, entrance.url)} if entrance.token else {}
        call._wire = await Wire.open(
            entrance.address, call, headers=headers, tls=entrance.tls, within=within, clock=clock
        )
        if not setup:
            return call
        call.send(
            Setup(
                session or "VX" + call_sid[2:],
                call_sid,
                account_sid=entrance.account_sid,
                from_=from_ or entrance.from_,
                to=entrance.to,
                direction="inbound",
                call_status="RINGING",
                call_type="PSTN",
                custom_parameters=dict(entrance.parameters),
            )
        )
        return call

    def send(self, frame: Incoming) -> float:
        """Writes a frame; returns the moment before it was written. Raises CallLost."""
        at = self.clock()
        self._wire.send(encode(frame))
        return at

    def prompt(self, text: str, lang: str = "en-US") -> Answer:
        """A final prompt. The answer is that to this prompt until the next one."""
        answer = self.answer = Answer(self.clock())
        self._wire.send(encode(Prompt(text, lang)))
        return answer

    def interrupt(self, utterance: str, ms: int = 0) -> float:
        return self.send(Interrupt(utterance, ms))

    def spoken(self) -> None:
        """Tells the server, as Twilio does, that all it said has been spoken."""
        self.send(AgentSpeaking(True))
        self.send(AgentSpeaking(False))

    def after_all_before(self, then: Callable[[], None]) -> None:
        """Pings: ``then`` is called, among the frames in their order, when the server has read all sent until now."""
        self._pings += 1
        data = self._pings.to_bytes(4, "big")
        self._pongs[data] = then
        self._wire.ping(data)

    def send_raw(self, data: bytes) -> None:
        """Writes a text frame of any content, such as Twilio would never send. Raises CallLost."""
        self._wire.send(data)

    def encoded(self, frames: Sequence[Incoming]) -> bytes:
        """These frames as they go over the wire; nothing is sent."""
        return self._wire.encoded([encode(frame) for frame in frames])

    def write(self, encoded: bytes) -> None:
        """Writes what was encoded, whether it is read or not. Raises CallLost."""
        self._wire.write(encoded)

    def unread(self) -> int:
        """Bytes that wait for the other side to read."""
        return self._wire.unread()

    def stop_reading(self) -> None:
        """From now on what comes is left in the socket."""
        self._wire.stop_reading()

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Hangs up: closes the websocket, without waiting long for the other side."""
        await self._wire.close(code)

    def drop(self) -> None:
        """Loses the connection without a word."""
        self._wire.abort()

    @property
    def lost(self) -> bool:
        return self._wire.lost.done()

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done once the websocket is closed, by whoever."""
        return self._wire.lost

    @property
    def closed_with(self) -> str:
        """The code and the reason of the server's close, "" where it gave none."""
        return self._wire.closed_with

    # -- from the wire

    def received(self, frame: Frame, at: float) -> None:
        if frame.opcode is Opcode.PONG:
            if then := self._pongs.pop(bytes(frame.data), None):
                then()
        elif frame.opcode is Opcode.TEXT:
            self._text(bytes(frame.data), at)
        elif frame.opcode is Opcode.BINARY:
            self.faults += 1

    def _text(self, data: bytes, at: float) -> None:
        try:
            frame = parse_outgoing(data)
        except InvalidFrame:
            self.faults += 1
            return
        if isinstance(frame, Text):
            if self._hear is not None:
                self._hear(frame, at)
            if self.answer is not None:
                self.answer._take(frame, at)
        elif isinstance(frame, End):
            self.ended = True

    def hung_up(self) -> None:
        if self.answer is not None:
            self.answer._end(CallLost("the server closed the websocket"))


__all__ = ["Answer", "CallLost", "Entrance", "LoadCall"]
