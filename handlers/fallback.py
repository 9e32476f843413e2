"""``/voice/fallback``: what a caller hears when another of our answers has failed.

Made once, at the start: it needs no Redis, no model and no secret, and answers also while the process leaves.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from handlers.callbacks import xml
from handlers.guard import TwilioGate
from handlers.signatures import SIGNATURE_HEADER

log = structlog.get_logger(__name__)


class Fallback:
    """``document``: TwiML. ``gate`` is asked about a signature only so that Twilio's request counts as Twilio's, and so
    that the operator learns of it."""

    def __init__(self, gate: TwilioGate, document: str) -> None:
        self._gate = gate
        self._document = document

    async def apologise(self, request: web.Request) -> web.Response:
        """The document, whoever asks."""
        if SIGNATURE_HEADER in request.headers:
            try:
                form = await self._gate.form(request)
            except web.HTTPException:
                pass
            else:
                code = form.get("ErrorCode") or request.query.get("ErrorCode", "")
                log.error("twilio could not use an answer of ours", error_code=code if code.isdecimal() else "")
        return xml(self._document)


__all__ = ["Fallback"]
