"""Frames told again: with ``applicationReconnect`` Twilio replays, after a lost socket, events it has sent before.

They carry no number. So a session keeps digests of the last final prompts, keys and interrupts it has taken in, and
the next socket of the same session skips the longest run of arrivals that ends that list: its longest suffix that is a
prefix of what arrives. While that is still open, frames wait, ``WINDOW`` seconds at most: one that ends every such run
goes on at once, and with it those it had to wait for. Pure.

Of keys that a tool waits for no digests are kept, only that there was one each: a PIN could be read off them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2s

from relay.frames import Dtmf, Incoming, Interrupt, Prompt

MOST = 500  # events Twilio replays at most
WINDOW = 2.0  # seconds after which nothing is a replay any more
_SIZE = 6  # bytes of a digest


def digest(frame: Incoming) -> str:
    """What stands for a frame that may be replayed; "" for all others. Says nothing of the words in it."""
    match frame:
        case Prompt(last=True):
            text = f"prompt {frame.lang} {frame.voice_prompt}"
        case Dtmf():
            text = f"key {frame.digit}"
        case Interrupt():
            text = f"interrupt {frame.duration_until_interrupt_ms} {frame.utterance_until_interrupt}"
        case _:
            return ""
    return blake2s(text.encode("utf-8", "surrogatepass"), digest_size=_SIZE).hexdigest()


_KEYS = frozenset(digest(Dtmf(key)) for key in "0123456789*#ABCD")
HIDDEN_KEY = "0" * 2 * _SIZE
"""Stands for a key that a tool waited for, whichever it was."""


class Told:
    """The digests of what was taken in, oldest first, as text for the store: fixed width, so it is cut by length."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def add(self, mark: str) -> None:
        self.text = (self.text + mark)[-MOST * 2 * _SIZE :]

    def hide_keys(self, count: int) -> None:
        """The last so many keys turn out to be a tool's."""
        marks = self.marks()
        keys = [at for at, mark in enumerate(marks) if mark in _KEYS]
        for at in keys[len(keys) - count :] if count else ():
            marks[at] = HIDDEN_KEY
        self.text = "".join(marks)

    def marks(self) -> list[str]:
        width = 2 * _SIZE
        return [self.text[at : at + width] for at in range(0, len(self.text) - width + 1, width)]


class Replay:
    """Tells replayed frames from new ones at the beginning of a socket. ``told``: what earlier sockets took in."""

    def __init__(self, told: Sequence[str]) -> None:
        self._told = told
        self._open = list(range(1, len(told) + 1))  # lengths of the suffixes that may still turn out to be it
        self._longest = 0  # of the suffixes that arrived whole
        self._held: list[tuple[Incoming, str]] = []

    @property
    def over(self) -> bool:
        """Nothing that comes from now on is a replay."""
        return not self._open

    @property
    def recognised(self) -> int:
        """Frames that were a replay, as far as is known."""
        return self._longest

    def take(self, frame: Incoming) -> list[Incoming]:
        """A frame has arrived: returns those that are new and known to be so, in order."""
        if self.over:
            return [frame]
        mark = digest(frame)
        if mark:
            at = sum(1 for _, known in self._held if known)
            told, size = self._told, len(self._told)
            same = {mark, HIDDEN_KEY} if isinstance(frame, Dtmf) else {mark}
            self._open = [length for length in self._open if told[size - length + at] in same]
            if at + 1 in self._open:
                self._longest = at + 1
                self._open.remove(at + 1)
        self._held.append((frame, mark))
        return self.settle() if self.over else []

    def settle(self) -> list[Incoming]:
        """Time is up, or the answer known: what waited and is no replay. Frames that are never replayed stay out of
        the run, so those that came within it go as well as those behind it."""
        self._open = []
        new, skip = [], self._longest
        for frame, mark in self._held:
            if mark and skip:
                skip -= 1
            else:
                new.append(frame)
        self._held = []
        return new


class Gate:
    """Lets a session's frames through: none until it is known what its earlier sockets took in, then all but replays.

    ``told`` is what a later socket of the session will need to know. A replay comes all at once: of frames ``over`` the
    rate at which others are taken, ``MOST`` are let in, and kept only if the session had a socket before.
    """

    def __init__(self) -> None:
        self.told = Told()
        self._early: list[tuple[Incoming, bool]] | None = []
        self._replay = Replay(())
        self._spare = MOST

    @property
    def recognised(self) -> int:
        """Frames that were a replay, as far as is known."""
        return self._replay.recognised

    def spare(self) -> bool:
        """Whether one more frame over the rate is let in."""
        self._spare -= 1
        return self._spare >= 0

    def take(self, frame: Incoming, over: bool = False) -> list[Incoming]:
        """A frame has arrived: returns those that may be acted on now."""
        if self._early is not None:
            self._early.append((frame, over))
            return []
        return self._replay.take(frame)

    def open(self, told: str | None) -> tuple[list[Incoming], int]:
        """``told``: what earlier sockets of this session took in; None: it had none. Returns what may be acted on now,
        and how many frames were over the rate and are dropped."""
        early, self._early = self._early or [], None
        dropped = 0
        if told is None:
            self._spare = 0
            dropped = sum(over for _, over in early)
            early = [(frame, over) for frame, over in early if not over]
        self.told = Told(told or "")
        self._replay = Replay(self.told.marks())
        return [new for frame, _ in early for new in self._replay.take(frame)], dropped

    def settle(self) -> list[Incoming]:
        """``WINDOW`` has passed since it was opened."""
        self._spare = 0
        return self._replay.settle()
