"""The account's numbers as Twilio's REST API shows and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

ROUTING = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "VoiceApplicationSid": "voice_application_sid",
    "TrunkSid": "trunk_sid",
}
RIVALS = {"voice_application_sid": "trunk_sid", "trunk_sid": "voice_application_sid"}


class NumberBook:
    """``largest_page``: records of one page, however many are asked for. ``stuck``: fields that no update changes.
    ``applications``: TwiML apps by their sids."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._records: dict[str, dict[str, Any]] = {}
        self.largest_page = 1000
        self.stuck: set[str] = set()
        self.applications: dict[str, dict[str, str]] = {}

    def add(self, number: str, *, voice: bool = True, **fields: str) -> dict[str, Any]:
        """A number as one is bought, but for these fields; what is returned changes with it."""
        sid = f"PN{len(self._records) + 1:032x}"
        self._records[sid] = {
            "sid": sid,
            "account_sid": self._account,
            "phone_number": number,
            "friendly_name": number,
            "capabilities": {"voice": voice, "sms": True, "mms": False, "fax": False},
            "date_created": "Thu, 30 Jul 2026 23:31:00 +0000",
            "date_updated": "Thu, 30 Jul 2026 23:31:00 +0000",
            "voice_url": "https://demo.twilio.com/welcome/voice/",
            "voice_method": "POST",
            "voice_fallback_url": "",
            "voice_fallback_method": "POST",
            "status_callback": "",
            "status_callback_method": "POST",
            "voice_application_sid": None,
            "trunk_sid": None,
            "voice_receive_mode": "voice",
            "uri": f"/2010-04-01/Accounts/{self._account}/IncomingPhoneNumbers/{sid}.json",
            **fields,
        }
        return self._records[sid]

    def answer(self, method: str, sid: str, form: Mapping[str, str]) -> dict[str, Any] | None:
        """The body of an answer; None for a number there is not."""
        if not sid:
            return self._page(form)
        record = self._records.get(sid)
        if record is not None and method == "POST":
            for theirs, value in form.items():
                self._set(record, ROUTING[theirs], value)
        return record

    def _set(self, record: dict[str, Any], field: str, value: str) -> None:
        if field in self.stuck:
            return
        record[field] = value or (None if field in RIVALS else "")
        if value and field in RIVALS:
            record[RIVALS[field]] = None

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Twilio's filter finds every number that has these digits."""
        found = [each for each in self._records.values() if query.get("PhoneNumber", "") in each["phone_number"]]
        size = min(int(query.get("PageSize", 50)), self.largest_page)
        number = int(query.get("Page", 0))
        start = number * size
        path = f"/2010-04-01/Accounts/{self._account}/IncomingPhoneNumbers.json"
        last = start + size >= len(found)
        following = {
            **query,
            "PageSize": size,
            "Page": number + 1,
            "PageToken": "PA" + found[start]["sid"] if found else "",
        }
        return {
            "first_page_uri": f"{path}?PageSize={size}&Page=0",
            "end": min(start + size, len(found)) - 1,
            "previous_page_uri": None,
            "incoming_phone_numbers": found[start : start + size],
            "uri": f"{path}?PageSize={size}&Page={number}",
            "page_size": size,
            "start": start,
            "next_page_uri": None if last else f"{path}?{urlencode(following)}",
            "page": number,
        }
