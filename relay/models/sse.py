"""Server-sent events, as far as a model's stream needs them: bytes in, the ``data`` of each event out.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Names and ids of events are not looked at: both
of OpenAI's APIs repeat what matters inside the JSON.
"""

from __future__ import annotations

from relay.errors import ModelCut

MAX_EVENT = 4 * 1024 * 1024


class EventSplitter:
    """Splits a body that arrives in pieces cut anywhere. Events end at a blank line (``\\n\\n`` or ``\\r\\n\\r\\n``).

    Raises ModelCut when more than ``limit`` bytes came without the end of an event.
    """

    __slots__ = ("_carriage_return", "_held", "_limit")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._held = bytearray()
        self._carriage_return = False
        self._limit = limit

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes."""
        if self._carriage_return or b"\r" in piece:
            piece = self._join_line_ends(piece)
        held = self._held
        if not held:
            if piece.endswith(b"\n\n"):
                return _payloads(piece)
            whole, blank, rest = piece.rpartition(b"\n\n")
            held += rest
            payloads = _payloads(whole) if blank else []
        else:
            # The blank line may straddle the cut; what was held before has been searched already.
            start = len(held) - 1
            held += piece
            end = held.rfind(b"\n\n", start)
            payloads = []
            if end >= 0:
                payloads = _payloads(bytes(held[:end]))
                del held[: end + 2]
        if len(held) > self._limit:
            raise ModelCut(f"the model's stream has an event of more than {self._limit} bytes")
        return payloads

    def finish(self) -> list[bytes]:
        """The data of a last event that the body ended without a blank line."""
        rest, self._held = bytes(self._held), bytearray()
        return _payloads(rest)

    def _join_line_ends(self, piece: bytes) -> bytes:
        """Makes ``\\r\\n`` to ``\\n``, also where the cut is between the two."""
        if self._carriage_return:
            piece = b"\r" + piece
        self._carriage_return = piece.endswith(b"\r")
        if self._carriage_return:
            piece = piece[:-1]
        return piece.replace(b"\r\n", b"\n")


def _payloads(events: bytes) -> list[bytes]:
    found: list[bytes] = []
    for event in events.split(b"\n\n"):
        # Nearly every event is one line; ours are JSON, in which a line end is always escaped.
        if event.startswith(b"data: ") and b"\n" not in event:
            found.append(event[6:])
        elif event and (data := _data_of(event)) is not None:
            found.append(data)
    return found


def _data_of(event: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
