"""This machine's clock against what others' answers say. Tickets, certificates and budgets depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from commands.doctor.finding import Finding, failed, ok, skipped

MOST = 30.0  # seconds: a ticket lives for TICKET_SECONDS, which other processes read by their own clocks

SOURCES = ("Twilio", "the model's endpoint", "PUBLIC_URL")
"""In the order in which they are believed: behind PUBLIC_URL is perhaps this very machine."""


class Dates:
    """The ``Date`` headers of answers as they come. ``now``: epoch seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._ahead: dict[str, float] = {}

    def note(self, source: str, date: str) -> None:
        """What cannot be read is left out."""
        try:
            self._ahead[source] = self._now() - parsedate_to_datetime(date).timestamp()
        except ValueError:
            pass

    def look(self) -> Finding:
        for source in SOURCES:
            if source in self._ahead:
                return _found(source, self._ahead[source])
        return skipped("Nobody has answered who tells the time.")


def _found(source: str, ahead: float) -> Finding:
    if abs(ahead) <= MOST:
        return ok(f"It agrees with {source}.")
    way = "ahead of" if ahead > 0 else "behind"
    return failed(
        f"It is {abs(ahead):.0f} s {way} {source}: calls are refused, and certificates look wrong.",
        "sudo timedatectl set-ntp true    (macOS: sudo sntp -sS time.apple.com)",
    )
