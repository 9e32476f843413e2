"""Messages to the caller: the tool ``send_sms``, and what every other tool that sends a text or a mail uses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import structlog

from channels.twilio.message_codes import may_pass, reason
from relay.errors import ChannelError, StoreError, ToolDoubt, ToolError, ToolRetry
from relay.jobs import Jobs
from relay.messages import ARRIVED, LOST, Letter, MailSender, Statuses, TextSender
from relay.toolbox import ToolContext
from tools.registry import ToolFunction, ToolRegistry, ToolResult

DEADLINE = 9.0
"""Seconds for one message, everything included: less than the time a tool has by default, so that the model is told
what is known and not only that the tool was late."""

WATCHED = 60.0
INTERVAL = 1.0
"""Seconds a text's status is followed after it was accepted, and between two looks at it."""

_E164 = re.compile(r"\+[1-9]\d{6,14}")

_SAY_IT = "Tell the caller, and say to them what they need to know."
_NO_TEXTS = f"Text messages cannot be sent from here. Do not promise any. {_SAY_IT}"
_NO_NUMBER = (
    "The caller's number is withheld or is no telephone number, so no text message can reach them. Nothing was sent. "
    + _SAY_IT
)
_NO_MAIL = f"E-mail cannot be sent from here. Do not promise any. {_SAY_IT}"
_BAD_ADDRESS = (
    "The e-mail was not sent: its address is incomplete, or the mail server knows nobody there. Ask the caller to "
    "spell the address, and repeat it to them."
)
_BAD_HEADER = "The e-mail was not sent: its subject, or the name on it, holds characters that cannot be there."
_LATER = "Tell the caller; you may try again later in this call if they want you to."
_TEXT_NOT_SENT = f"The text message was not sent: the service that carries it could not be reached. {_LATER}"
_MAIL_NOT_SENT = f"The e-mail was not sent: the mail server did not take it. {_LATER}"
_DOUBT = (
    "Nobody knows whether the {what} was sent: there was no answer in time. It may arrive. Tell the caller so, and do "
    "not send it again unless they say later that nothing has arrived."
)

log = structlog.get_logger(__name__)


class Texting:
    """Sends on behalf of tools. One for the process; a sender that is None is one the settings do not provide.

    A tool calls ``text`` or ``mail`` and returns its own words when that returns: then the message is accepted, which
    is not yet delivered, and the words must not say more. What goes wrong is a ToolError (ToolRetry where another
    address or body may work, ToolDoubt where it may have been sent) with a message for the model: let it pass. Such a
    tool is registered with ``confirm=True`` (consent first), and with no deadline below ``DEADLINE``.

    ``statuses`` None: nobody will learn what becomes of a text, and it is not followed. ``jobs`` holds those who
    follow; nothing is lost with them but the news, so that they need not be waited for.
    """

    def __init__(
        self,
        texts: TextSender | None,
        mails: MailSender | None,
        statuses: Statuses | None,
        jobs: Jobs,
        *,
        deadline: float = DEADLINE,
        watched: float = WATCHED,
        interval: float = INTERVAL,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._texts = texts
        self._mails = mails
        self._statuses = statuses
        self._jobs = jobs
        self._deadline = deadline
        self._looks = round(watched / interval)
        self._interval = interval
        self._sleep = sleep

    @property
    def can_text(self) -> bool:
        return self._texts is not None

    @property
    def can_mail(self) -> bool:
        return self._mails is not None

    def check_text(self, context: ToolContext) -> None:
        """Raises ToolError where no text message can reach the caller, whatever is in it."""
        if self._texts is None:
            raise ToolError(_NO_TEXTS)
        if not _E164.fullmatch(context.address):
            raise ToolError(_NO_NUMBER)

    async def text(self, context: ToolContext, body: str) -> None:
        """Sends a text message to the caller, from the number they called or, where that is none, from ours.

        Returns once Twilio has accepted it; should it be lost within a minute the model is told so by
        ``context.tell``. Raises ToolError; a cancel leaves it sent or not.
        """
        self.check_text(context)
        assert self._texts is not None
        own = context.own_address if _E164.fullmatch(context.own_address) else ""
        try:
            async with asyncio.timeout(self._deadline):
                message = await self._texts.send(
                    context.address, body, from_=own, conversation=context.conversation, person=context.person
                )
        except TimeoutError:
            log.warning("text message in doubt", reason="deadline")
            raise ToolDoubt(_DOUBT.format(what="text message")) from None
        except ChannelError as error:
            log.warning("text message not sent", code=error.code, status=error.status, vendor_code=error.vendor_code)
            raise _text_failed(error) from error
        if self._statuses is not None:
            self._jobs.start(self._follow(self._statuses, context, message), "follow a text message")

    async def mail(self, context: ToolContext, letter: Letter) -> None:
        """Sends a mail; returns once the mail server has accepted it. Raises ToolError; a cancel leaves it sent or
        not. Who the letter is to is the tool's to know: an address the person gave, and nobody else's."""
        if self._mails is None:
            raise ToolError(_NO_MAIL)
        try:
            async with asyncio.timeout(self._deadline):
                await self._mails.send(letter, conversation=context.conversation, person=context.person)
        except TimeoutError:
            log.warning("mail in doubt", reason="deadline")
            raise ToolDoubt(_DOUBT.format(what="e-mail")) from None
        except ChannelError as error:
            log.warning("mail not sent", code=error.code, status=error.status, vendor_code=error.vendor_code)
            raise _mail_failed(error) from error

    async def _follow(self, statuses: Statuses, context: ToolContext, message: str) -> None:
        """Tells the model, once, if the message is lost while it is being followed."""
        for _ in range(self._looks):
            await self._sleep(self._interval)
            try:
                found = await statuses.status(message)
            except StoreError:
                continue
            if found is None or found.status not in ARRIVED | LOST:
                continue
            if found.status in LOST:
                context.tell(_lost(found.error))
            return


def texting(messages: Texting) -> ToolFunction:
    """``send_sms``, by these messages."""

    async def send_sms(context: ToolContext, body: str) -> ToolResult:
        """Send the caller a text message, to the number they are calling from. Use it for what is worth keeping or
        hard to remember: an address, a date, a link. It does not work where the caller's number is withheld.

        Args:
            body: The whole message as it is to be read: plain text, at most 1600 characters, in the caller's language.
        """
        await messages.text(context, body)
        return ToolResult(
            {
                "accepted": True,
                "message": "The text message is on its way. Say that it was sent, not that it has arrived.",
            }
        )

    return send_sms


def add_texting(registry: ToolRegistry, messages: Texting) -> None:
    def objects(context: ToolContext, body: str) -> None:
        messages.check_text(context)
        if not body.strip():
            raise ToolRetry("The text message has no words: nothing was sent.")

    registry.add(texting(messages), confirm=True, expected=1.0, objects=objects)


def _text_failed(error: ChannelError) -> ToolError:
    match error.vendor_code:
        case "too_long" | "21617":
            return ToolRetry("The text message was not sent: it is longer than 1600 characters. Make it shorter.")
        case "empty" | "21602":
            return ToolRetry("The text message was not sent: it has no words.")
        case "address":
            return ToolError(_NO_NUMBER)
        case "sender":
            return ToolError(_NO_TEXTS)
    if not error.undone:
        return ToolDoubt(_DOUBT.format(what="text message"))
    if not error.vendor_code or error.status == 429:
        return ToolError(_TEXT_NOT_SENT)
    return ToolError(f"The text message was not sent: {reason(error.vendor_code)}. {_advice(error.vendor_code)}")


def _mail_failed(error: ChannelError) -> ToolError:
    if error.vendor_code == "address":
        return ToolRetry(_BAD_ADDRESS)
    if error.vendor_code == "header":
        return ToolRetry(_BAD_HEADER)
    return ToolError(_MAIL_NOT_SENT) if error.undone else ToolDoubt(_DOUBT.format(what="e-mail"))


def _lost(code: str) -> str:
    return f"The text message you sent earlier in this call did not arrive: {reason(code)}. {_advice(code)}"


def _advice(code: str) -> str:
    again = "Send it again only if they ask you to." if may_pass(code) else "Do not send it again."
    return f"Tell the caller now, and offer to say what it says. {again}"
