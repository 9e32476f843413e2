"""Requests to Twilio's REST API by the twilio library's asynchronous client: text messages, calls, and what others ask.

Source: conversation-relay.md 9.3, 9.5. Creating is not idempotent: after a timeout the message, or the call, may exist.
So a request is made again, once, only where Twilio has surely done nothing: it was not reached, or asked for patience.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    TCPConnector,
    encode_basic_auth,
)
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable

DEADLINE = 8.0  # seconds for one request, made again or not
CONNECT_DEADLINE = 3.0
PATIENCE = 2.0  # longest wait Twilio may ask for (Retry-After) before the request is made again
PAUSE = 0.2  # seconds before it is made again where nobody asked for a wait

T = TypeVar("T")

_UNREACHED = (ClientConnectorError, ConnectionTimeoutError)
"""There was no connection by which the request could have got to Twilio."""


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
    """``close`` it when it is over. Every method raises ChannelError and nothing of the library's; a cancel leaves what
    was asked for done or not. ``sleep``: waits before a request is made again."""

    def __init__(
        self,
        account: Account,
        *,
        deadline: float = DEADLINE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._http = _Http(sleep)
        self._client = Client(account.user, account.secret, account.sid, http_client=self._http)
        _ = self._client.messages  # the library imports what is asked for first: now, not in the middle of a call
        if account.base:
            self._client.api.base_url = account.base
        self._deadline = deadline

    async def message(self, to: str, from_: str, body: str, *, status_callback: str = "") -> str:
        """Hands a text message over; its sid."""
        fields: dict[str, Any] = {"to": to, "from_": from_, "body": body}
        if status_callback:
            fields["status_callback"] = status_callback
        return _sid(await self.ask(lambda client: client.messages.create_async(**fields)))

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
        return _sid(await self.ask(lambda client: client.calls.create_async(**fields)))

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Has a live call carry out this TwiML at once, whatever it is doing."""
        await self.ask(lambda client: client.calls(call_sid).update_async(twiml=twiml))

    async def hang_up(self, call_sid: str) -> None:
        await self.ask(lambda client: client.calls(call_sid).update_async(status="completed"))

    async def close(self) -> None:
        await self._http.close()

    async def ask(self, request: Callable[[Client], Awaitable[T]]) -> T:
        """What else the library can ask of Twilio; the requests of one wish share the deadline."""
        try:
            async with asyncio.timeout(self._deadline):
                return await request(self._client)
        except TwilioServiceException as error:  # their newer kind of answer; it is no TwilioRestException
            raise _translated(error.status, error.code) from None
        except TwilioRestException as error:
            raise _translated(error.status, error.code) from None  # its message and its data hold what was asked for
        except _UNREACHED as error:
            raise ChannelUnavailable(f"Twilio was not reached ({type(error).__name__}).", undone=True) from None
        except TwilioException as error:
            # Of a list the library tells no more than the answer it did not like.
            answer = error.args[1] if len(error.args) > 1 else None
            if isinstance(answer, Response):
                raise _translated(answer.status_code, _code_in(answer.text)) from None
            raise ChannelUnavailable(f"Twilio gave no answer ({type(error).__name__}).") from None
        except (ClientError, OSError) as error:
            raise ChannelUnavailable(f"Twilio gave no answer ({type(error).__name__}).") from None
        except (ValueError, TypeError, AttributeError) as error:  # the library reads whatever it is given
            raise ChannelUnavailable(f"Twilio's answer cannot be read ({type(error).__name__}).") from None


class _Http(AsyncHttpClient):  # type: ignore[misc]  # the library is not typed
    """The library's requests on a session of ours: its own client logs and keeps what was asked, numbers and words."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        super().__init__(logging.Logger("twilio, unheard"), True)
        self._sleep = sleep
        self._session: ClientSession | None = None

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
        """One request, made again once where that is harmless; a redirect is not followed, for it would carry the
        credentials elsewhere. A list among the data is a field sent several times."""
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = encode_basic_auth(*auth)
        fields = [
            (name, str(value))
            for name, values in (data or {}).items()
            for value in (values if isinstance(values, list) else [values])
        ]
        if self._session is None:
            # A connection of its own for each request: one that is kept may be closed by the other end under a request,
            # and then nobody knows whether it was carried out.
            self._session = ClientSession(
                connector=TCPConnector(force_close=True),
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE),
            )
        for again in (False, True):
            try:
                async with self._session.request(
                    method.upper(), uri, params=params, data=fields or None, headers=sent, allow_redirects=False
                ) as answer:
                    pause = None if again else _asked_for(answer)
                    if pause is None:
                        return Response(answer.status, await answer.text(errors="replace"), answer.headers)
            except _UNREACHED:
                if again:
                    raise
                pause = PAUSE
            await self._sleep(pause)
        raise AssertionError  # the second time returns or raises

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _sid(made: Any) -> str:
    if not made.sid:
        raise ChannelUnavailable("Twilio's answer names no sid.")
    return str(made.sid)


def _asked_for(answer: ClientResponse) -> float | None:
    """Seconds after which a refused request may be made again; None where that is not to be."""
    if answer.status != 429:
        return None
    try:
        wait = float(answer.headers.get("Retry-After", PAUSE))
    except ValueError:
        return None  # a date: that is longer than a caller waits
    return wait if 0 <= wait <= PATIENCE else None


def _code_in(body: str) -> object:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer.get("code") if isinstance(answer, dict) else None


def _translated(status: object, code: object) -> ChannelError:
    """What Twilio answered. A code that repeats the status says nothing, as from a proxy in between."""
    number = int(status) if isinstance(status, int | str) and str(status).isdigit() else 0
    own = "" if str(code or "") == str(number) else str(code or "")
    told = f"Twilio answered {number} (code {own or 'none'})."
    if number in (0, 408, 429) or number >= 500 or number < 400:
        return ChannelUnavailable(told, status=number, vendor_code=own, undone=number == 429)
    return ChannelRejected(told, status=number, vendor_code=own)


__all__ = ["Account", "Dialling", "TwilioRest"]
