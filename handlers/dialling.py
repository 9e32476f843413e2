"""Placing a call: what must be true before Twilio is asked, and that a wish is carried out once.

Used by ``POST /voice/outbound`` and by ``relay dial``. Twilio's request is not idempotent, so the claim of a key comes
before it: where nobody knows whether a call was placed, the key is good for no other.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlencode
from uuid import uuid4

import orjson
import structlog

from config.settings import Settings
from handlers.callbacks import AMD, INCOMING, STATUS
from handlers.room import RINGING
from relay.errors import ChannelRejected, ChannelUnavailable, RelayError, StoreError
from relay.store.outbound import Claim, OutboundCalls
from relay.store.person import person_id

if TYPE_CHECKING:
    from channels.twilio.rest import Dialling
    from handlers.intake import Intake

PATIENCE = 10.0
"""Seconds from a claim until nobody is still asking Twilio for it: a little more than a request's deadline."""
LOOK_AGAIN = 0.1
BUSY_AGAIN = 10.0
"""Seconds after which it may be tried again where there was no room for a call."""

_NUMBER = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)

log = structlog.get_logger(__name__)

Reason = Literal[
    "not_configured",
    "bad_number",
    "unknown_agent",
    "country",
    "rate",
    "key_reused",
    "outcome_unknown",
    "refused",
    "unavailable",
    "store",
    "busy",
    "budget",
]


class DialRefused(RelayError):
    """No call was placed, or nobody knows (``outcome_unknown``, ``unavailable``). ``retry_after``: seconds."""

    code = "dial_refused"

    def __init__(self, reason: Reason, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class Phone(Protocol):
    """Who places calls (``channels.twilio.rest.TwilioRest``)."""

    async def call(self, dialling: Dialling, /) -> str:
        """The sid of the call. Raises ChannelError."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """``base``: PUBLIC_URL. ``number``: ours. ``countries``: calling codes that may be dialled."""

    base: str
    number: str = field(repr=False)
    countries: Sequence[str] = ()


def missing_for_calls(settings: Settings) -> list[str]:
    """The settings without which no call can be placed."""
    missing = []
    if settings.public_url is None:
        missing.append("PUBLIC_URL")
    if not settings.twilio_auth_token:
        missing.append("TWILIO_AUTH_TOKEN")  # without it the routes Twilio then asks are closed
    if settings.twilio_account_sid is None:
        missing.append("TWILIO_ACCOUNT_SID")
    if settings.twilio_phone_number is None:
        missing.append("TWILIO_PHONE_NUMBER")
    return missing


class Dialler:
    """``missing``: settings without which no call can be placed. ``agents``: whom a call may be for. ``secret``: the
    same in all processes and not in Redis; without it a number could be found out from what is kept of a key. ``now``:
    epoch seconds. ``patience``: as above. ``intake``: the process that will talk in the call, None where that is
    another."""

    def __init__(
        self,
        line: Line,
        phone: Phone | None,
        calls: OutboundCalls,
        agents: Collection[str],
        *,
        missing: Sequence[str] = (),
        secret: bytes = b"",
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        patience: float = PATIENCE,
        intake: Intake | None = None,
    ) -> None:
        self._line = line
        self._phone = phone
        self._calls = calls
        self._agents = agents
        self._missing = missing
        self._secret = secret
        self._now = now
        self._sleep = sleep
        self._patience = patience
        self._intake = intake
        self._placing: set[asyncio.Task[str]] = set()

    async def dial(self, to: str, agent: str, key: str = "") -> str:
        """Places a call and returns its sid; with a key, the sid of the call that was placed for it. Raises
        DialRefused. After a cancel what Twilio was asked goes on, and its outcome is noted, until ``close``."""
        phone = self._check(to, agent)
        claimant = uuid4().hex
        claim = await self._claim(claimant, key, fingerprint_of(to, agent, self._secret))
        if claim.kind == "done":
            return claim.call_sid
        placing = asyncio.create_task(self._place(phone, to, agent, claimant, key), name="place a call")
        self._placing.add(placing)
        placing.add_done_callback(self._placed)
        return await asyncio.shield(placing)

    async def _reserve(self, to: str, claimant: str) -> None:
        """A place for the call; raises DialRefused where there is none, for it or in a budget."""
        if self._intake is None:
            return
        if reason := await self._intake.spent(person_id("phone", to, "")):
            self._intake.count(reason)
            message = "The tokens of the day are spent (BUDGET_TOKENS_PER_DAY, BUDGET_TOKENS_PER_PERSON_DAY)."
            raise DialRefused("budget", message, retry_after=self._intake.budget.until_tomorrow)
        if self._intake.room.full():
            self._intake.count("busy")
            raise DialRefused("busy", "There are as many calls as there may be (MAX_CALLS).", retry_after=BUSY_AGAIN)
        self._intake.room.expect(claimant, self._patience)

    async def close(self) -> None:
        """Waits for calls that are being placed, as long as Twilio may take. What is left then is in doubt."""
        if not self._placing:
            return
        await asyncio.wait(self._placing, timeout=self._patience)
        left = list(self._placing)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)

    def _placed(self, task: asyncio.Task[str]) -> None:
        self._placing.discard(task)
        if not task.cancelled():
            task.exception()  # who asked has it, if they are still there

    async def _place(self, phone: Phone, to: str, agent: str, claimant: str, key: str) -> str:
        from channels.twilio.rest import Dialling  # takes a while to import; whoever made the phone has done so

        try:
            await self._reserve(to, claimant)
        except DialRefused:
            await self._settle(self._calls.give_back(claimant, key))
            raise
        query = urlencode({"agent": agent})
        dialling = Dialling(
            to=to,
            from_=self._line.number,
            url=f"{self._line.base}{INCOMING}?{query}",
            status_callback=f"{self._line.base}{STATUS}",
            amd_callback=f"{self._line.base}{AMD}?{query}",
        )
        try:
            call_sid = await phone.call(dialling)
        except ChannelRejected as error:
            self._unreserve(claimant)
            await self._settle(self._calls.give_back(claimant, key))
            log.warning("call refused by twilio", status=error.status, twilio_code=error.vendor_code)
            code = f" (its error {error.vendor_code})" if error.vendor_code else ""
            raise DialRefused("refused", f"Twilio did not place the call{code}.") from None
        except ChannelUnavailable as error:
            log.warning("call not placed", status=error.status, twilio_code=error.vendor_code)
            if error.undone:
                self._unreserve(claimant)
                await self._settle(self._calls.give_back(claimant, key))
                raise DialRefused("unavailable", "Twilio takes no calls at the moment; none was placed.") from None
            await self._settle(self._calls.in_doubt(claimant, key))
            raise DialRefused("unavailable", "Twilio gave no answer: the call may have been placed or not.") from None
        self._unreserve(claimant, call_sid)
        await self._settle(self._calls.placed(claimant, key, call_sid))
        log.info("call placed", call_sid=call_sid, agent=agent)
        return call_sid

    def _unreserve(self, claimant: str, call_sid: str = "") -> None:
        """The place is free again, or the call's that was placed."""
        if self._intake is not None:
            self._intake.room.forget(claimant)
            if call_sid:
                self._intake.room.expect(call_sid, RINGING)

    def _check(self, to: str, agent: str) -> Phone:
        if self._missing or self._phone is None:
            names = ", ".join(self._missing) or "TWILIO_API_KEY"
            raise DialRefused("not_configured", f"No call can be placed; these settings are missing: {names}.")
        if not _NUMBER.fullmatch(to):
            raise DialRefused("bad_number", "The number must be in E.164 form, such as +15550100200.")
        if agent not in self._agents:
            raise DialRefused("unknown_agent", "There is no agent of that name.")
        if not any(to.startswith(code) for code in self._line.countries):
            raise DialRefused("country", "Numbers of that country may not be dialled (OUTBOUND_COUNTRIES).")
        return self._phone

    async def _claim(self, claimant: str, key: str, fingerprint: str) -> Claim:
        """A claim of ours, or the call another has placed for the key; who is placing it now is waited for."""
        began = self._now()
        while True:
            try:
                claim = await self._calls.claim(claimant, key, fingerprint, self._now())
            except StoreError:
                raise DialRefused("store", "Redis does not answer, so a call could be placed twice.") from None
            match claim.kind:
                case "claimed" | "done":
                    return claim
                case "other":
                    raise DialRefused("key_reused", "This Idempotency-Key was used for another call.")
                case "rate":
                    message = "Too many calls in a minute (OUTBOUND_PER_MINUTE)."
                    raise DialRefused("rate", message, retry_after=claim.wait)
            # Another process's clock may be ahead of ours: nobody waits longer than that for it either.
            if self._now() - min(claim.since, began) > self._patience:
                message = "Whether a call was placed for this Idempotency-Key is not known; it is not placed again."
                raise DialRefused("outcome_unknown", message)
            await self._sleep(LOOK_AGAIN)

    async def _settle(self, writing: Awaitable[None]) -> None:
        """What has become of a key. Where it cannot be written the key stays claimed, which is the safe side."""
        try:
            await writing
        except StoreError as error:
            log.error("outcome of a placed call not written", error=type(error).__name__)


def fingerprint_of(to: str, agent: str, secret: bytes) -> str:
    """Of a wish: equal for equal wishes."""
    return hmac.digest(secret, orjson.dumps([to, agent]), sha256).hex()


def line_of(settings: Settings) -> Line:
    return Line(settings.public_url or "", settings.twilio_phone_number or "", settings.outbound_countries)


STATUS_OF: Mapping[Reason, int] = {
    "not_configured": 503,
    "bad_number": 400,
    "unknown_agent": 400,
    "country": 403,
    "rate": 429,
    "key_reused": 422,
    "outcome_unknown": 409,
    "refused": 502,
    "unavailable": 503,
    "store": 503,
    "busy": 503,
    "budget": 429,
}
"""The HTTP status each refusal is answered with."""
