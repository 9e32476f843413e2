"""The routes we open to an operator's own systems: a bearer token, JSON bodies, JSON errors ``{"code","message"}``."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web

from handlers.guard import closed, vouch

BODY_LIMIT = 16 * 1024
BODY_DEADLINE = 5.0


class Bearer:
    """``token`` "": the routes are closed, 404 with an empty body."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, request: web.Request) -> None:
        """Returns for who brings the token; raises 404 or 401, before anything of the request is read."""
        if not self._token:
            raise closed()
        if not self.brought_by(request):
            raise unauthorized()
        vouch(request)

    @property
    def is_set(self) -> bool:
        return bool(self._token)

    def brought_by(self, request: web.Request) -> bool:
        """Whether the request brings the token; never where there is none."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        told = given.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(told, self._token) and scheme.casefold() == "bearer" and self.is_set


def unauthorized() -> web.HTTPException:
    return problem(401, "unauthorized", "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})


async def json_object(request: web.Request, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """The body, a JSON object of at most so many bytes. Raises 400, 408, 413 or 415."""
    if request.content_type != "application/json":
        raise problem(415, "not_json", "The body must be application/json.")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().casefold() != "identity":
        raise problem(415, "compressed", "The body must not be compressed.", {hdrs.ACCEPT_ENCODING: "identity"})
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise problem(408, "too_slow", "The body did not arrive in time.") from None
    except web.RequestPayloadError:
        raise problem(400, "bad_json", "The body cannot be read.") from None
    try:
        data = orjson.loads(bytes(body))
    except orjson.JSONDecodeError:
        raise problem(400, "bad_json", "The body is not JSON.") from None
    if not isinstance(data, dict):
        raise problem(400, "bad_json", "The body is not a JSON object.")
    return data


def _too_large(limit: int) -> web.HTTPException:
    return problem(413, "too_large", f"The body is larger than {limit} bytes.")


def answer(status: int, data: Mapping[str, object], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(data), content_type="application/json", charset="utf-8", headers=headers
    )


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.HTTPException:
    """An error to be raised."""

    class Problem(web.HTTPException):
        status_code = status

    return Problem(
        text=orjson.dumps({"code": code, "message": message}).decode(),
        content_type="application/json",
        headers=headers,
    )
