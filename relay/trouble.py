"""Trouble with a provider of speech, as Twilio's ``error`` frames tell of it; pure."""

from __future__ import annotations

from math import inf

SPEAKING = frozenset({64111, 64112})  # text was not, or not wholly, made to speech
LISTENING = frozenset({64114})  # the connection to what makes speech to text failed or was lost
WITHIN = 30.0  # seconds within which a second error says that the provider is away


class ProviderTrouble:
    def __init__(self) -> None:
        self._last = -inf

    def repeated(self, code: int, now: float) -> bool:
        """Takes an error in; returns whether it is one of a provider's, and not the only one lately."""
        if code not in SPEAKING | LISTENING:
            return False
        last, self._last = self._last, now
        return now - last <= WITHIN
