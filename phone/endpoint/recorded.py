"""What is remembered of a request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from phone.endpoint.checks import Ask


@dataclass(slots=True, eq=False)
class Recorded:
    """One request as it came, and what became of it. Times are the server's clock, in seconds.

    sent: steps of the reply written so far. ended: set when the server is done with it, ``ended_at`` when.
    closed_early: the client went away, or cancelled, before the last step was written. connected_at: when its
    connection was open, its handshake over. lane: of a request by websocket, whose ``method`` is "WS".
    """

    connection: int
    connected_at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float
    ask: Ask | None = None
    status: int = 0
    sent: int = 0
    complete: bool = False
    closed_early: bool = False
    ended_at: float = 0.0
    lane: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __repr__(self) -> str:
        return f"Recorded({self.method} {self.path}, {self.status}, sent={self.sent}, closed_early={self.closed_early})"
