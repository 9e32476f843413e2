"""What a tool needs to send a message to somebody; ``channels/`` satisfies it, and the composition root hands it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["text", "mail"]

ARRIVED = frozenset({"delivered", "read"})
LOST = frozenset({"failed", "undelivered", "canceled"})
"""Statuses of a message that say how it ended, in Twilio's words."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail: ``text`` for those who read plain text, ``html`` for the rest."""

    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    to_name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a message: ``status`` in Twilio's words (queued, accepted, scheduled, sending, sent, delivered,
    read, undelivered, failed, canceled); ``error``: the vendor's code of why it was lost, "" for none."""

    status: str
    error: str = ""


class TextSender(Protocol):
    """Sends text messages (SMS)."""

    async def send(self, to: str, body: str, *, from_: str = "", conversation: str = "", person: str = "") -> str:
        """Hands the message to the vendor and returns its id. ``from_`` "": the number of the settings.
        ``conversation`` and ``person`` are kept with the message's status. Raises ChannelError; a cancel or
        ChannelUnavailable leaves it sent or not, unless the error is ``undone``. What is refused before it is sent has
        the vendor code ``address``, ``sender``, ``empty`` or ``too_long``."""
        ...


class MailSender(Protocol):
    """Sends mail."""

    async def send(self, letter: Letter, *, conversation: str = "", person: str = "") -> str:
        """As above, for a mail. The vendor code is ``address`` where the letter's own address is refused, by us or by
        the server, and ``header`` for a subject or a name that cannot be one."""
        ...


class Statuses(Protocol):
    """What has become of messages (``relay/store/messages.py``)."""

    async def status(self, message: str, /) -> Status | None:
        """By the id its sender returned; None for one nobody knows. Raises StoreError."""
        ...


class Record(Protocol):
    """Where messages that were sent are kept."""

    async def sent(self, message: str, /, *, kind: Kind, conversation: str, person: str) -> None:
        """Raises StoreError; running it twice is running it once."""
        ...
