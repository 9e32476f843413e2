"""The way into the server that is measured: its voice webhook, asked as Twilio asks it, or its websocket.

With a webhook each call is a call of its own: its TwiML is fetched, the websocket is opened with that TwiML's
parameters, and the action callback is told of the end. A bare websocket is opened with nothing but ``setup``; that is
for servers that want no more. What is signed is the public address, whatever the address that is dialled.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aiohttp

from phone.bench.failed import BenchFailed
from phone.exchange import CallRefused, Exchange
from phone.load import CallLost, Entrance, LoadCall
from phone.playback import Pace
from phone.record import Ending, Outcome, Record, Turn
from phone.twiml import BadTwiml, ConversationRelay
from phone.webhooks import Webhooks
from relay.frames import Text

WEBHOOK = "/voice/incoming"
SCHEMES = ("http", "https", "ws", "wss")
LOOK_EVERY = 0.2
AT_ONCE = Pace(speed=float("inf"))

Hear = Callable[[Text, float], None]


@dataclass(slots=True)
class Visit:
    """A call that is open. ``speaker_events``: the server wants to be told when speech has been played."""

    call: LoadCall
    speaker_events: bool = False
    _webhooks: Webhooks | None = field(default=None, repr=False)
    _relay: ConversationRelay | None = field(default=None, repr=False)
    _opened: float = 0.0

    async def leave(self) -> str:
        """Hangs up, and tells the action callback. Returns what went wrong with that, "" for nothing."""
        await self.call.close()
        if self._webhooks is None or self._relay is None:
            return ""
        session = "VX" + self.call.call_sid[2:]
        await self._webhooks.action(self._relay, session, self._opened, Ending("completed"))
        return "".join(self._webhooks.record.faults[:1])


@dataclass(frozen=True, slots=True)
class Door:
    """``url``: a webhook (http, https) or a websocket (ws, wss). ``public_url``, ``token``: what is signed for and
    with; "" for the address itself, and for no signature. ``first_number``: the callers' numbers count from it, so that
    nobody calls too often."""

    url: str
    http: aiohttp.ClientSession = field(repr=False)
    public_url: str = ""
    token: str = field(default="", repr=False)
    account_sid: str = "AC" + "0" * 32
    to: str = field(default="+15555550199", repr=False)
    first_number: int = field(default=15550100000, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise BenchFailed(f"{self.url} is no URL of a webhook (http, https) or a websocket (ws, wss).")

    async def opens(self, *, within: float) -> None:
        """Waits until something listens there, or until it is too late for that."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        _, writer = await asyncio.open_connection(parts.hostname, port)
                    except OSError:
                        await asyncio.sleep(LOOK_EVERY)
                        continue
                    writer.close()
                    return
        except TimeoutError:
            pass  # what the first call is told says more

    async def enter(self, number: int, hear: Hear) -> Visit:
        """Opens the call of that number. Raises CallRefused, BadTwiml or CallLost."""
        call_sid = "CA" + uuid4().hex
        from_ = f"+{self.first_number + number}"
        parts = urlsplit(self.url)
        base = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        path = urlunsplit(("", "", parts.path, parts.query, ""))
        exchange = Exchange(self.http, base, self.public_url, self.token)
        if parts.scheme in ("ws", "wss"):
            url = self.url
            if self.public_url:
                url = exchange.address(path).replace("http", "ws", 1)
            entrance = Entrance(url, self.token, {}, self.url, self.tls, self.account_sid, from_, self.to)
            return Visit(await LoadCall.open(entrance, call_sid=call_sid, hear=hear))
        record = Record([Turn("", 0.0)], call_sid)
        webhooks = Webhooks(
            exchange, record, AT_ONCE, path or WEBHOOK, self.account_sid, from_, self.to, lambda event: None
        )
        relay = await webhooks.incoming()
        if isinstance(relay, Outcome):
            raise BadTwiml(f"the TwiML of {self.url} connects no ConversationRelay", 12200)
        entrance = Entrance(
            relay.url,
            self.token,
            relay.parameters,
            exchange.dialled(relay.url),
            self.tls,
            self.account_sid,
            from_,
            self.to,
        )
        call = await LoadCall.open(entrance, call_sid=call_sid, hear=hear)
        return Visit(call, "speaker-events" in relay.events, webhooks, relay, AT_ONCE.clock())

    async def enter_first(self, hear: Hear) -> Visit:
        """The first call. Raises BenchFailed: a sentence for whoever gave the address and the settings."""
        try:
            return await self.enter(0, hear)
        except (CallRefused, BadTwiml, CallLost) as error:
            raise BenchFailed(await self._why(error)) from error

    async def _why(self, error: CallRefused | BadTwiml | CallLost) -> str:
        status = 0 if isinstance(error, BadTwiml) else error.status
        said = str(error).rstrip(".")
        if status == 403:
            return f"{self.url} does not take the call (403): {await self._unsigned()}"
        if status == 404:
            return (
                f"{self.url} does not take the call (404): nothing is served there, or the server has PUBLIC_URL and "
                "no TWILIO_AUTH_TOKEN."
            )
        if status or isinstance(error, BadTwiml):
            return f"{self.url} does not take the call: {said}."
        if isinstance(error.__cause__, OSError | aiohttp.ClientError):  # TimeoutError is an OSError
            return f"No server answers at {self.url} ({type(error.__cause__).__name__})."
        return f"{self.url} does not take the call: {said}."

    async def _unsigned(self) -> str:
        """Which setting does not match, as far as can be told from here."""
        if not self.token:
            return "it wants signed requests, and TWILIO_AUTH_TOKEN is not set here."
        if not self.public_url:
            return (
                "TWILIO_AUTH_TOKEN is not the server's, or it has a PUBLIC_URL: that is not set here, so the address "
                "itself was signed for."
            )
        plain = Door(self.url, self.http, "", self.token, self.account_sid, self.to, self.first_number, self.tls)
        try:
            visit = await plain.enter(0, lambda frame, at: None)
        except (CallRefused, BadTwiml, CallLost):
            return f"TWILIO_AUTH_TOKEN is not the server's, or PUBLIC_URL ({self.public_url}) is not."
        await visit.leave()
        return f"PUBLIC_URL ({self.public_url}) is not the server's: it takes what is signed for this address."
