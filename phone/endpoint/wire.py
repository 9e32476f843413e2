"""An answer's bytes, in the shape the request asked for.

Everything is encoded before the first byte is sent, so that a stream costs the server one write a step.
"""

from __future__ import annotations

import orjson

from phone.endpoint.chat import chat_frames
from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames
from phone.endpoint.reply import Reply
from phone.endpoint.responses import encode, response_object, responses_frames


def frames(ask: Ask, reply: Reply) -> Frames:
    """The stream of a reply, or with the same ids the answer in one piece."""
    made = chat_frames(ask, reply) if ask.api == "chat" else responses_frames(ask, reply)
    if reply.noise:
        made.steps = [_noise(ask) + step for step in made.steps]
    if reply.crlf:
        # JSON holds no bare line feed, so every one of them is a line's end.
        made.head, made.tail = made.head.replace(b"\n", b"\r\n"), made.tail.replace(b"\n", b"\r\n")
        made.steps = [step.replace(b"\n", b"\r\n") for step in made.steps]
    return made


def failure(ask: Ask, kind: str, message: str, code: str) -> bytes:
    """The API's own failure in the middle of a stream, which ends it: ``failed`` or ``error``."""
    if ask.api == "chat":
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
    if kind == "error":
        return encode({"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0})
    response = response_object(ask, Reply(), [], status="failed")
    response |= {"error": {"code": code, "message": message}, "usage": None}
    return encode({"type": "response.failed", "response": response, "sequence_number": 0})


def _noise(ask: Ask) -> bytes:
    if ask.api == "chat":
        return b': keep-alive\n\ndata: {"object":"chat.completion.chunk","choices":[],"x_unknown":{"a":[1]}}\n\n'
    return b": keep-alive\n\n" + encode({"type": "response.something.new", "sequence_number": 0, "delta": "?"})
