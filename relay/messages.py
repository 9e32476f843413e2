"""What a tool needs to send a message to somebody; ``channels/`` satisfies it, and the composition root hands it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail: ``text`` for those who read plain text, ``html`` for the rest."""

    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    to_name: str = field(default="", repr=False)


class TextSender(Protocol):
    """Sends text messages (SMS)."""

    async def send(self, to: str, body: str, *, from_: str = "", conversation: str = "", person: str = "") -> str:
        """Hands the message to the vendor and returns its id. ``from_`` "": the number of the settings.
        ``conversation`` and ``person`` are kept with the message's status. Raises ChannelError; a cancel or
        ChannelUnavailable leaves it sent or not."""
        ...


class MailSender(Protocol):
    """Sends mail."""

    async def send(self, letter: Letter, *, conversation: str = "", person: str = "") -> str:
        """As above, for a mail."""
        ...
