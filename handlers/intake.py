"""Whether one more call is taken, and what the caller hears of one that is not.

A call that goes on is never asked about: only ``POST /voice/incoming`` of a new one is, and a call that we are about to
place. Whatever cannot be found out in time counts as allowed: a caller is waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import structlog

from channels.twilio import twiml
from handlers.connecting import Connector, VoiceAgent
from handlers.handover import LOOKUP_DEADLINE
from handlers.room import Room
from relay.budget import Budget
from relay.store.callers import Callers
from relay.store.person import is_known

Reason = Literal["busy", "person_rate", "budget_day", "budget_person"]

LINES: Mapping[Reason, str] = {
    "busy": "busy",
    "person_rate": "called_often",
    "budget_day": "budget",
    "budget_person": "budget",
}
"""Which of the agent's lines tells the caller."""

log = structlog.get_logger(__name__)


class Counts(Protocol):
    def __call__(self, reason: str, /) -> object: ...


class Intake:
    """``callers`` None: a person may call as often as they like. ``busy_url``: TwiML for calls there is no room for, ""
    for the line. ``refused``: told the reason of each refusal. ``deadline``: seconds for Redis. ``now``: epoch
    seconds."""

    def __init__(
        self,
        room: Room,
        budget: Budget,
        callers: Callers | None = None,
        *,
        busy_url: str = "",
        refused: Counts = lambda reason: None,
        deadline: float = LOOKUP_DEADLINE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.room = room
        self.budget = budget
        self._callers = callers
        self._busy_url = busy_url
        self._refused = refused
        self._deadline = deadline
        self._now = now

    async def caller(self, person: str, call_sid: str) -> Reason | None:
        """Why a call of this person is not taken. It counts as one of theirs unless it is refused, and once however
        often it is told of; a withheld number is nobody in particular, who is not counted."""
        if self.room.full(call_sid):
            return "busy"
        return await self._ask(person, call_sid)

    async def spent(self, person: str) -> Reason | None:
        """The budget that is used up."""
        return await self._ask(person)

    async def _ask(self, person: str, call_sid: str = "") -> Reason | None:
        try:
            async with asyncio.timeout(self._deadline):
                if self.budget.limited:
                    await self.budget.look(person)
                if over := self.budget.over(person):
                    return over
                if not call_sid or self._callers is None or not is_known(person):
                    return None
                return None if await self._callers.take(person, call_sid, self._now()) else "person_rate"
        except Exception as error:
            log.warning("limits not looked up", error=type(error).__name__)
            return self.budget.over(person) or None

    def refuse(self, reason: Reason, connector: Connector, agent: VoiceAgent, language: str) -> str:
        """The TwiML that turns a call away. ``language``: the caller's, "" where it is not known."""
        self._refused(reason)
        log.info("call not taken", reason=reason)
        if reason == "busy" and self._busy_url:
            return twiml.redirect(self._busy_url)
        words = connector.words(agent, LINES[reason], language)
        return twiml.say_and_hangup(words.text, language=words.language)

    def count(self, reason: Reason) -> None:
        """A call was not placed."""
        self._refused(reason)


__all__ = ["LINES", "Intake", "Reason"]
