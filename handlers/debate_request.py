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
from relay.store.monitor import Mark

KEY_HEADER = "Idempotency-Key"
KEY = r"[\x21-\x7e]{1,255}"
ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CURSOR = rf"[0-9]{{1,15}}\.{ID}"
"""What a list goes on with: when the last debate on the page began, and its id."""

FIELDS = ("conversation_id", "message", "topic", "stance")
VISIBLE = (
    r"[^\u0000-\u0020\u007f-\u00a0\u00ad\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
"""A character that can be seen: a text without any is blank. As it stands in the OpenAPI document, too."""

USUAL_LIMIT, MOST_LIMIT = 50, 200
ESCAPED = 12  # bytes that a character takes at most, written as two \\u escapes
ROOM = 2048  # bytes of a body beside its texts

_ID = re.compile(ID, re.ASCII)
_CURSOR = re.compile(CURSOR, re.ASCII)
_KEY = re.compile(KEY, re.ASCII)
_VISIBLE = re.compile(VISIBLE)
_NUMBER = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
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


def is_id(conversation: str) -> bool:
    """Whether it can be a debate's."""
    return _ID.fullmatch(conversation) is not None


def read_limit(request: web.Request) -> int:
    """How many of a list are wanted; nothing stands for the usual number. Raises 400."""
    limit = request.query.get("limit") or str(USUAL_LIMIT)
    if not _NUMBER.fullmatch(limit) or int(limit) > MOST_LIMIT:
        raise problem(400, "bad_limit", f"limit must be a number from 1 to {MOST_LIMIT}.")
    return int(limit)


def read_after(request: web.Request) -> Mark | None:
    """Where a list goes on; nothing stands for its beginning. Raises 400."""
    after = request.query.get("after")
    if not after:
        return None
    if not _CURSOR.fullmatch(after):
        raise problem(400, "bad_cursor", "after must be what an answer gave.")
    at, _, conversation = after.partition(".")
    return Mark(int(at), conversation)


def cursor_of(mark: Mark | None) -> str | None:
    return None if mark is None else f"{mark.at}.{mark.conversation}"


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


__all__ = [
    "CURSOR",
    "KEY",
    "KEY_HEADER",
    "MOST_LIMIT",
    "USUAL_LIMIT",
    "VISIBLE",
    "Post",
    "cursor_of",
    "is_id",
    "read_after",
    "read_limit",
    "read_post",
]
