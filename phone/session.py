"""One session, Twilio's end: frames out in order, frames in judged as Twilio judges them, speech played.

With ``applicationReconnect`` a session may outlive its socket. What was given to say is played on; events that come
while there is no socket are kept, and told behind ``setup`` once there is one.

Source: Twilio's websocket message reference (64107 for a frame it cannot use, 1007 after ten of them in a row, 1000
"Closing websocket session" after ``end`` and hang-up), its changelog of 2026-10-28 (500 events are kept) and live
recordings. How often and how fast it tries to reconnect, and that ``setup`` comes again, nobody has told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from websockets.exceptions import ConnectionClosed

from phone.exchange import CallRefused, Socket
from phone.playback import Pace, Player
from phone.record import Ending, Event, Received, Record, Turn
from phone.twiml import ConversationRelay
from relay.errors import InvalidFrame
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    Incoming,
    Interrupt,
    Language,
    Outgoing,
    PeerError,
    Play,
    Prompt,
    SendDigits,
    Setup,
    Text,
    TokensPlayed,
    dump,
    parse_outgoing,
)

CONSECUTIVE_FAULTS = 10
KEPT_EVENTS = 500
RECONNECTS = 5  # in a row, without a word from the app
UNEXPECTED = (1001, 1006, 1011, 1012)  # codes of a socket that was lost, not closed on purpose
_BYE = "Closing websocket session"


LOST = Ending("failed", error_code="64105", error_message="Websocket ended")


class Session:
    """``run`` reads and plays until the socket is gone for good and returns why; a cancel stops both and leaves the
    socket to ``abort``. ``dial`` opens another socket; raises CallRefused."""

    def __init__(
        self,
        socket: Socket,
        relay: ConversationRelay,
        setup: Setup,
        record: Record,
        pace: Pace,
        *,
        dial: Callable[[], Awaitable[Socket]],
        cumulative: bool,
        listen: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self.relay = relay
        self.setup = setup
        self.opened = pace.clock()
        self.lang = relay.prompt_language
        self.reported = relay.mode("reportInputDuringAgentSpeech", "none")
        self.player = Player(
            record,
            pace,
            self.write,
            interruptible=relay.mode("interruptible", "any"),
            preemptible=relay.flag("preemptible"),
            cumulative=cumulative,
            listen=listen,
            changed=changed,
        )
        self.reconnects = relay.flag("applicationReconnect")
        self._socket = socket
        self._dial = dial
        self._online = asyncio.Event()  # there is a socket
        self._line = asyncio.Event()  # there may be one
        self._line.set()
        self._kept: deque[Incoming] = deque(maxlen=KEPT_EVENTS)
        self._again: list[Incoming] = []  # to be told a second time on the next socket
        self._vain = 0  # sockets in a row on which the app said nothing
        self._record = record
        self._pace = pace
        self._changed = changed
        self._writing = asyncio.Lock()
        self._ending: Ending | None = None
        self._read = 0
        self._malformed = 0
        self._marker = b""
        self._close_code = 0

    def greet(self) -> None:
        if greeting := self.relay.attributes.get("welcomeGreeting"):
            self.player.greet(greeting, self.relay.mode("welcomeGreetingInterruptible", "any"))

    @property
    def session_id(self) -> str:
        return self.setup.session_id

    async def begin(self) -> None:
        """``setup``, and on a later socket of the session what the app does not know, or is taken not to know, yet."""
        async with self._writing:
            self._note(self.setup)
            await self._send(dump(self.setup))
            for frame in (*self._again, *self._kept):
                await self._tell(frame)
            self._again.clear()
            self._kept.clear()
            self._online.set()
        self._record.session_ids.append(self.session_id)
        self._changed()

    async def run(self) -> Ending:
        playing = asyncio.create_task(self.player.run(), name="player")
        # A player that failed must not leave a call that hears nothing for ever.
        playing.add_done_callback(lambda task: self._socket.transport.abort())
        try:
            await self._read_all()
            while await self._reconnected(playing):
                await self._read_all()
        finally:
            playing.cancel()
            await asyncio.wait([playing])
        if not playing.cancelled():
            playing.result()
        self.player.drop("lost")
        return self._ending or LOST

    async def _read_all(self) -> None:
        try:
            async for raw in self._socket:
                self._vain = 0
                await self._receive(raw)
        except ConnectionClosed:
            pass
        self._online.clear()
        self._record.close_codes.append(self._close_code or self._socket.close_code or 1006)
        self._changed()

    async def _reconnected(self, playing: asyncio.Task[None]) -> bool:
        """Whether there is another socket for the session."""
        unexpected = (self._socket.close_code or 1006) in UNEXPECTED
        while self.reconnects and unexpected and self._vain < RECONNECTS:
            self._vain += 1
            await self._line.wait()
            if self._ending is not None or playing.done():
                return False
            try:
                self._socket = await self._dial()
            except CallRefused:
                await self._pace.wait(1.0)
                continue
            self._read = 0
            await self.begin()
            return True
        return False

    async def cut_line(self, again: int) -> None:
        """Loses the socket, and has no other until ``mend_line``: then the last ``again`` events are told again."""
        self.reconnects = True
        self._line.clear()
        events: list[Incoming] = [frame for _, frame in self._record.sent if not isinstance(frame, Setup)]
        self._again = events[len(events) - again :]
        self._socket.transport.abort()

    async def mend_line(self) -> None:
        """Returns when the session has a socket again."""
        self._line.set()
        await self._online.wait()

    async def close(self, ending: Ending, code: int = 1000, reason: str = _BYE) -> None:
        """Ends the session in order; the first ending given is the one that counts."""
        self._ending = self._ending or ending
        self._close_code = code
        self._line.set()
        await self._socket.close(code, reason)

    def abort(self, ending: Ending = LOST) -> None:
        """Loses the connection without a word, for good."""
        self._ending = self._ending or ending
        self._line.set()
        self._socket.transport.abort()

    async def write(self, frames: Sequence[Incoming]) -> None:
        """Writes the frames the app has subscribed to, together and in order, or keeps them for the next socket."""
        events = self.relay.events
        async with self._writing:
            for frame in frames:
                if isinstance(frame, TokensPlayed) and "tokens-played" not in events:
                    continue
                if isinstance(frame, AgentSpeaking | ClientSpeaking) and "speaker-events" not in events:
                    continue
                self._note(frame)
                if self._online.is_set() or not self.reconnects:
                    await self._tell(frame)
                else:
                    self._kept.append(frame)

    async def _tell(self, frame: Incoming) -> None:
        await self._send(dump(frame))
        if isinstance(frame, Interrupt):
            await self._mark_interrupt()

    async def write_raw(self, raw: str | bytes) -> None:
        """Writes anything at all, for what no Twilio would send."""
        async with self._writing:
            await self._send(raw)

    async def _send(self, raw: str | bytes) -> None:
        try:
            await self._socket.send(raw)
        except ConnectionClosed:
            pass

    async def _mark_interrupt(self) -> None:
        # The app answers this ping when it has read the interrupt: text that arrives after the pong is a ghost.
        self._marker = str(len(self._record.sent)).encode()
        try:
            await self._socket.ping(self._marker)
        except ConnectionClosed:
            pass

    def _note(self, frame: Incoming) -> None:
        now = self._pace.clock()
        self._record.sent.append((now, frame))
        turn = self._record.turn
        if isinstance(frame, Prompt) and frame.last:
            self._record.turns.append(Turn(frame.voice_prompt, now))
        elif isinstance(frame, Dtmf):
            if turn.said.startswith("#") and not turn.utterances:
                turn.said += frame.digit
                turn.asked = now
            else:
                self._record.turns.append(Turn("#" + frame.digit, now))

    async def _receive(self, raw: str | bytes) -> None:
        self._read += 1
        try:
            if isinstance(raw, bytes):
                raise InvalidFrame("binary")
            frame = parse_outgoing(raw)
        except InvalidFrame as error:
            await self._refuse(raw, str(error))
        else:
            self._malformed = 0
            await self._take(frame)
        self._changed()

    async def _take(self, frame: Outgoing) -> None:
        now = self._pace.clock()
        words = isinstance(frame, Text) and bool(frame.token.strip())
        stale = self.player.stale
        known = self._socket.arrived_before.get(self._marker)
        ghost = words and stale and known is not None and self._read > known
        late = self._ending is not None
        self._record.received.append(Received(frame, now, ghost, late))
        if late:
            return
        match frame:
            case Text() | Play() | SendDigits():
                utterance = await self.player.take(frame)
                turn = self._record.turn
                if words and not stale and utterance in turn.utterances and turn.first_words is None:
                    turn.first_words = now
            case Language():
                self.lang = frame.transcription_language or self.lang
            case _:
                self._ending = Ending("ended", frame.handoff_data)
                self._record.unplayed_at_end = self.player.drop("end")
                await self._pace.wait(0.09)
                await self.close(self._ending)

    async def _refuse(self, raw: str | bytes, reason: str) -> None:
        self._record.faults.append(reason)
        self._malformed += 1
        if self._malformed < CONSECUTIVE_FAULTS:
            shown = raw if isinstance(raw, str) else "binary"
            await self.write([PeerError(f"Invalid message received, code: 64107, {shown}")])
        elif self._ending is None:
            await self.close(LOST, 1007, "Too many consecutive malformed messages.")
