"""What an e-mail address is: one person's mailbox at a host of the internet, in ASCII. Stricter than RFC 5321: no
quoted names, no address literals, no hosts without a dot; what a caller spells is none of these."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])")

MAX_NAME, MAX_ADDRESS = 64, 254
"""Characters before the @, and of all."""


def is_address(text: str) -> bool:
    """Whether the whole text is one address."""
    if len(text) > MAX_ADDRESS:
        return False
    name, at, host = text.rpartition("@")
    return bool(at) and len(name) <= MAX_NAME and bool(_NAME.fullmatch(name)) and bool(_HOST.fullmatch(host))


__all__ = ["MAX_ADDRESS", "is_address"]
