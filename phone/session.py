"""One websocket session, Twilio's end: frames out in order, frames in judged as Twilio judges them, speech played.

Source: Twilio's websocket message reference (64107 for a frame it cannot use, 1007 after ten of them in a row, 1000
"Closing websocket session" after ``end`` and hang-up) and live recordings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from websockets.exceptions import ConnectionClosed

from phone.exchange import Socket
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
    Text,
    TokensPlayed,
    dump,
    parse_outgoing,
)

CONSECUTIVE_FAULTS = 10
_BYE = "Closing websocket session"


LOST = Ending("failed", error_code="64105", error_message="Websocket ended")


class Session:
    """Serves one socket. ``run`` reads and plays until the socket is gone and returns why; a cancel stops both and
    leaves the socket to ``abort``."""

    def __init__(
        self,
        socket: Socket,
        relay: ConversationRelay,
        session_id: str,
        record: Record,
        pace: Pace,
        *,
        cumulative: bool,
        listen: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self.relay = relay
        self.session_id = session_id
        self.opened = pace.clock()
        self.lang = relay.transcription_language
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
        self._socket = socket
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

    async def run(self) -> Ending:
        playing = asyncio.create_task(self.player.run(), name="player")
        # A player that failed must not leave a call that hears nothing for ever.
        playing.add_done_callback(lambda task: self._socket.transport.abort())
        try:
            async for raw in self._socket:
                await self._receive(raw)
        except ConnectionClosed:
            pass
        finally:
            playing.cancel()
            await asyncio.wait([playing])
        if not playing.cancelled():
            playing.result()
        self.player.drop("lost")
        self._record.close_codes.append(self._close_code or self._socket.close_code or 1006)
        return self._ending or LOST

    async def close(self, ending: Ending, code: int = 1000, reason: str = _BYE) -> None:
        """Ends the session in order; the first ending given is the one that counts."""
        self._ending = self._ending or ending
        self._close_code = code
        await self._socket.close(code, reason)

    def abort(self, ending: Ending = LOST) -> None:
        """Loses the connection without a word."""
        self._ending = self._ending or ending
        self._socket.transport.abort()

    async def write(self, frames: Sequence[Incoming]) -> None:
        """Writes the frames the app has subscribed to, together and in order; a lost socket is the reader's matter."""
        events = self.relay.events
        async with self._writing:
            for frame in frames:
                if isinstance(frame, TokensPlayed) and "tokens-played" not in events:
                    continue
                if isinstance(frame, AgentSpeaking | ClientSpeaking) and "speaker-events" not in events:
                    continue
                self._note(frame)
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
