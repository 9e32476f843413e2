"""The webhooks of one call: what the app answers to it, followed verb by verb until a session opens or the call ends.

Source: Twilio's voice webhook fields, and the action callback of ``<Connect>`` with ConversationRelay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from phone.exchange import CallRefused, Exchange
from phone.playback import Pace
from phone.record import Ending, Event, Line, Notice, Outcome, Record
from phone.twiml import BadTwiml, ConversationRelay, Dial, Hangup, Redirect, Say, Verb

TWIML_STEPS = 20


@dataclass(frozen=True, slots=True)
class Webhooks:
    """``path``: the voice webhook's, from the app's root on, with its query."""

    exchange: Exchange
    record: Record
    pace: Pace
    path: str
    account_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    listen: Callable[[Event], None] = field(repr=False)

    async def incoming(self) -> ConversationRelay | Outcome:
        """The call comes in. Raises CallRefused or BadTwiml."""
        url = self.exchange.address(self.path)
        return await self._follow(await self.exchange.fetch(url, self._fields("ringing")), url, "agent")

    async def action(
        self, relay: ConversationRelay, session_id: str, opened: float, ending: Ending
    ) -> ConversationRelay | Outcome:
        """A session that began at ``opened`` is over. An answer that cannot be used is a fault and loses the call."""
        how: Literal["agent", "lost"] = "agent" if ending.status == "ended" else "lost"
        error = f"{ending.error_code} {ending.error_message}".strip()
        completed = ending.status == "completed"
        outcome = Outcome("caller") if completed else Outcome(how, handoff_data=ending.handoff_data, error=error)
        if not relay.action:
            return outcome
        fields = self._fields("completed" if completed else "in-progress") | {
            "SessionId": session_id,
            "SessionStatus": ending.status,
            "SessionDuration": str(max(0, int(self.pace.clock() - opened))),
        }
        if ending.handoff_data is not None:
            fields["HandoffData"] = ending.handoff_data
        if ending.status == "failed":
            fields |= {"ErrorCode": ending.error_code, "ErrorMessage": ending.error_message}
        self.record.actions.append(fields)
        await self.pace.wait(1.2 if ending.status == "failed" else 0.7)
        try:
            base = self.exchange.address(self.path)
            verbs = await self.exchange.fetch(relay.action, fields, relay.method, against=base)
            following = outcome if completed else await self._follow(verbs, relay.action, how)
        except (CallRefused, BadTwiml) as problem:
            self.record.faults.append(str(problem))
            return outcome if completed else Outcome("lost", handoff_data=ending.handoff_data, error=str(problem))
        if isinstance(following, Outcome):
            return Outcome(following.how, following.number, ending.handoff_data, following.error or error)
        return following

    async def _follow(
        self, verbs: Sequence[Verb], url: str, at_end: Literal["agent", "lost"]
    ) -> ConversationRelay | Outcome:
        pending = list(verbs)
        for _ in range(TWIML_STEPS):
            match pending.pop(0) if pending else Hangup():
                case ConversationRelay() as relay:
                    return relay
                case Say(text):
                    self.record.story.append(Line("twilio", text))
                    self.listen(Notice(text))
                case Dial(number):
                    return Outcome("transfer", number)
                case Redirect(target, method):
                    pending = list(await self.exchange.fetch(target, self._fields("in-progress"), method, against=url))
                case Hangup():
                    return Outcome(at_end)
                case _:
                    pass
        return Outcome("lost", error="the documents lead nowhere")

    def _fields(self, call_status: str) -> dict[str, str]:
        return {
            "CallSid": self.record.call_sid,
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "From": self.from_,
            "Caller": self.from_,
            "To": self.to,
            "Called": self.to,
            "CallerCountry": "US",
            "CallerCity": "",
            "CallStatus": call_status,
            "Direction": "inbound",
        }
