"""Twilio's request signature, made as Twilio makes it.

Source: Twilio's webhook security page. Written apart from the code that checks signatures, so that a mistake in one is
not repeated in the other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

HEADER = "X-Twilio-Signature"


def sign(token: str, url: str, parameters: Mapping[str, str | Sequence[str]] | None = None) -> str:
    """The value of ``X-Twilio-Signature``.

    url: exactly as configured at Twilio, scheme and query included; for a websocket the TwiML's ``url`` attribute.
    parameters: the fields of a form POST, nothing for anything else. A field sent several times is a list.
    """
    text = url.split("#", 1)[0]
    for name in sorted(parameters or {}):
        values = (parameters or {})[name]
        for value in [values] if isinstance(values, str) else sorted(set(values)):
            text += name + value
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
