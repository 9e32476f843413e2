"""What is asked of a live chat's client, whichever contract it speaks: how much, how often, and in what form."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from handlers.chat_peer import Peer
from handlers.rate_limit import Count
from handlers.rate_limit import Rate as PerMinute
from relay.errors import InvalidFrame
from relay.flood import Rate as PerSecond

BINARY = 1003
BAD_MESSAGES = 4400
UNAUTHENTICATED = 4401
TOO_SLOW_TO_AUTHENTICATE = 4408
REPLACED = 4409
TOO_MANY_FRAMES = 4429
"""Close codes, most of them our own (docs/live-chat.md)."""


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """``auth_deadline``, ``resume_within``: seconds from the opening to ``auth``, and from ``ready`` to ``resume``.
    ``longest``: characters of a message. ``per_minute``: messages of a visitor; ``per_second``: frames of a socket.
    ``bad_frames``: that are answered before the socket is closed. ``renewed``: seconds between two signs of life of a
    socket, for other processes."""

    auth_deadline: float = 5.0
    resume_within: float = 5.0
    longest: int = 4000
    per_minute: int = 30
    per_second: int = 50
    bad_frames: int = 5
    renewed: float = 25.0


USUAL_LIMITS = ChatLimits()


class Refusal(Exception):
    """What was asked is not done. ``code``: one of ``relay.live.problems``; ``message``: "" for the usual one."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class MessageRates:
    """How many messages may be sent in a minute: by a visitor, and from one address (``of_address``, 0: nobody is
    limited). ``refused``: counts the others."""

    def __init__(self, of_visitor: int, of_address: int, refused: Count) -> None:
        self._of_visitor = PerMinute(of_visitor)
        self._of_address = PerMinute(of_address) if of_address else None
        self._refused = refused

    def over(self, visitor: str, address: str, now: float) -> bool:
        """Whether one more is one too many. ``address`` "": of somebody who is no stranger, and may send any number."""
        if not address or self._of_address is None:
            return False
        over = bool(self._of_visitor.take(visitor, now)) or bool(self._of_address.take(address, now))
        if over:
            self._refused.inc()
        return over


class Manners:
    """Of one socket. ``messages``: counts those of all; ``address``: this one's, "" where it does not count; ``who``:
    its visitor."""

    def __init__(self, peer: Peer, limits: ChatLimits, messages: MessageRates, address: str, who: str = "") -> None:
        self._peer = peer
        self._limits = limits
        self._messages = messages
        self._frames = PerSecond(limits.per_second)
        self._bad = 0
        self._address = address
        self.who = who

    def text(self, frame: str | bytes) -> str | None:
        """The frame; None where it was the last one that is looked at: the socket is closed."""
        if isinstance(frame, bytes):
            self._peer.leave(BINARY, "binary")
        elif self._frames.over(asyncio.get_running_loop().time()):
            self._peer.leave(TOO_MANY_FRAMES, "rate")
        elif not self._peer.left:
            return frame
        return None

    def bad(self, error: InvalidFrame) -> Refusal:
        """A frame that is none; a client that sends nothing else is closed."""
        self._bad += 1
        if self._bad > self._limits.bad_frames:
            self._peer.leave(BAD_MESSAGES, "bad messages")
        return Refusal("bad_frame", str(error))

    def check(self, text: str) -> None:
        """A message that is about to be answered. Raises Refusal."""
        if not text.strip():
            raise Refusal("empty")
        if len(text) > self._limits.longest:
            raise Refusal("too_long", f"A message has {self._limits.longest} characters at most.")
        if self._peer.departing:
            raise Refusal("leaving")
        if self.over():
            raise Refusal("rate")

    def over(self) -> bool:
        """Whether one more message, or what counts as one, is one too many in this minute."""
        return self._messages.over(self.who, self._address, asyncio.get_running_loop().time())


__all__ = [
    "REPLACED",
    "TOO_MANY_FRAMES",
    "TOO_SLOW_TO_AUTHENTICATE",
    "UNAUTHENTICATED",
    "USUAL_LIMITS",
    "ChatLimits",
    "Manners",
    "MessageRates",
    "Refusal",
]
