"""The webhooks of one call: what the app answers to it, followed verb by verb until a session opens or the call ends.

Source: Twilio's voice webhook fields, and the action callback of ``<Connect>`` with ConversationRelay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from phone.exchange import CallRefused, Exchange
from phone.playback import Pace
from phone.record import Ending, Event, Line, Notice, Outcome, Record
from phone.twiml import BadTwiml, ConversationRelay, Dial, Enqueue, Hangup, Pause, Recording, Redirect, Say, Verb

TWIML_STEPS = 20

_FLOW = re.compile(r"/v1/Accounts/[^/]+/Flows/(FW[0-9a-fA-F]+)$")
_TAKEN = ("completed", "answered")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """``path``: the voice webhook's, from the app's root on, with its query. ``person``: what becomes of a call to a
    person, as Twilio's DialCallStatus. ``outbound``: the app has placed the call."""

    exchange: Exchange
    record: Record
    pace: Pace
    path: str
    account_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    listen: Callable[[Event], None] = field(repr=False)
    person: str = "completed"
    outbound: bool = False

    async def incoming(self) -> ConversationRelay | Outcome:
        """The call comes in. Raises CallRefused or BadTwiml."""
        url = self.exchange.address(self.path)
        return await self._follow(
            await self.exchange.fetch(url, self._fields("in-progress" if self.outbound else "ringing")), url, "agent"
        )

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
                case Dial() as dial:
                    following = await self._dialled(dial, url)
                    if following is None:
                        return Outcome("transfer", dial.number)
                    pending = list(following)
                case Enqueue() as queue:
                    following = await self._queued(queue, url)
                    if following is None:
                        return Outcome("transfer", f"queue {queue.workflow_sid}")
                    pending = list(following)
                case Recording():
                    self.record.recorded = True
                    self.listen(Notice("the call is recorded"))
                case Redirect(target) if flow := _FLOW.search(urlsplit(target).path):
                    return Outcome("transfer", f"Studio flow {flow[1]}")
                case Redirect(target, method):
                    pending = list(await self.exchange.fetch(target, self._fields("in-progress"), method, against=url))
                case Pause(seconds):
                    self.record.pauses.append(seconds)
                    await self.pace.wait(seconds)
                case Hangup():
                    return Outcome(at_end)
                case _:
                    pass
        return Outcome("lost", error="the documents lead nowhere")

    async def _dialled(self, dial: Dial, url: str) -> Sequence[Verb] | None:
        """What the app has done once the person's call is over; None where a person has taken it."""
        taken = self.person in _TAKEN
        if taken and dial.url:
            leg = self._fields("in-progress") | {"CallSid": "CA" + "d" * 32, "ParentCallSid": self.record.call_sid}
            for verb in await self.exchange.fetch(dial.url, leg, against=url):
                if isinstance(verb, Say):
                    self.record.whispers.append(verb.text)
        return await self._after(dial.action, url, {"DialCallStatus": self.person}, taken=taken)

    async def _queued(self, queue: Enqueue, url: str) -> Sequence[Verb] | None:
        self.record.tasks.append(queue.task)
        taken = self.person in _TAKEN
        return await self._after(queue.action, url, {"QueueResult": "bridged" if taken else "leave"}, taken=taken)

    async def _after(self, action: str, url: str, report: dict[str, str], *, taken: bool) -> Sequence[Verb] | None:
        fields = self._fields("completed" if taken else "in-progress") | report
        verbs = await self.exchange.fetch(action, fields, against=url) if action else ()
        return None if taken else verbs

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
            "Direction": "outbound-api" if self.outbound else "inbound",
        }
