"""Twilio's signatures on webhooks and on the websocket handshake, checked against the public address.

The signed URL is built from PUBLIC_URL and the request's own path and query, never from ``Host`` or a forwarding
header: a sender chooses those. A path prefix a proxy strips before us is part of PUBLIC_URL and so of the signed text.
Source: conversation-relay.md 6.2, 6.3; the signature itself is computed by twilio's ``RequestValidator``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from multidict import MultiDict, MultiMapping
from twilio.request_validator import RequestValidator

from relay.errors import ConfigError

SIGNATURE_HEADER = "X-Twilio-Signature"


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """Where Twilio finds us: ``https://host[:port][/prefix]``, kept as the operator wrote it, without a last slash."""

    netloc: str
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> PublicAddress:
        """From PUBLIC_URL; raises ConfigError when it is not an https address a path can be appended to."""
        try:
            parts = urlsplit(url.strip())
            usable = parts.scheme == "https" and parts.hostname and parts.port != 0 and "@" not in parts.netloc
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise ConfigError(["PUBLIC_URL must look like https://host or https://host/prefix."])
        return cls(parts.netloc, parts.path.rstrip("/"))

    def http(self, path: str) -> str:
        """The https:// address of a path (with its query)."""
        return f"https://{self.netloc}{self.prefix}{path}"

    def ws(self, path: str) -> str:
        """The wss:// address of a path (with its query)."""
        return f"wss://{self.netloc}{self.prefix}{path}"

    def webhook_urls(self, path: str) -> tuple[str, ...]:
        """The spellings in which Twilio may have signed a webhook: as written, and with or without the port."""
        return tuple(f"https://{netloc}{self.prefix}{path}" for netloc in self._netlocs())

    def handshake_urls(self, path: str) -> tuple[str, ...]:
        """The spellings in which Twilio may have signed a handshake: also with or without one last slash."""
        bare, mark, query = path.partition("?")
        other = bare[:-1] if bare.endswith("/") else bare + "/"
        paths = (path, other + mark + query)
        return tuple(f"wss://{netloc}{self.prefix}{p}" for p in paths for netloc in self._netlocs())

    def _netlocs(self) -> tuple[str, str]:
        port = urlsplit(f"//{self.netloc}").port
        if port is None:
            return self.netloc, f"{self.netloc}:443"
        return self.netloc, self.netloc.removesuffix(f":{port}")


class TwilioSignatures:
    """Verifies against any of the account's auth tokens, so that a token can be rotated without a lost call.

    Every method takes all acceptable spellings of the URL, tries every token and compares in constant time; whatever
    an outsider puts into the header, the path or the form makes the answer False, never an error.
    """

    def __init__(self, auth_tokens: Sequence[str]) -> None:
        if not auth_tokens or not all(auth_tokens):
            # An empty token would accept whoever signs with an empty key.
            raise ConfigError(["TWILIO_AUTH_TOKEN must not be empty."])
        self._validators = tuple(RequestValidator(token) for token in auth_tokens)

    def form(self, urls: Sequence[str], params: MultiMapping[str], signature: str) -> bool:
        """A form POST. ``params``: every pair as received, empty values and surrounding spaces included."""
        given = signature.encode("utf-8", "surrogatepass")
        valid = False
        for validator in self._validators:
            for url in urls:
                try:
                    expected: str = validator.compute_signature(url, params)
                except UnicodeEncodeError:
                    return False  # bytes that are not UTF-8 in the path: Twilio signs none
                valid |= hmac.compare_digest(expected.encode(), given)
        return valid

    def json(self, urls: Sequence[str], body: bytes, signature: str) -> bool:
        """A JSON POST: nothing is appended to the URL, whose ``bodySHA256`` must match the raw body."""
        digests = parse_qs(urlsplit(urls[0]).query).get("bodySHA256", [""])
        given = digests[0].lower().encode("utf-8", "surrogatepass")
        intact = hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), given)
        return self.url(urls, signature) and intact

    def url(self, urls: Sequence[str], signature: str) -> bool:
        """A request without parameters of its own: the websocket handshake, or a GET."""
        return self.form(urls, MultiDict(), signature)
