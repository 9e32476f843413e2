"""What the webhooks of a call remember of it: in Redis, so that any process finds it, and briefly here.

A caller is waiting while a webhook is answered: nothing here takes longer than its deadline, and whatever goes wrong,
the call goes on without it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from relay.errors import StoreError
from relay.store.callstatus import CallState, CallStatus

DEADLINE = 0.3
KEPT = 600.0  # seconds; a person's telephone rings, and is retried, for less
MOST = 1000

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Whisper:
    """What a person is told before they take a call, and the tag of its language."""

    reason: str = field(default="", repr=False)
    summary: str = field(default="", repr=False)
    language: str = ""

    @property
    def text(self) -> str:
        return " ".join(part if part[-1] in ".!?" else f"{part}." for part in (self.reason, self.summary) if part)


class CallMemory:
    """``store`` None: this process only. ``here``: what this process' sessions have noted of a call, for when the store
    does not answer. ``deadline``: seconds for each request to it. ``now``: epoch seconds."""

    def __init__(
        self,
        store: CallStatus | None = None,
        *,
        here: Callable[[str], Mapping[str, str]] = lambda call_sid: {},
        deadline: float = DEADLINE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._here = here
        self._deadline = deadline
        self._now = now
        self._whispers: OrderedDict[str, tuple[Whisper, float]] = OrderedDict()

    async def read(self, call_sid: str) -> CallState | None:
        """What is known of the call; None where nobody can tell in time."""
        state = None
        if self._store is not None:
            state = await self._ask(self._store.read(call_sid), "call not looked up")
        if state is None or not state.agent:  # Redis is away, or has not got it yet
            here = self._here(call_sid)
            if agent := here.get("agent", ""):
                return replace(state or CallState(), agent=agent, language=here.get("language", ""))
        return state

    async def note(self, call_sid: str, **fields: str) -> None:
        """Writes fields of the call (``CallState``) as well as it can."""
        if self._store is not None:
            await self._ask(self._store.note(call_sid, **fields), "call not noted")

    async def keep(self, call_sid: str, whisper: Whisper) -> None:
        """Keeps what is to be whispered; never in a URL, which logs and Twilio's console would show."""
        now = self._now()
        while self._whispers and (len(self._whispers) >= MOST or next(iter(self._whispers.values()))[1] + KEPT <= now):
            self._whispers.popitem(last=False)
        self._whispers[call_sid] = whisper, now
        self._whispers.move_to_end(call_sid)
        await self.note(
            call_sid,
            reason=whisper.reason,
            summary=whisper.summary,
            summary_language=whisper.language,
            summary_at=str(int(now * 1000)),
        )

    async def whisper(self, call_sid: str) -> Whisper | None:
        """What was kept for this call last, here or elsewhere; None for nothing, or nothing any more."""
        here, since = self._whispers.get(call_sid, (None, 0.0))
        if since + KEPT <= self._now():
            here = None
        state = await self.read(call_sid)
        if state is None or not state.summary_at.isdecimal():
            return here
        if here is not None and int(state.summary_at) <= int(since * 1000):
            return here  # also where Redis was away when it was kept
        return Whisper(state.reason, state.summary, state.summary_language)

    async def _ask(self, request: Awaitable[T], what: str) -> T | None:
        try:
            async with asyncio.timeout(self._deadline):
                return await request
        except (StoreError, TimeoutError) as error:
            log.warning(what, error=type(error).__name__)
            return None
