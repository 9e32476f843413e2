"""Why Twilio, or a network behind it, did not deliver a text message: its error codes, in words for the model.

Source: Twilio's list of errors. What is not in here is a matter between Twilio and whoever runs this program.
"""

from __future__ import annotations

NOT_CAPABLE = frozenset({"21606", "21659", "21660", "21661"})
"""The number it was sent from cannot send text messages, or is not the account's: another one of ours may."""

_REASONS = {
    "21211": "the number is not a telephone number that exists",
    "21266": "the number is our own",
    "21408": "we do not send text messages to that country or region",
    "21610": "the caller has opted out of text messages from our number; texting START to it allows them again",
    "21612": "text messages cannot be carried from our number to this one",
    "21614": "the number cannot receive text messages; it is not a mobile number",
    "21635": "the number is a landline, which receives no text messages",
    "30003": "the phone is switched off or cannot be reached",
    "30004": "the phone, or its network, blocks messages like this one",
    "30005": "the number is unknown to its network, or no longer in use",
    "30006": "the number is a landline, or its network takes no text messages",
    "30007": "the network took it for unwanted mail and filtered it out",
    "30008": "the network did not say why",
    "30410": "the network did not answer in time",
}
_PASSING = frozenset({"30003", "30008", "30410"})


def reason(code: str) -> str:
    """The end of a sentence: why the message did not arrive; for a code that is not the caller's concern it says that
    the fault is ours."""
    return _REASONS.get(code, "text messages do not work on our side just now")


def may_pass(code: str) -> bool:
    """Whether the same message may arrive a little later."""
    return code in _PASSING


__all__ = ["NOT_CAPABLE", "may_pass", "reason"]
