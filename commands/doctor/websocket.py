"""Whether a websocket can be opened through the public address. It is closed again before a call begins."""

from __future__ import annotations

import ssl

from commands.doctor.answers import AGAIN, LEAVING, START
from commands.doctor.asking import DEADLINE
from commands.doctor.finding import Finding, failed, ok, warning
from commands.doctor.signature import SAME_SETTINGS
from handlers.callbacks import RELAY
from handlers.signatures import PublicAddress
from phone.handshake import Opened, shake_hands

_UPGRADE = (
    "Let the proxy pass websockets on: HTTP/1.1 with the headers Upgrade and Connection "
    "(nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;)."
)


async def look(public_url: str, token: str, context: ssl.SSLContext, *, deadline: float = DEADLINE) -> Finding:
    """``deadline``: seconds for the handshake, and again for the goodbye."""
    url = PublicAddress.parse(public_url).ws(RELAY)
    opened = await shake_hands(url, token, context=context, deadline=deadline)
    if opened.late:
        return failed(f"The upgrade is not answered within {deadline:g} s.", _UPGRADE)
    return _found(opened)


def _found(opened: Opened) -> Finding:
    match opened.status:
        case 101:
            return ok("A websocket opens.")
        case 0:
            return failed(f"The connection breaks when a websocket is asked for ({opened.kind}).", _UPGRADE)
        case 403:
            return failed("The websocket is refused (403), though webhooks are not.", f"{_UPGRADE} {SAME_SETTINGS}")
        case 404:
            return failed("There is nothing at the websocket's path (404), though there is at the webhooks'.", _UPGRADE)
        case 200 | 301 | 302 | 303 | 307 | 308:
            return failed(f"Instead of a websocket there is an ordinary answer ({opened.status}).", _UPGRADE)
        case 400 | 405 | 426 | 501 | 505:
            return failed(f"The request for a websocket arrives as an ordinary one ({opened.status}).", _UPGRADE)
        case 503 if LEAVING in opened.body:
            return warning("The running relay is leaving and opens no new websocket (503).", AGAIN)
        case 502 | 503 | 504 | 520 | 521 | 522 | 523 | 524 | 530:
            return failed(f"The proxy cannot reach the relay for a websocket ({opened.status}).", START)
    return failed(f"The websocket is answered with {opened.status}.", _UPGRADE)
