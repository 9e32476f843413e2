"""Who may knock: Twilio with a signature, or in development mode a program on this machine.

With no PUBLIC_URL the process is in development mode. It cannot check a signature then, because it does not know the
URL Twilio signed; so it takes unsigned requests, but only what can be told to come from this machine itself. A tunnel
makes the whole world a loopback peer: a forwarding header, a ``Host`` that is not this machine's, and an ``Origin`` (a
web page in the developer's browser) each give it away.

With PUBLIC_URL and no TWILIO_AUTH_TOKEN the routes are closed: 404 with an empty body, as if they did not exist.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Container
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import structlog
from aiohttp import web
from multidict import CIMultiDictProxy, MultiDict

from handlers.signatures import SIGNATURE_HEADER, PublicAddress, TwilioSignatures

BODY_LIMIT = 64 * 1024
BODY_DEADLINE = 5.0
FORM_FIELDS = 1000

_FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "client-ip",
        "true-client-ip",
        "x-cluster-client-ip",
        "x-proxyuser-ip",
        "cdn-loop",
        "x-cloud-trace-context",
        "x-appengine-user-ip",
    }
)
_FORWARDING_PREFIXES = (
    "x-forwarded",
    "x-original-",
    "x-envoy-",
    "x-amzn-",
    "x-amz-cf-",
    "x-azure-",
    "x-arr-",
    "x-vercel-",
    "x-railway-",
    "cf-",
    "cloudfront-",
    "fastly-",
    "fly-",
    "ngrok-",
    "tailscale-",
)

VOUCHED = web.RequestKey("vouched", bool)
"""Set on a request whose signature or token is valid: no limit for strangers concerns it."""

log = structlog.get_logger(__name__)


def vouch(request: web.BaseRequest) -> None:
    """Who checks a credential says so of one that is valid."""
    request[VOUCHED] = True


def is_forwarded(headers: CIMultiDictProxy[str]) -> bool:
    """Whether any header says that a proxy or a tunnel passed the request on."""
    names = (name.lower() for name in headers)
    return any(name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES) for name in names)


def is_local(request: web.BaseRequest) -> bool:
    """Whether the peer is on loopback and nothing says that it speaks for somebody else."""
    return _is_loopback(request.remote or "") and not is_forwarded(request.headers)


def is_own(request: web.BaseRequest) -> bool:
    """Whether a program on this machine asks, and knows whom: not a tunnel that adds no header, nor a web page in a
    browser here, which tells where it is from or reaches loopback by a name of its own (DNS rebinding)."""
    return "Origin" not in request.headers and is_own_page(request)


def is_own_page(request: web.BaseRequest, *, followed: bool = False) -> bool:
    """Whether it is our own, as above, or a page that this process has served to a browser on this machine.
    ``followed``: also whoever has followed another site's link, who sees what that site does not."""
    same_origin = request.headers.get("Origin", f"http://{request.host}") == f"http://{request.host}"
    ours = same_origin and (not is_another_sites(request) or (followed and _is_followed(request)))
    return is_local(request) and ours and _names_this_machine(request.host)


def is_another_sites(request: web.BaseRequest) -> bool:
    """Whether a browser says that a page of another origin asks. Programs say nothing."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def _is_followed(request: web.BaseRequest) -> bool:
    """Whether a browser is to show the answer by itself, in no frame."""
    said = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return request.method in ("GET", "HEAD") and said == ("navigate", "document")


def is_page_of(request: web.BaseRequest, origins: Container[str]) -> bool:
    """Whether it is a page of one of these sites, in a browser on this machine, that knows whom it asks."""
    return is_local(request) and request.headers.get("Origin", "") in origins and _names_this_machine(request.host)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return ip.is_loopback if mapped is None else bool(mapped.is_loopback)


def _names_this_machine(host: str) -> bool:
    """Whether a ``Host`` header is one of loopback; a tunnel's and a rebound DNS name are not."""
    try:
        parts = urlsplit(f"//{host}")
    except ValueError:
        return False
    name = parts.hostname or ""
    if parts.netloc != host or "@" in host:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def closed() -> web.HTTPNotFound:
    """The answer of a route whose secret is not set: nothing to be learnt from it."""
    return web.HTTPNotFound(text="")


def from_outside(request: web.BaseRequest) -> web.HTTPForbidden:
    """The answer of development mode to anybody else, and the log line that tells the operator what to do."""
    log.warning("refused a request from outside: set PUBLIC_URL to take calls through a tunnel", route=request.path)
    return web.HTTPForbidden(text="This process takes calls from its own machine only: PUBLIC_URL is not set.\n")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """The addresses of development mode: what the caller on this machine used itself."""

    host: str

    def http(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def ws(self, path: str) -> str:
        return f"ws://{self.host}{path}"


class TwilioGate:
    """Admits Twilio's requests. ``address`` None: development mode; ``signatures`` None: no auth token is set.

    A refusal is raised as aiohttp's ``HTTPException`` (400, 403, 404, 408, 413), before anything of the request is
    acted on and, for a websocket, before the upgrade.
    """

    def __init__(
        self,
        address: PublicAddress | None,
        signatures: TwilioSignatures | None,
        *,
        body_limit: int = BODY_LIMIT,
        body_deadline: float = BODY_DEADLINE,
    ) -> None:
        self._address = address
        self._signatures = signatures
        self._body_limit = body_limit
        self._body_deadline = body_deadline

    @property
    def is_closed(self) -> bool:
        """Whether the routes behind this gate answer 404 because TWILIO_AUTH_TOKEN is not set."""
        return self._address is not None and self._signatures is None

    def address(self, request: web.BaseRequest) -> PublicAddress | LocalAddress:
        """What the addresses given to Twilio (or to the terminal phone) are built from."""
        return self._address or LocalAddress(request.host)

    async def form(self, request: web.BaseRequest) -> MultiDict[str]:
        """The fields of a webhook's form, once it is known who sent it."""
        if self._address is None:
            self._admit_local(request)
        elif self._signatures is None:
            raise closed()
        text = (await self._read(request)).decode("utf-8", "replace")
        try:
            # Every pair as sent, blank ones too: they are part of what was signed.
            params = MultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS))
        except ValueError:
            raise web.HTTPRequestEntityTooLarge(self._body_limit, text="Too many form fields.\n") from None
        if self._address is not None and self._signatures is not None:
            urls = self._address.webhook_urls(request.raw_path)
            if not self._signatures.form(urls, params, request.headers.get(SIGNATURE_HEADER, "")):
                raise _unsigned(request)
            vouch(request)
        return params

    def handshake(self, request: web.BaseRequest) -> None:
        """Returns when the websocket may be opened."""
        if self._address is None:
            self._admit_local(request)
        elif self._signatures is None:
            raise closed()
        else:
            urls = self._address.handshake_urls(request.raw_path)
            if not self._signatures.url(urls, request.headers.get(SIGNATURE_HEADER, "")):
                raise _unsigned(request)
            vouch(request)

    def _admit_local(self, request: web.BaseRequest) -> None:
        if not is_own(request):
            raise from_outside(request)

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body, no more of it than the limit and no longer than the deadline: the sender is still a stranger."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_deadline):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > self._body_limit:
                        raise web.HTTPRequestEntityTooLarge(self._body_limit, text="The form is too large.\n")
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="The form did not arrive in time.\n") from None
        except web.RequestPayloadError:
            raise web.HTTPBadRequest(text="The form cannot be read.\n") from None
        return bytes(body)


def _unsigned(request: web.BaseRequest) -> web.HTTPForbidden:
    log.warning(
        "refused a request: its signature does not match PUBLIC_URL and TWILIO_AUTH_TOKEN",
        route=request.path,
        signed=SIGNATURE_HEADER in request.headers,
    )
    return web.HTTPForbidden(text="The signature does not match.\n")
