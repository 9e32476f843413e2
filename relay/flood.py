"""How many frames of one peer are acted on."""

from __future__ import annotations

from collections import deque

FRAMES_PER_SECOND = 200


class Rate:
    """When the last frames were let through: no more than ``FRAMES_PER_SECOND`` within any second."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=FRAMES_PER_SECOND)

    def over(self, now: float) -> bool:
        taken = self._taken
        if len(taken) == FRAMES_PER_SECOND and now - taken[0] < 1.0:
            return True
        taken.append(now)
        return False
