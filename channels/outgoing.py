"""The one client for URLs that came from outside: media of messages, pictures a model has made.

Whoever sends a URL chooses what this process is to connect to. So it goes to the hosts its use allows and to no others,
by https, at the usual port, to addresses of the public internet: judged is the address that is connected to, not an
earlier look-up of the name. Each redirect is judged like the URL itself, and credentials go to the first host only.

The vendor's own hosts are those of an operator's settings (``TWILIO_API_BASE``, ``OPENAI_BASE_URL`` ...): there http
and private addresses are the operator's choice. No redirect from elsewhere leads there.

What operators name themselves (``REPORT_URL``, the model's endpoint, the mail server) is no URL from outside and not
for this client: it may be private, and a report follows no redirect. Sounds (``play``, ``hold_sound``) are fetched by
Twilio, never by us.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from socket import AF_INET, AddressFamily

from aiohttp import (
    ClientConnectorDNSError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from channels.internet import is_public
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable

AT_ONCE = 8  # fetches; further ones wait, within their deadline
CONNECT_DEADLINE = 5.0  # seconds
CHUNK = 64 * 1024
LONGEST_URL = 4096

_URL = re.compile(r"https?://[!-\[\]-~]+", re.ASCII | re.IGNORECASE)  # printable, and no backslash
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9_-]{0,62})\.)+[a-z](?:[a-z0-9-]{0,62})", re.ASCII)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""

Sink = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one use fetches. ``hosts``: names, or ``*.name`` for everything below one. ``types``: such as
    ``image/jpeg``, or ``image/*``. ``size``: bytes, unpacked. ``deadline``: seconds for all of it."""

    hosts: Collection[str]
    types: Collection[str]
    size: int
    deadline: float = 20.0
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    content: bytes = field(repr=False)
    type: str


class Outgoing:
    """Made inside the running loop; ``close`` it when it is over. Keeps no cookies and asks no proxy.

    ``own``: URLs whose hosts are the vendor's own, as operators have set them. ``resolver``: looks names up.
    ``context``: for TLS. ``connectable``: whether an address found may be connected to.

    Errors name neither the URL nor any part of it, for its path and query may hold a token.
    """

    def __init__(
        self,
        own: Collection[str] = (),
        *,
        at_once: int = AT_ONCE,
        resolver: AbstractResolver | None = None,
        context: ssl.SSLContext | None = None,
        connectable: Callable[[str], bool] = is_public,
    ) -> None:
        self._own = frozenset(_origin(URL(url)) for url in own)
        self._room = asyncio.Semaphore(at_once)
        self._resolver = _Judged(resolver or ThreadedResolver(), connectable)
        tls = context or True
        self._outside = _session(TCPConnector(resolver=self._resolver, ssl=tls))
        self._inside = _session(TCPConnector(ssl=tls))

    async def fetch(self, url: str, wanted: Wanted, *, headers: Mapping[str, str] | None = None) -> Fetched:
        """All of it. ``headers``: for the URL's own host, such as credentials.

        Raises ChannelRejected for what is not to be had by asking again (its ``vendor_code`` says why: ``url``,
        ``host``, ``address``, ``redirects``, ``type``, ``size``, or "" with a status), ChannelUnavailable for the
        rest."""
        content = bytearray()

        async def keep(chunk: bytes) -> None:
            content.extend(chunk)

        kind = await self.stream(url, wanted, keep, headers=headers)
        return Fetched(bytes(content), kind)

    async def stream(self, url: str, wanted: Wanted, sink: Sink, *, headers: Mapping[str, str] | None = None) -> str:
        """Hands it to ``sink`` piece by piece and returns its type. Raises as ``fetch`` does, and what the sink raises;
        after an error or a cancel the sink has been given a part of it."""
        try:
            async with (
                asyncio.timeout(wanted.deadline) as deadline,
                self._room,
                self._answer(url, wanted, headers or {}) as answer,
            ):
                kind, left = _type(answer, wanted), wanted.size
                if (answer.content_length or 0) > left:
                    raise _refusal("size")
                while chunk := await _chunk(answer):
                    left -= len(chunk)
                    if left < 0:
                        raise _refusal("size")
                    await sink(chunk)
                return kind
        except TimeoutError:
            if not deadline.expired():
                raise
            raise ChannelUnavailable("What was asked for did not arrive in time.") from None

    async def close(self) -> None:
        await self._outside.close()
        await self._inside.close()
        await self._resolver.close()

    @asynccontextmanager
    async def _answer(self, text: str, wanted: Wanted, headers: Mapping[str, str]) -> AsyncIterator[ClientResponse]:
        """The answer that is no redirect, its body unread."""
        url, own = self._judge(text, wanted.hosts, inside=True)
        for _ in range(wanted.redirects + 1):
            async with await _get(self._inside if own else self._outside, url, headers) as answer:
                location = answer.headers.get("Location", "") if answer.status in _REDIRECTS else ""
                if not location:
                    if answer.status != 200:
                        raise _failed(answer.status)
                    yield answer
                    return
            before = url
            url, own = self._judge(location, wanted.hosts, inside=own, base=before)
            if _origin(url) != _origin(before):
                headers = {}
        raise _refusal("redirects")

    def _judge(self, text: str, hosts: Collection[str], *, inside: bool, base: URL | None = None) -> tuple[URL, bool]:
        """The URL as it is to be asked for, and whether it is the vendor's own. ``inside``: it may be."""
        try:
            if base is not None:
                text = str(base.join(URL(text, encoded=True)))
            # Taken as it is written: a signed URL does not survive being written anew.
            url = URL(text, encoded=True)
            if len(text) > LONGEST_URL or not _URL.fullmatch(text) or url.raw_user is not None or not url.raw_host:
                raise ValueError
        except ValueError:
            raise _refusal("url") from None
        if inside and _origin(url) in self._own:
            return url, True
        if url.scheme != "https" or url.port != 443:
            raise _refusal("url")
        if not is_allowed(url.raw_host, hosts):
            raise _refusal("host")
        return url, False


def is_allowed(host: str, hosts: Collection[str]) -> bool:
    """Whether this is one of the hosts, letter for letter. Only names count: an address, however it is written, and a
    name with a dot at its end are none."""
    name = host.lower()
    if not _NAME.fullmatch(name):
        return False
    # "*.example.com" is ".example.com" at the end: neither "example.com" itself nor "evilexample.com".
    return any(name.endswith(each[1:]) if each.startswith("*.") else name == each for each in hosts)


class _Judged(AbstractResolver):
    """Finds only addresses that may be connected to; a connection is made to what was found here and nothing else."""

    def __init__(self, resolver: AbstractResolver, connectable: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._connectable = connectable

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if good := [each for each in found if self._connectable(each["host"])]:
            return good
        raise _NotConnectable

    async def close(self) -> None:
        await self._resolver.close()


class _NotConnectable(OSError):
    """All addresses of a name are private, or it has none."""


def _session(connector: TCPConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE),
        trust_env=False,
        # A packed answer may be a bomb; who packs all the same is unpacked in pieces and counted.
        headers={"Accept-Encoding": "identity", "User-Agent": "relay"},
    )


async def _get(session: ClientSession, url: URL, headers: Mapping[str, str]) -> ClientResponse:
    with _translated():
        return await session.get(url, headers=headers, allow_redirects=False)


async def _chunk(answer: ClientResponse) -> bytes:
    with _translated():
        return await answer.content.read(CHUNK)


def _type(answer: ClientResponse, wanted: Wanted) -> str:
    kind = answer.content_type.lower() if "Content-Type" in answer.headers else ""
    if not any(kind == each or (each.endswith("/*") and kind.startswith(each[:-1])) for each in wanted.types):
        raise _refusal("type")
    return kind


def _origin(url: URL) -> Origin:
    return url.scheme, (url.raw_host or "").lower(), url.port


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientConnectorDNSError as error:
        if isinstance(error.os_error, _NotConnectable):
            raise _refusal("address") from None
        raise ChannelUnavailable("The host was not found.") from None
    except (ClientError, OSError, ValueError) as error:
        raise ChannelUnavailable(f"The host did not answer, or not to the end ({type(error).__name__}).") from None


def _failed(status: int) -> ChannelError:
    kind = ChannelUnavailable if status in _LATER or status >= 500 else ChannelRejected
    return kind(f"The host answered {status}.", status=status)


_REASONS = {
    "url": "The URL is not one that may be fetched.",
    "host": "The host is not one that may be asked.",
    "address": "The host has no address on the public internet.",
    "redirects": "There were too many redirects.",
    "type": "The content is of a type that is not taken.",
    "size": "The content is too large.",
}


def _refusal(code: str) -> ChannelRejected:
    return ChannelRejected(_REASONS[code], vendor_code=code)


__all__ = ["Fetched", "Outgoing", "Wanted", "is_allowed"]
