"""How many frames of one peer are acted on, and when a peer is no telephone."""

from __future__ import annotations

from collections import deque

FRAMES_PER_SECOND = 200
PROMPTS_PER_SECOND = 20  # final ones: each may begin a request to a model
PATIENCE = 1000  # frames over the rate, in one second


class Rate:
    """When the last frames were let through: no more than ``most`` within any second."""

    def __init__(self, most: int = FRAMES_PER_SECOND) -> None:
        self._most = most
        self._taken: deque[float] = deque(maxlen=most)
        self._second, self._dropped = 0.0, 0

    def over(self, now: float) -> bool:
        taken = self._taken
        if len(taken) < self._most or now - taken[0] >= 1.0:
            taken.append(now)
            return False
        if now - self._second >= 1.0:
            self._second, self._dropped = now, 0
        self._dropped += 1
        return True

    @property
    def hopeless(self) -> bool:
        """Whether so many were over the rate lately that reading on helps nobody."""
        return self._dropped > PATIENCE
