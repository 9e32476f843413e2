"""The handshake of a session's websocket alone, as Twilio makes it: whether the socket opens. No session follows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from phone.signing import HEADER, sign


@dataclass(frozen=True, slots=True)
class Opened:
    """``status``: of the answer, 101 where the socket was opened, 0 where there was none. ``body``: of a refusal.
    ``kind``: the class of what broke it; ``late``: time was up."""

    status: int
    body: str = ""
    kind: str = ""
    late: bool = False


class _Straight(connect):
    """Follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def shake_hands(url: str, token: str, *, context: ssl.SSLContext | None, deadline: float) -> Opened:
    """Opens the ``wss://`` address (``ws://`` without a context) and closes it again. A cancel leaves it closed."""
    try:
        async with _Straight(
            url,
            additional_headers={HEADER: sign(token, url)},
            ssl=context,
            proxy=None,
            compression=None,
            open_timeout=deadline,
            close_timeout=deadline,
        ):
            return Opened(101)
    except InvalidStatus as refusal:
        return Opened(refusal.response.status_code, (refusal.response.body or b"").decode("utf-8", "replace"))
    except TimeoutError:
        return Opened(0, late=True)
    except (InvalidHandshake, OSError, EOFError) as error:
        return Opened(0, kind=type(error).__name__)
