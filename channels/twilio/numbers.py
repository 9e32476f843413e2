"""The account's telephone numbers: where Twilio sends their calls, and how that is changed and put back.

Source: Twilio's IncomingPhoneNumbers resource. A TwiML app or a trunk set on a number has its calls, whatever its
addresses are; setting one of the two removes the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from channels.twilio.rest import TwilioRest
from relay.errors import RelayError

PAGE = 200
LISTED = 20
"""Numbers that a sentence lists, at most."""
BUY_ONE = "Buy one in the Console: Phone Numbers > Manage > Buy a number."

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Routing:
    """Where a number's calls go, by Twilio's names; "" for none."""

    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    voice_application_sid: str = ""
    trunk_sid: str = ""

    @classmethod
    def of(cls, record: object) -> Routing:
        """From the library's record of a number."""
        return cls(**{each.name: str(getattr(record, each.name) or each.default) for each in fields(cls)})

    def differs(self, other: Routing) -> dict[str, str]:
        """What of the other one is not so here."""
        return {name: there for name in ROUTING if (there := getattr(other, name)) != getattr(self, name)}


ROUTING = tuple(each.name for each in fields(Routing))
OVERRIDING = {"voice_application_sid": "TwiML app", "trunk_sid": "trunk"}
"""What has a number's calls where it is set."""


@dataclass(frozen=True, slots=True)
class Number:
    """``number`` in E.164 form; ``voice``: whether it can take calls."""

    sid: str
    number: str = field(repr=False)
    name: str = field(repr=False)
    voice: bool
    routing: Routing


@dataclass(frozen=True, slots=True)
class Change:
    """A number as it was, and its routing since. ``old``, ``new``: what is not the same, by Twilio's names."""

    number: Number
    after: Routing

    @property
    def old(self) -> dict[str, str]:
        return self.after.differs(self.number.routing)

    @property
    def new(self) -> dict[str, str]:
        return self.number.routing.differs(self.after)


class NoNumber(RelayError):
    """The account has no such number, or none that takes calls, or it is not clear which one is meant."""

    code = "no_number"


class Overridden(RelayError):
    """A TwiML app or a trunk is still set on a number after it was to be removed: it has the calls, not we."""

    code = "overridden"


class Numbers:
    """Every method raises ChannelError; a cancel leaves a change made or not."""

    def __init__(self, rest: TwilioRest) -> None:
        self._rest = rest

    async def all(self) -> list[Number]:
        """All of the account's numbers, page by page."""
        return await self._list()

    async def choose(self, wanted: str = "") -> Number:
        """The number of this name, in E.164 form; without one, the only number that takes calls. Raises NoNumber."""
        if wanted and not _E164.fullmatch(wanted):
            raise NoNumber(f"{wanted!r} is no number in E.164 form, such as +15550100200.")
        # Twilio's filter also finds numbers that contain this one.
        found = [each for each in await self._list(phone_number=wanted) if each.number == wanted] if wanted else []
        if found:
            if not found[0].voice:
                raise NoNumber(f"{wanted} takes no calls: Twilio lists it without the capability Voice.")
            return found[0]
        able = [each for each in await self.all() if each.voice]
        if not able:
            raise NoNumber(
                "The account has no number that takes calls; buy one: Console > Phone Numbers > Buy a number."
            )
        if wanted:
            raise NoNumber(f"{wanted} is no number of this account, which has {_listed(able)}.")
        if len(able) > 1:
            raise NoNumber(f"Which number? The account has {_listed(able)}.")
        return able[0]

    async def route(self, number: Number, wanted: Mapping[str, str]) -> Change:
        """Sets what is named of a number's routing; what is so already is not sent. Raises Overridden."""
        fresh = {name: value for name, value in wanted.items() if value != getattr(number.routing, name)}
        if not fresh:
            return Change(number, number.routing)
        record = await self._rest.ask(lambda client: client.incoming_phone_numbers(number.sid).update_async(**fresh))
        after = Routing.of(record)
        for name, what in OVERRIDING.items():
            if fresh.get(name) == "" and getattr(after, name):
                raise Overridden(
                    f"Twilio has kept {number.number}'s {what} {getattr(after, name)}, which has its calls. Remove it "
                    "in the Console: Phone Numbers > Manage > Active numbers > the number > Configure with: Webhook."
                )
        return Change(number, after)

    async def undo(self, change: Change) -> Change:
        """Puts back what a change has changed, except for what somebody has set anew since."""
        now = await self._fetch(change.number.sid)
        new = change.new
        ours = {name: old for name, old in change.old.items() if getattr(now.routing, name) == new[name]}
        return await self.route(now, ours)

    async def application(self, sid: str) -> Routing:
        """Where the calls of a TwiML app go."""
        app = await self._rest.ask(lambda client: client.applications(sid).fetch_async())
        return Routing(**{name: str(getattr(app, name) or "") for name in ROUTING if name not in OVERRIDING})

    async def _fetch(self, sid: str) -> Number:
        return _number(await self._rest.ask(lambda client: client.incoming_phone_numbers(sid).fetch_async()))

    async def _list(self, **filters: str) -> list[Number]:
        records = await self._rest.ask(
            lambda client: client.incoming_phone_numbers.list_async(page_size=PAGE, **filters)
        )
        return [_number(record) for record in records]


def _number(record: Any) -> Number:
    """From the library's record, which holds whatever Twilio has sent."""
    capabilities = record.capabilities if isinstance(record.capabilities, Mapping) else {}
    return Number(
        str(record.sid or ""),
        str(record.phone_number or ""),
        str(record.friendly_name or ""),
        capabilities.get("voice") is True,
        Routing.of(record),
    )


def _listed(numbers: list[Number]) -> str:
    shown = ", ".join(each.number for each in numbers[:LISTED])
    return f"{shown} and {len(numbers) - LISTED} more" if len(numbers) > LISTED else shown
