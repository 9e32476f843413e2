"""Text messages through Twilio: what of a text may be sent, from which number, and that it is put on record."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

import structlog

from channels.twilio.message_codes import NOT_CAPABLE
from relay.errors import ChannelRejected, StoreError
from relay.messages import Record

MAX_UNITS = 1600
"""UTF-16 code units Twilio takes of one message (error 21617 beyond); an emoji is two."""

MAX_WRITTEN = 4 * MAX_UNITS
"""Characters of a text with its markup; beyond, nobody looks for any."""

_E164 = re.compile(r"\+[1-9]\d{6,14}")

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*(?:\n|\Z)", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|(?:>[ \t]?)+|([-*_])(?:[ \t]*\1){2,}[ \t]*$)", re.MULTILINE)
_BULLET = re.compile(r"^([ \t]*)[*+][ \t]+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\(<?([^\s()<>]{1,1000})>?(?:[ \t]+\"[^\"\n]{0,200}\")?\)")
_CODE = re.compile(r"(`+)([^`\n]+)\1")
_STARS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])|(?<!\w)(~~)(?=\S)([^~\n]+?)(?<=\S)~~(?!\w)")
_UNDERSCORES = re.compile(r"(?<![\w/])(_{1,3})(?=[^\s_])([^_\n]+?)(?<=\S)\1(?![\w/])")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")

# Format characters that belong to words and pictures: joiners of several scripts and of emoji, the soft hyphen, and
# the tags flags are made of. The rest (bidirectional overrides, say) shows a text as something it is not.
_KEPT_FORMATS = frozenset("\u00ad\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))

log = structlog.get_logger(__name__)


class Rest(Protocol):
    """What of ``channels.twilio.rest.TwilioRest`` is used."""

    async def message(self, to: str, from_: str, body: str, *, status_callback: str = "") -> str: ...


class TwilioTexts:
    """Satisfies ``relay.messages.TextSender``. ``number``: the one of the settings, "" for none. ``status_callback``:
    the address Twilio reports statuses to, "" for none."""

    def __init__(self, rest: Rest, record: Record, *, number: str = "", status_callback: str = "") -> None:
        self._rest = rest
        self._record = record
        self._number = number
        self._status_callback = status_callback

    async def send(self, to: str, body: str, *, from_: str = "", conversation: str = "", person: str = "") -> str:
        """``from_`` is used where it is a telephone number that can send texts, the settings' number otherwise. Markup
        and control characters are left out of the body; one that is too long is refused, not cut.

        A message that was sent and could not be put on record is sent: that is a warning in the log.
        """
        text = plain_text(body) if len(body) <= MAX_WRITTEN else body
        if not text:
            raise ChannelRejected("The message has no words.", vendor_code="empty")
        if len(text.encode("utf-16-le")) // 2 > MAX_UNITS:
            raise ChannelRejected("The message is too long.", vendor_code="too_long")
        if not _E164.fullmatch(to):
            raise ChannelRejected("The recipient is no telephone number.", vendor_code="address")
        senders = list(dict.fromkeys(each for each in (from_, self._number) if _E164.fullmatch(each)))
        if not senders:
            raise ChannelRejected("There is no number to send from.", vendor_code="sender")
        message = await self._send(to, text, senders)
        try:
            await self._record.sent(message, kind="text", conversation=conversation, person=person)
        except StoreError as error:
            log.warning("text message sent without a record", message=message, code=error.code)
        return message

    async def _send(self, to: str, text: str, senders: list[str]) -> str:
        *first, last = senders
        for number in first:
            try:
                return await self._rest.message(to, number, text, status_callback=self._status_callback)
            except ChannelRejected as error:
                if error.vendor_code not in NOT_CAPABLE:
                    raise
                log.info("the number called cannot send texts: TWILIO_PHONE_NUMBER does", vendor_code=error.vendor_code)
        return await self._rest.message(to, last, text, status_callback=self._status_callback)


def plain_text(body: str) -> str:
    """The body as a phone shows it: Markdown's marks are left out, a link is its text and its address, control
    characters are gone but for the ends of lines."""
    text = body.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    text = "".join(each for each in text if each == "\n" or each in _KEPT_FORMATS or _shows(each))
    text = _FENCE.sub("", text)
    text = _LINE_MARK.sub("", text)
    text = _BULLET.sub(r"\1- ", text)
    text = _LINK.sub(_link, text)
    text = _CODE.sub(r"\2", text)
    for _ in range(3):  # strong inside emphasis inside struck out
        text = _STARS.sub(lambda found: found[2] or found[4], text)
        text = _UNDERSCORES.sub(r"\2", text)
    lines = (line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def _link(found: re.Match[str]) -> str:
    label, address = found[1].strip(), found[2].removeprefix("mailto:").removeprefix("tel:")
    return address if not label or label == address else f"{label}: {address}"


__all__ = ["MAX_UNITS", "TwilioTexts", "plain_text"]
