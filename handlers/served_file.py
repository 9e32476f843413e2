"""A file of a page as browsers are sent it: packed where they unpack it, and not again while they have it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import hdrs, web


@dataclass(frozen=True, slots=True)
class ServedFile:
    """Something to be served, packed and not, with the tag that changes when it does: a weak one, the same for both."""

    content: bytes
    packed: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, content: bytes, kind: str) -> ServedFile:
        return cls(content, gzip.compress(content, mtime=0), kind, sha256(content).hexdigest()[:16])

    def answer(self, request: web.BaseRequest, headers: Mapping[str, str], status: int = 200) -> web.Response:
        vary = ", ".join(filter(None, (headers.get(hdrs.VARY), hdrs.ACCEPT_ENCODING)))
        headers = {**headers, hdrs.ETAG: f'W/"{self.tag}"', hdrs.VARY: vary}
        known = request.if_none_match or ()
        if status == 200 and any(tag.value in (self.tag, "*") for tag in known):
            return web.Response(status=304, headers=headers)
        body = self.content
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            headers[hdrs.CONTENT_ENCODING], body = "gzip", self.packed
        return web.Response(status=status, body=body, content_type=self.kind, charset="utf-8", headers=headers)
