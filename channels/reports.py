"""Reports of calls, by HTTP to the address of the settings, signed so that the other end knows whose they are."""

from __future__ import annotations

import hmac

from aiohttp import ClientError, ClientSession, ClientTimeout

from relay.errors import ChannelRejected, ChannelUnavailable

DEADLINE = 10.0  # seconds for one delivery
SIGNATURE = "X-Relay-Signature"


def sign(secret: str, body: bytes) -> str:
    """The value of ``X-Relay-Signature``: HMAC-SHA256 of the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


class HttpReports:
    """``http`` belongs to whoever made it."""

    def __init__(self, http: ClientSession, url: str, secret: str, *, deadline: float = DEADLINE) -> None:
        self._http = http
        self._url = url
        self._secret = secret
        self._timeout = ClientTimeout(total=deadline)

    async def send(self, body: bytes) -> None:
        """Delivered when it was answered 2xx; a redirect is no answer. Raises ChannelError; after ChannelUnavailable,
        or a cancel, it may have been delivered all the same."""
        headers = {"Content-Type": "application/json", SIGNATURE: sign(self._secret, body)}
        try:
            async with self._http.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                status = answer.status
        except (ClientError, OSError, TimeoutError) as error:
            raise ChannelUnavailable(f"REPORT_URL was not reached ({type(error).__name__}).") from None
        if not 200 <= status < 300:
            kind = ChannelUnavailable if status in (408, 429) or status >= 500 else ChannelRejected
            raise kind(f"REPORT_URL answered {status}.", status=status)


__all__ = ["SIGNATURE", "HttpReports", "sign"]
