"""What Twilio reports of a call besides its sessions: ``POST /voice/status``, how far it has come, and
``POST /voice/amd``, what has answered a call we placed.

Source: conversation-relay.md 9.3, and Twilio's page on answering machine detection. Reports may come late, twice and
out of order.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol
from uuid import uuid4

import structlog
from aiohttp import web
from multidict import MultiMapping

from handlers.call_memory import DEADLINE, CallMemory
from handlers.callbacks import GOES_ON, OVER, Deliveries, Outcome, call_sid_of
from handlers.connecting import Connector, VoiceAgent
from handlers.guard import TwilioGate
from handlers.handover import Ended
from handlers.voice import voicemail
from relay.errors import ChannelError, StoreError
from relay.store.callstatus import CallStatus
from relay.store.client import STORED_WITHIN

MACHINES = frozenset({"machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other"})
FAX = "fax"

# Where a report carries no number of its own: the order in which a call takes its statuses.
_RANK = {"queued": 0, "initiated": 1, "ringing": 2, "answered": 3, "in-progress": 3, **dict.fromkeys(OVER, 4)}
_OUTCOMES: dict[str, Outcome] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no-answer",
    "failed": "failed",
    "canceled": "canceled",
}

log = structlog.get_logger(__name__)


class LiveCalls(Protocol):
    """Changes calls under way (``channels.twilio.rest.TwilioRest``); raises ChannelError."""

    async def redirect(self, call_sid: str, twiml: str, /) -> None: ...
    async def hang_up(self, call_sid: str, /) -> None: ...


class CallProgress:
    """``calls`` None: there are no credentials to change a call with. ``ended``: as in ``VoiceWebhooks``; told of a
    call's own end where no session was there to tell, and of one that a machine has answered."""

    def __init__(
        self,
        gate: TwilioGate,
        connector: Connector,
        store: CallStatus,
        memory: CallMemory,
        *,
        calls: LiveCalls | None = None,
        ended: Ended = lambda call_sid, outcome: None,
    ) -> None:
        self._gate = gate
        self._connector = connector
        self._store = store
        self._memory = memory
        self._calls = calls
        self._ended = ended
        self._machines: Deliveries[str] = Deliveries()

    async def status(self, request: web.Request) -> web.Response:
        """Writes the status; 503 where the store does not answer in time. A cancel leaves it written or not."""
        form = await self._gate.form(request)
        call_sid, status = call_sid_of(form), form.get("CallStatus", "").casefold()
        if status not in _RANK:
            raise web.HTTPBadRequest(text="CallStatus is missing or is none of Twilio's.\n")
        duration = form.get("CallDuration", "")
        duration = duration if re.fullmatch(r"\d{1,7}", duration, re.ASCII) else ""
        try:
            async with asyncio.timeout(STORED_WITHIN):
                news = await self._store.status(call_sid, _sequence(form, status), status, duration)
        except (StoreError, TimeoutError):
            raise web.HTTPServiceUnavailable(text="The status could not be stored.\n") from None
        if news and status in OVER:
            state = await self._memory.read(call_sid)
            log.info("call over", call_sid=call_sid, status=status)
            if state is None or not state.outcome or state.outcome in GOES_ON:
                self._ended(call_sid, _OUTCOMES[status])
        return web.Response(status=204)

    async def amd(self, request: web.Request) -> web.Response:
        """What has answered: a machine hears the agent's voicemail text and nothing else, or the call ends.

        Acts once a call however often it is told. 503 where Twilio could not be asked; a cancel leaves it asked or not.
        """
        form = await self._gate.form(request)
        call_sid, answered = call_sid_of(form), form.get("AnsweredBy", "").casefold()
        if answered not in MACHINES and answered != FAX:
            return web.Response(status=204)
        if self._calls is None:
            log.warning("machine answered, and there are no credentials to act", call_sid=call_sid)
            return web.Response(status=204)
        state = await self._memory.read(call_sid)
        if state is not None and state.outcome in ("transfer", "transferred"):
            return web.Response(status=204)  # somebody has asked for a person by now, and may be talking to them
        if not await self._first(call_sid, answered):
            return web.Response(status=204)
        agent = self._connector.named(request.query.get("agent", ""))
        leaves = bool(agent.voicemail) and answered != FAX
        try:
            await self._leave(self._calls, call_sid, agent, leaves=leaves)
        except ChannelError as error:
            log.error("machine not dealt with", call_sid=call_sid, error=type(error).__name__, status=error.status)
            await self._again(call_sid)
            raise web.HTTPServiceUnavailable(text="Twilio could not be asked.\n") from None
        outcome: Outcome = "voicemail" if leaves else "machine"
        log.info("machine answered", call_sid=call_sid, answered_by=answered, outcome=outcome)
        self._ended(call_sid, outcome)
        await self._memory.note(call_sid, outcome=outcome)
        return web.Response(status=204)

    @staticmethod
    async def _leave(calls: LiveCalls, call_sid: str, agent: VoiceAgent, *, leaves: bool) -> None:
        if leaves:
            await calls.redirect(call_sid, voicemail(agent))
        else:
            await calls.hang_up(call_sid)

    async def _first(self, call_sid: str, answered: str) -> bool:
        """Whether nobody has acted on this call's machine; without the store, nobody of this process."""
        if self._machines.get([call_sid]) is not None:
            return False
        self._machines.put([call_sid], answered)
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._store.claim(call_sid, "answered_by", answered, uuid4().hex)
        except (StoreError, TimeoutError) as error:
            log.warning("machine not noted", error=type(error).__name__)
            return True

    async def _again(self, call_sid: str) -> None:
        """It was not dealt with: the next delivery may."""
        self._machines.forget([call_sid])
        try:
            await self._store.release(call_sid, "answered_by")
        except StoreError as error:
            log.warning("machine not noted", error=type(error).__name__)


def _sequence(form: MultiMapping[str], status: str) -> int:
    """The number of a report among those of its call."""
    given = form.get("SequenceNumber", "")
    return int(given) if re.fullmatch(r"\d{1,9}", given, re.ASCII) else _RANK[status]
