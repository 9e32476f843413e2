"""E-mail addresses as they are said on the phone."""

from __future__ import annotations

import re

from channels.mail.addresses import is_address

_SPOKEN = (
    (r"\(at\)|\[at\]|\barroba\b", "@"),
    (r"\(dot\)|\[dot\]|\b(?:dot|period|punto)\b", "."),
    (r"\b(?:underscore|gui[oó]n bajo)\b", "_"),
    (r"\b(?:hyphen|dash|minus|gui[oó]n)\b", "-"),
    (r"\b(?:plus sign|plus)\b", "+"),
)


def spoken_address(text: str) -> str:
    """The address that was said or written: "Ada at example dot com" is ``ada@example.com``. "" if it is none."""
    address = " ".join(text.casefold().split()).removeprefix("mailto:").strip("<>. ")
    written = re.sub(r"\s", "", address)
    if not is_address(written):
        for spoken, sign in _SPOKEN:
            address = re.sub(spoken, sign, address)
        if "@" not in address:
            address = address.replace(" at ", "@")  # said twice it is no address any more
        written = re.sub(r"\s", "", address)
    return written if is_address(written) else ""
