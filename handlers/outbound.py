"""``POST /voice/outbound``: an operator's own system has us call somebody."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from handlers.bearer import Bearer, answer, json_object, problem
from handlers.dialling import STATUS_OF, Dialler, DialRefused

KEY_HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class OutboundRoute:
    """``default_agent``: whom a call is for that names nobody. ``draining``: True once no new calls are placed.
    ``fresh``: awaited before the agent is looked up."""

    def __init__(
        self,
        bearer: Bearer,
        dialler: Dialler,
        default_agent: str,
        *,
        draining: Callable[[], bool] = lambda: False,
        fresh: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._bearer = bearer
        self._dialler = dialler
        self._default = default_agent
        self._draining = draining
        self._fresh = fresh

    async def place(self, request: web.Request) -> web.Response:
        """202 with the call's sid. A cancel may leave the call placed; its key then tells of it."""
        self._bearer.check(request)
        if self._draining():
            raise problem(503, "leaving", "This process is leaving and places no calls.", {"Retry-After": "1"})
        key = request.headers.get(KEY_HEADER, "")
        if KEY_HEADER in request.headers and not _KEY.fullmatch(key):
            raise problem(400, "bad_key", "The Idempotency-Key must be 1 to 255 printable characters without spaces.")
        data = await json_object(request)
        if unknown := sorted(data.keys() - {"to", "agent"}):
            raise problem(400, "unknown_field", f"There is no field {unknown[0][:64]!r}; known are to and agent.")
        to, agent = data.get("to"), data.get("agent", self._default)
        if not isinstance(to, str) or not isinstance(agent, str):
            raise problem(400, "bad_field", "to and agent must be texts; to must be there.")
        if self._fresh is not None:
            await self._fresh()
        try:
            call_sid = await self._dialler.dial(to, agent, key)
        except DialRefused as refused:
            wait = {"Retry-After": str(math.ceil(refused.retry_after))} if refused.retry_after else None
            raise problem(STATUS_OF[refused.reason], refused.reason, str(refused), wait) from None
        return answer(202, {"call_sid": call_sid})
