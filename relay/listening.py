"""Whether the caller is speaking or about to, as far as frames tell; pure.

``clientSpeaking on`` says so until its ``off`` or the final prompt. Some peers never send ``off``, and a noise is
followed by no prompt: so neither it nor a partial prompt is believed for ever. An interrupt is a sign by itself, the
only one where no ``info`` frames come.

Noise after noise is a caller who may be about to speak, but not for ever either: where no words follow it is heard as
quiet after ``NOISE_LIMIT``.
"""

from __future__ import annotations

from math import inf

ON_LIMIT = 15.0  # seconds for which `on` is believed in a session that has shown an `off`
SIGN_LIMIT = 5.0  # seconds for which it is believed in one that has not, and a partial prompt in both
NOISE_LIMIT = 30.0  # seconds for which noises, one after the other, are believed to lead to words
PAUSE = 5.0  # seconds of quiet after which the next noise has nothing to do with those before
EARLY = 0.01  # seconds a timer may fire before its time


class Listening:
    def __init__(self) -> None:
        self._reports_off = False
        self._on_until = self._partial_until = 0.0
        self._noise_since = inf  # when the noises began that no words have followed
        self._noise_at = -inf  # the last of them

    def left(self, now: float) -> float:
        """Seconds for which the caller is taken to be speaking if nothing else comes; 0: quiet."""
        left = min(max(self._on_until, self._partial_until) - now, self.patience(now))
        return left if left > EARLY else 0.0

    def patience(self, now: float) -> float:
        """Seconds for which noises may go on to be waited for; 0: long enough."""
        return max(0.0, self._noise_since + NOISE_LIMIT - now)

    def partial(self, now: float) -> None:
        self._worded()
        self._partial_until = now + SIGN_LIMIT

    def stopped_speech(self, now: float, believed: float) -> None:
        """An interrupt; it is ``believed`` to tell of words for so many seconds."""
        self._worded()
        self._partial_until = max(self._partial_until, now + believed)

    def client(self, on: bool, now: float) -> None:
        if on and now > max(self._on_until, self._noise_at) + PAUSE:
            self._noise_since = inf
        self._noise_since, self._noise_at = min(self._noise_since, now), now
        self._reports_off = self._reports_off or not on
        self._on_until = now + (ON_LIMIT if self._reports_off else SIGN_LIMIT) if on else 0.0

    def key(self) -> None:
        """A key press: it is what an interrupt was the sign of."""
        self._worded()
        self._partial_until = 0.0

    def final(self) -> None:
        """A final prompt: what was being said has been said. Only a peer that reports ``off`` may already have told
        of the next words."""
        self._worded()
        self._partial_until = 0.0
        if not self._reports_off:
            self._on_until = 0.0

    def _worded(self) -> None:
        """The caller is there: what was heard was no mere noise."""
        self._noise_since = inf
