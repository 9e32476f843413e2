"""Names of the live chat's visitors. They are ours: a name is random and signed, so that nobody can guess another's or
make one up, and a browser that keeps its own is known again.

Text: ``v_<128 random bits><128 bits of their HMAC-SHA256>``, each base64url without padding.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from hashlib import sha256

_LABEL = b"relay: chat visitors key 1"
_NAME = re.compile(r"(v_[A-Za-z0-9_-]{22})([A-Za-z0-9_-]{22})", re.ASCII)


class Visitors:
    """``keys``: names are signed with the first and believed with any, so that one can be replaced without anybody
    becoming a stranger."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(key, _LABEL, sha256) for key in keys]

    def admit(self, name: str | None) -> str:
        """The name, where it is one of ours; else a new one."""
        return name if name is not None and self.is_ours(name) else self._new()

    def is_ours(self, name: str) -> bool:
        found = _NAME.fullmatch(name)
        if found is None:
            return False
        return any([hmac.compare_digest(_signature(key, found[1]), found[2]) for key in self._keys])

    def _new(self) -> str:
        name = f"v_{secrets.token_urlsafe(16)}"
        return name + _signature(self._keys[0], name)


def _signature(key: bytes, name: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, name.encode(), sha256)[:16]).rstrip(b"=").decode()


__all__ = ["Visitors"]
