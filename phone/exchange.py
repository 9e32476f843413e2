"""Twilio's way to an app: signed webhooks, and the signed websocket handshake.

What is signed and what is dialled may differ: an app behind a proxy is signed for at its public address, and reached
here at the address it listens on. Source: Twilio's webhook security page; recorded handshakes (``Jetty/11.0.24``, no
compression, the signature over the TwiML's ``url`` attribute exactly).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from yarl import URL

from phone.signing import HEADER, sign
from phone.twiml import BadTwiml, Verb, parse_twiml
from relay.errors import RelayError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CallRefused(RelayError):
    """The app did not take a webhook or the websocket; ``status`` is its HTTP status, 0 if there was no answer."""

    code = "call_refused"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Socket(ClientConnection):
    """A websocket that knows how many messages had arrived when a pong came: what came later was written by an app
    that had already read everything sent before the ping."""

    arrived = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.arrived_before: dict[bytes, int] = {}

    def process_event(self, event: object) -> None:
        if isinstance(event, Frame):
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self.arrived += 1
            elif event.opcode is Opcode.PONG:
                self.arrived_before[bytes(event.data)] = self.arrived
        super().process_event(event)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Exchange:
    """base_url: where the app is reached. public_url: where Twilio believes it to be, "" for the same address.
    token: the auth token that signs, "" for unsigned requests. headers: sent with every request, as a proxy might."""

    http: aiohttp.ClientSession
    base_url: str
    public_url: str = ""
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 15.0
    close_deadline_s: float = 2.0

    def address(self, path: str) -> str:
        """The URL configured at Twilio for a path of the app."""
        return (self.public_url or self.base_url).rstrip("/") + path

    def dialled(self, url: str) -> str:
        """The address to connect to for a URL of the app's own; a URL elsewhere is left as it is."""
        there, base, public = urlsplit(url), urlsplit(self.base_url), urlsplit(self.public_url)
        path = there.path
        if self.public_url and there.netloc == public.netloc and path.startswith(public.path.rstrip("/") + "/"):
            path = path[len(public.path.rstrip("/")) :]
        elif there.hostname not in (base.hostname, *_LOOPBACK) or base.hostname is None:
            return url
        else:
            path = path.removeprefix(base.path.rstrip("/"))
        secure = base.scheme in ("https", "wss")
        scheme = ("wss" if secure else "ws") if there.scheme in ("ws", "wss") else ("https" if secure else "http")
        return urlunsplit((scheme, base.netloc, base.path.rstrip("/") + path, there.query, ""))

    async def fetch(
        self, url: str, fields: dict[str, str], method: str = "POST", against: str = ""
    ) -> tuple[Verb, ...]:
        """The verbs a webhook answers with. Raises CallRefused, or BadTwiml for an answer that cannot be used."""
        url = urljoin(against, url) if against else url
        headers = dict(self.headers)
        if method == "GET":
            url += ("&" if urlsplit(url).query else "?") + urlencode(fields)
        if self.token:
            headers[HEADER] = sign(self.token, url, fields if method == "POST" else None)
        timeout = aiohttp.ClientTimeout(total=self.deadline_s)
        form = fields if method == "POST" else None
        try:
            async with self.http.request(
                method,
                URL(self.dialled(url), encoded=True),
                data=form,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.read()
                kind, status = response.content_type, response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallRefused(f"{urlsplit(url).path} did not answer: {type(error).__name__}") from error
        if status != 200:
            raise CallRefused(f"{urlsplit(url).path} answered {status}", status)
        if kind not in ("text/xml", "application/xml"):
            raise BadTwiml(f"the answer is {kind}, not XML", 12300)
        return parse_twiml(body)

    async def open(self, url: str) -> Socket:
        """The websocket of a session. Raises CallRefused."""
        headers = dict(self.headers)
        if self.token:
            headers[HEADER.lower()] = sign(self.token, url)
        try:
            socket = await connect(
                self.dialled(url),
                additional_headers=headers,
                user_agent_header="Jetty/11.0.24",
                compression=None,
                ping_interval=None,
                close_timeout=self.close_deadline_s,
                open_timeout=self.deadline_s,
                max_queue=1024,
                proxy=None,
                create_connection=Socket,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise CallRefused(f"the websocket was answered {status}", status) from error
        except (InvalidHandshake, OSError, TimeoutError) as error:
            raise CallRefused(f"the websocket could not be opened: {type(error).__name__}") from error
        assert isinstance(socket, Socket)
        return socket
