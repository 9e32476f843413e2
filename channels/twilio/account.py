"""The account itself at Twilio: whether credentials are taken, and how the account is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from channels.twilio.rest import TwilioRest


@dataclass(frozen=True, slots=True)
class Standing:
    """``status``: active, suspended or closed; ``type``: Full or Trial. ``date``: of the answer, as its header is."""

    status: str
    type: str
    date: str


async def standing(rest: TwilioRest, sid: str) -> Standing:
    """For the account's own token, or a Main key: no other key may ask this. Raises ChannelError."""
    answer: Any = await rest.ask(lambda client: client.api.v2010.accounts(sid).fetch_with_http_info_async())
    return Standing(str(answer.data.status or ""), str(answer.data.type or ""), _date(answer))


async def may_list_numbers(rest: TwilioRest) -> str:
    """Returns the date of an answer that any key gets which may read numbers. Raises ChannelError."""
    return _date(await rest.ask(lambda client: client.incoming_phone_numbers.list_with_http_info_async(limit=1)))


def _date(answer: Any) -> str:
    return str((answer.headers or {}).get("Date", ""))
