"""What a request to the debate asks, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import hdrs, web

from handlers.bearer import json_object, problem
from relay.debating import MOST_STANCE, MOST_TOPIC

KEY_HEADER = "Idempotency-Key"
KEY = r"[\x21-\x7e]{1,255}"
FIELDS = ("conversation_id", "message", "topic", "stance")
VISIBLE = (
    r"[^\u0000-\u0020\u007f-\u00a0\u00ad\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
"""A character that can be seen: a text without any is blank. As it stands in the OpenAPI document, too."""

ESCAPED = 12  # bytes that a character takes at most, written as two \\u escapes
ROOM = 2048  # bytes of a body beside its texts

_KEY = re.compile(KEY, re.ASCII)
_VISIBLE = re.compile(VISIBLE)
_QUALITY = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Post:
    """``conversation`` None begins one. ``topic``, ``stance``, ``key``: "" where none is given. ``streams``: the answer
    is wanted as it is written."""

    conversation: str | None
    message: str = field(repr=False)
    topic: str = field(default="", repr=False)
    stance: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    streams: bool = False

    def fingerprint(self) -> str:
        """The same for the same request; the key is in it, so that nothing is told of what it was."""
        asked = orjson.dumps([self.key, self.conversation, self.message, self.topic, self.stance])
        return sha256(asked).hexdigest()


async def read_post(request: web.Request, most: int) -> Post:
    """``most``: characters of a message. Raises 400, 408, 413 or 415."""
    key = request.headers.get(KEY_HEADER, "")
    if KEY_HEADER in request.headers and not _KEY.fullmatch(key):
        raise problem(400, "bad_key", "The Idempotency-Key must be 1 to 255 printable characters without spaces.")
    data = await json_object(request, ESCAPED * (most + MOST_TOPIC + MOST_STANCE) + ROOM)
    if unknown := sorted(data.keys() - set(FIELDS)):
        raise problem(400, "unknown_field", f"There is no field {unknown[0][:64]!r}; known are {', '.join(FIELDS)}.")
    conversation = data.get("conversation_id")
    if conversation is not None and not isinstance(conversation, str):
        raise problem(400, "bad_field", "conversation_id must be a text or null.")
    if "message" not in data:
        raise problem(400, "bad_field", "message must be there.")
    return Post(
        conversation,
        _text(data, "message", most),
        _text(data, "topic", MOST_TOPIC),
        _text(data, "stance", MOST_STANCE),
        key,
        _streams(request.headers.get(hdrs.ACCEPT, "")),
    )


def _text(data: dict[str, Any], name: str, most: int) -> str:
    """Of a field that may be missing; what is there has something in it that can be seen."""
    if name not in data or (data[name] is None and name != "message"):
        return ""
    value = data[name]
    if not isinstance(value, str):
        raise problem(400, "bad_field", f"{name} must be a text.")
    if not _VISIBLE.search(value):
        raise problem(400, "blank", f"{name} must not be blank.")
    if len(value) > most:
        raise problem(400, "too_long", f"{name} must have {most} characters at most.")
    return value


def _streams(accept: str) -> bool:
    for wish in accept.split(","):
        kind, *parameters = wish.split(";")
        if kind.strip().casefold() == "text/event-stream":
            return not any(_QUALITY.fullmatch(each) for each in parameters)
    return False


__all__ = ["FIELDS", "KEY", "KEY_HEADER", "VISIBLE", "Post", "read_post"]
