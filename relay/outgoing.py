"""What leaves for Twilio: frames, written at once, and the talk cycle they open and close.

There is no queue and no writer: whoever decided that something may be said writes it, with nothing in between that
could suspend. So nothing stale can follow an interrupt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import orjson

from relay.frames import End, Language, Play, SendDigits, Text, Token, encode
from relay.parting import nobody

WRITE_LIMIT = 256 * 1024  # bytes a peer may leave unread


class Socket(Protocol):
    """The peer. ``send`` writes at once and never waits; iteration yields text as str, binary as bytes, and ends when
    the socket is closed; ``close`` sends a close frame and waits for the peer's, within its own deadline; ``abort``
    loses the connection at once."""

    def send(self, data: bytes) -> None: ...

    def unread(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...

    async def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None: ...

    @property
    def closed_cleanly(self) -> bool: ...


class Outgoing:
    """``slow``: called when the peer has left too much unread; what was to be written then is lost. ``wrote``: called
    with the type of each frame that has no words."""

    def __init__(self, socket: Socket, slow: Callable[[], None], wrote: Callable[[str], None]) -> None:
        self._socket = socket
        self._slow = slow
        self._wrote = wrote
        self._token = Token()
        self._lang: str | None = None
        self.cycle_open = False
        self.stopped = False  # `end` was sent, or the socket is gone: nothing is sent any more

    def words(self, text: str) -> bool:
        """Words of a reply; they open a talk cycle. Returns whether they were written."""
        if self._write(self._token.encode(text)):
            self.cycle_open = True
            return True
        return False

    def aside(self, text: str) -> None:
        """A talk cycle of its own, which no later words cut."""
        self._write(encode(Text(text, last=True, lang=self._lang, preemptible=False)))

    def mark(self, lang: str) -> None:
        """Words from here on are in this language; "": in the session's own."""
        self._token, self._lang = Token(lang), lang or None

    def language(self, spoken: str, understood: str = "", attributes: Mapping[str, str] | None = None) -> None:
        """The session's own languages from here on, and how the one spoken is."""
        if self._write(encode(Language(spoken, understood, attributes or {}))):
            self._wrote("language")

    def sound(self, source: str, *, preemptible: bool, interruptible: bool) -> None:
        self.close_cycle()
        if self._write(encode(Play(source, 1, preemptible, interruptible))):
            self._wrote("play")

    def tones(self, digits: str) -> None:
        self.close_cycle()
        if self._write(encode(SendDigits(digits))):
            self._wrote("sendDigits")

    def close_cycle(self) -> None:
        """One closing frame, if a cycle is open."""
        if self.cycle_open:
            self.cycle_open = False
            self._write(encode(Text("", last=True)))

    def end(self, handoff: dict[str, str] | None) -> None:
        """Hands the call back to Twilio; the last frame of a session."""
        self.close_cycle()
        if self._write(encode(End(None if handoff is None else orjson.dumps(handoff).decode()))):
            self._wrote("end")
        self.stopped = True

    def let_go(self) -> None:
        """Of the session, which is over (``parting.py``)."""
        self._slow = nobody

    def _write(self, data: bytes) -> bool:
        if self.stopped:
            return False
        if self._socket.unread() > WRITE_LIMIT:
            self._slow()
            return False
        self._socket.send(data)
        return True
