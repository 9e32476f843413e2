"""Requests to Twilio's REST API: text messages and calls, by the twilio library's asynchronous client.

Source: conversation-relay.md 9.3, 9.5. Creating is not idempotent: after a timeout the message, or the call, may exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import ClientError, ClientSession, encode_basic_auth
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable

DEADLINE = 8.0  # seconds for one request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks: ``user`` and ``secret`` are an API key with its secret, or the account's sid and its token. ``base``:
    the root before ``/2010-04-01``, "" for Twilio's own."""

    sid: str
    user: str
    secret: str = field(repr=False)
    base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialling:
    """A call to be placed. Addresses are absolute; ``url`` answers with TwiML once somebody picks up."""

    to: str = field(repr=False)
    from_: str = field(repr=False)
    url: str
    status_callback: str = ""
    amd_callback: str = ""
    timeout: int = 60
    events: Sequence[str] = ("initiated", "ringing", "answered", "completed")


class TwilioRest:
    """Made inside a running loop; ``close`` when it is over. Every method raises ChannelError and nothing of the
    library's; a cancel leaves what was asked for done or not."""

    def __init__(self, account: Account, *, deadline: float = DEADLINE) -> None:
        self._http = _Http()
        self._client = Client(account.user, account.secret, account.sid, http_client=self._http)
        if account.base:
            self._client.api.base_url = account.base
        self._deadline = deadline

    async def message(self, to: str, from_: str, body: str, *, status_callback: str = "") -> str:
        """Hands a text message over; its sid."""
        fields: dict[str, Any] = {"to": to, "from_": from_, "body": body}
        if status_callback:
            fields["status_callback"] = status_callback
        made = await self._ask(lambda: self._client.messages.create_async(**fields))
        return str(made.sid)

    async def call(self, dialling: Dialling) -> str:
        """Places a call; its sid."""
        fields: dict[str, Any] = {
            "to": dialling.to,
            "from_": dialling.from_,
            "url": dialling.url,
            "method": "POST",
            "timeout": dialling.timeout,
        }
        if dialling.status_callback:
            fields |= {
                "status_callback": dialling.status_callback,
                "status_callback_event": list(dialling.events),
                "status_callback_method": "POST",
            }
        if dialling.amd_callback:
            fields |= {
                "machine_detection": "DetectMessageEnd",
                "async_amd": "true",
                "async_amd_status_callback": dialling.amd_callback,
                "async_amd_status_callback_method": "POST",
            }
        made = await self._ask(lambda: self._client.calls.create_async(**fields))
        return str(made.sid)

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Has a live call carry out this TwiML at once, whatever it is doing."""
        await self._ask(lambda: self._client.calls(call_sid).update_async(twiml=twiml))

    async def hang_up(self, call_sid: str) -> None:
        await self._ask(lambda: self._client.calls(call_sid).update_async(status="completed"))

    async def close(self) -> None:
        await self._http.close()

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._deadline):
                return await request()
        except TwilioRestException as error:
            raise _translated(error) from None  # its message and its data hold what was asked for
        except (TwilioException, ClientError, OSError) as error:
            raise ChannelUnavailable(f"Twilio was not reached ({type(error).__name__}).") from None


class _Http(AsyncHttpClient):  # type: ignore[misc]  # the library is not typed
    """The library's requests on a session of ours: its own client logs and keeps what was asked, numbers and words."""

    def __init__(self) -> None:
        super().__init__(logging.Logger("twilio, unheard"), True)
        self._session = ClientSession()

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """One request; a redirect is not followed, for it would carry the credentials elsewhere. A list among the data
        is a field sent several times."""
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = encode_basic_auth(*auth)
        fields = [
            (name, str(value))
            for name, values in (data or {}).items()
            for value in (values if isinstance(values, list) else [values])
        ]
        async with self._session.request(
            method.upper(), uri, params=params, data=fields or None, headers=sent, allow_redirects=False
        ) as answer:
            return Response(answer.status, await answer.text(), answer.headers)

    async def close(self) -> None:
        await self._session.close()


def _translated(error: TwilioRestException) -> ChannelError:
    status, code = int(error.status or 0), str(error.code or "")
    kind = ChannelUnavailable if status in (0, 408, 429) or status >= 500 else ChannelRejected
    return kind(f"Twilio answered {status} (code {code or 'none'}).", status=status, vendor_code=code)


__all__ = ["Account", "Dialling", "TwilioRest"]
