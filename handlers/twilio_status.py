"""``POST /twilio/status``: what has become of a text message we sent (conversation-relay.md 9.5).

Reports come in any order and more than once, to any process. A 200 means that this one is taken down.
"""

from __future__ import annotations

import asyncio
import re

import structlog
from aiohttp import web

from handlers.guard import TwilioGate
from relay.errors import StoreError
from relay.messages import LOST
from relay.store.client import STORED_WITHIN
from relay.store.messages import STATUSES, Messages

STATUS = "/twilio/status"

_SID = re.compile(r"(?:SM|MM)[0-9A-Za-z]{1,62}", re.ASCII)
_WORD = re.compile(r"[a-z_-]{1,40}", re.ASCII)
_CODE = re.compile(r"[0-9]{0,9}", re.ASCII)

log = structlog.get_logger(__name__)


class TwilioStatus:
    def __init__(self, gate: TwilioGate, messages: Messages) -> None:
        self._gate = gate
        self._messages = messages

    async def message(self, request: web.Request) -> web.Response:
        """A cancel leaves the report taken down or not. 503 while Redis does not answer in time."""
        form = await self._gate.form(request)
        sid, status, code = (_only(form.getall(name, [])) for name in ("MessageSid", "MessageStatus", "ErrorCode"))
        if sid is None or status is None or code is None or not _SID.fullmatch(sid) or not _WORD.fullmatch(status):
            raise web.HTTPBadRequest(text="MessageSid or MessageStatus is missing or is not one of Twilio's.\n")
        if not _CODE.fullmatch(code):
            raise web.HTTPBadRequest(text="ErrorCode is not a number.\n")
        if status not in STATUSES:
            log.info("status of a message not taken down", message=sid, status=status)
            return web.Response()
        try:
            async with asyncio.timeout(STORED_WITHIN):
                known = await self._messages.report(sid, status, code)
        except (StoreError, TimeoutError) as error:
            log.warning("status of a message not taken down", message=sid, status=status, error=type(error).__name__)
            raise web.HTTPServiceUnavailable(text="The status could not be taken down.\n") from None
        if not known:
            log.warning("status of a message that is not on record", message=sid, status=status, error_code=code)
        elif status in LOST:
            log.warning("text message lost", message=sid, status=status, error_code=code)
        return web.Response()


def _only(values: list[str]) -> str | None:
    """The one value of a field, "" for none; None where there are several."""
    return values[0] if len(values) == 1 else None if values else ""


__all__ = ["STATUS", "TwilioStatus"]
