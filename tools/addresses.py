"""E-mail addresses as they are said on the phone."""

from __future__ import annotations

import re

MAX_ADDRESS = 254
MAX_LOCAL = 64

_SPOKEN = (
    (r"\(at\)|\[at\]|\barroba\b", "@"),
    (r"\(dot\)|\[dot\]|\b(?:dot|period|punto)\b", "."),
    (r"\b(?:underscore|gui[oó]n bajo)\b", "_"),
    (r"\b(?:hyphen|dash|minus|gui[oó]n)\b", "-"),
    (r"\b(?:plus sign|plus)\b", "+"),
)
_LOCAL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL})@(?:{_LABEL}\.)+(?!\d+$){_LABEL}", re.ASCII)


def spoken_address(text: str) -> str:
    """The address that was said or written: "Ada at example dot com" is ``ada@example.com``. "" if it is none."""
    address = " ".join(text.casefold().split()).removeprefix("mailto:").strip("<>. ")
    written = re.sub(r"\s", "", address)
    if not _is_address(written):
        for spoken, sign in _SPOKEN:
            address = re.sub(spoken, sign, address)
        if "@" not in address:
            address = address.replace(" at ", "@")  # said twice it is no address any more
        written = re.sub(r"\s", "", address)
    return written if _is_address(written) else ""


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and len(text) <= MAX_ADDRESS and len(found["local"]) <= MAX_LOCAL
