"""Frames of the live web chat, both directions; pure.

``chat.v1`` is a JSON object with a ``type`` each way; without that subprotocol a client speaks the plain contract,
``{"message": "..."}`` both ways and ``{"error": {"code", "message"}}`` back. docs/live-chat.md tells what each is for.
Fields nobody knows are ignored. What people write is in no ``repr``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.errors import InvalidFrame

SUBPROTOCOL = "chat.v1"

LONGEST_ID = 64  # characters of a client_id, a ticket has more
LONGEST_NAME = 256  # of what we have named ourselves
MOST = 2**53 - 1  # as far as every client can count

_ID = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_ID}}}", re.ASCII)

# client -> us


@dataclass(frozen=True, slots=True)
class Auth:
    """The first frame of a socket."""

    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """What the visitor wrote. ``client_id``: the client's own name for it; a message sent again has the same."""

    client_id: str
    text: str

    def __repr__(self) -> str:
        return f"Message({self.client_id!r}, {len(self.text)} chars)"


@dataclass(frozen=True, slots=True)
class Stop:
    """The answer is to end here. ``turn`` "": whichever is being given."""

    turn: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """The client has everything up to the frame ``after``, and wants the rest."""

    conversation: str
    after: int


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Reset:
    """From a client: a new conversation is to begin. From us: what it wants to resume is not kept any more."""


Incoming = Auth | Message | Stop | Resume | Ping | Reset

# us -> client


@dataclass(frozen=True, slots=True)
class Ready:
    """The visitor is let in. ``seq``: of the conversation's last frame so far, 0 for none."""

    conversation: str
    seq: int
    visitor: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """The turn of a message has begun, or was there before: the message need not be sent again."""

    client_id: str
    turn: str


@dataclass(frozen=True, slots=True)
class Delta:
    turn: str
    seq: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The turn is over and stored. ``text``: the whole answer. ``stopped``: it was ended early; ``ended``: the agent
    takes the conversation for finished; ``handoff``: it wants a person to take over."""

    turn: str
    seq: int
    text: str = field(repr=False)
    stopped: bool = False
    ended: bool = False
    handoff: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """``error``: something did not work. With ``turn`` and ``seq`` it ends that turn. ``retryable``: the same may work
    when it is tried again."""

    code: str
    message: str = field(repr=False)
    retryable: bool = False
    turn: str = ""
    client_id: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    pass


Outgoing = Ready | Ack | Delta | Done | Failed | Reset | Pong

_NAMES: dict[type[Incoming | Outgoing], str] = {
    Auth: "auth",
    Message: "message",
    Stop: "stop",
    Resume: "resume",
    Ping: "ping",
    Reset: "reset",
    Ready: "ready",
    Ack: "ack",
    Delta: "delta",
    Done: "done",
    Failed: "error",
    Pong: "pong",
}
_ALWAYS = {"seq": (Ready, Delta, Done), "text": (Message, Delta, Done), "after": (Resume,), "retryable": (Failed,)}
"""Fields that are sent even where they are empty."""


def dump(frame: Incoming | Outgoing) -> bytes:
    """As it is sent; what a frame does not say is left out."""
    data: dict[str, Any] = {"type": _NAMES[type(frame)]}
    for name in frame.__dataclass_fields__:
        value = getattr(frame, name)
        if value or isinstance(frame, _ALWAYS.get(name, ())):
            data[name] = value
    return orjson.dumps(data)


def dump_delta(turn: str, seq: int, text: str) -> bytes:
    """The same for a ``Delta``, of which there are many."""
    return orjson.dumps({"type": "delta", "turn": turn, "seq": seq, "text": text})


def parse(text: str) -> Incoming:
    """A client's frame. Raises InvalidFrame, whose message may be shown to the client."""
    data = _object(text)
    match data.get("type"):
        case "message":
            return Message(_id(data), _text(data, "text"))
        case "ping":
            return Ping()
        case "auth":
            return Auth(_named(data, "ticket"))
        case "resume":
            return Resume(_named(data, "conversation"), _count(data, "after"))
        case "stop":
            return Stop(_named(data, "turn") if data.get("turn") is not None else "")
        case "reset":
            return Reset()
        case str():
            raise InvalidFrame("There is no frame of that type.")
    raise InvalidFrame("A frame needs a type.")


def parse_plain(text: str) -> str:
    """The message of a client that speaks the plain contract. Raises InvalidFrame."""
    return _text(_object(text), "message")


def dump_plain(message: str) -> bytes:
    return orjson.dumps({"message": message})


def dump_plain_error(code: str, message: str) -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message}})


def ends(frame: bytes) -> str:
    """The turn that a frame of ours ends, "" for none."""
    data = orjson.loads(frame)
    return data.get("turn", "") if data["type"] in ("done", "error") else ""


def _object(text: str) -> dict[str, Any]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidFrame("The frame is not JSON.") from None
    if not isinstance(data, dict):
        raise InvalidFrame("The frame is not a JSON object.")
    return data


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise InvalidFrame(f"{name} must be a text.")
    return value


def _id(data: dict[str, Any]) -> str:
    value = data.get("client_id")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidFrame(f"client_id must be 1 to {LONGEST_ID} visible ASCII characters.")
    return value


def _named(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME:
        raise InvalidFrame(f"{name} must be what this server has given.")
    return value


def _count(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if type(value) is not int or not 0 <= value <= MOST:
        raise InvalidFrame(f"{name} must be a count of frames.")
    return value
