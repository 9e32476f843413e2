"""Text messages and mail in a call: asked first, sent, refused, in doubt, and lost while the call goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from channels.mail.sender import MailServer as Server
from channels.mail.sender import SmtpMails
from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from phone.signing import HEADER, sign
from relay.items import ToolItem
from relay.jobs import Jobs
from relay.messages import Letter
from relay.store.messages import Messages
from relay.toolbox import ToolContext
from tests.calls.checks import heard, in_order, remembered, shown
from tests.fakes.mail_server import MailServer, mail_server
from tests.fakes.twilio_rest import NUMBER, TwilioRestServer, twilio_rest
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry
from tools.texting import Texting

URL, TOKEN = "https://relay.example.com/phone", "call-token"
CALLER, CALLED = "+15555550100", "+15555550199"
BODY = "Parkview, 12 Elm Street, Monday at 10."
AGENT = """
title = "Test"
tools = ["send_sms", "send_letter"]
[says]
fillers = []
"""


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as server:
        yield server


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


def letters(post: MailServer, redis: Redis) -> Callable[[ToolRegistry], None]:
    """Adds a tool that mails, as other families' tools do."""
    texting = Texting(None, SmtpMails(Server.parse(post.url), "relay@example.com", Messages(redis)), None, Jobs())

    async def send_letter(context: ToolContext, to: str) -> str:
        """Sends the caller a letter."""
        await texting.mail(context, Letter(to, "Your order", "Soup", "<p>Soup</p>"))
        return "The letter was sent."

    return lambda registry: registry.add(send_letter, confirm=True)


@asynccontextmanager
async def serving(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path, **environ: str
) -> AsyncIterator[Running]:
    settings = {**twilio.environ, "PUBLIC_URL": URL, "TWILIO_AUTH_TOKEN": TOKEN, **environ}
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(
        redis_url,
        tmp_path / "data",
        agents=agents,
        environ={name: value for name, value in settings.items() if value},
        extra_tools=letters(post, redis),
    ) as app:
        yield app


@pytest.fixture
async def line(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    """The application as Twilio reaches it, with an account that may send."""
    async with serving(twilio, post, redis, redis_url, tmp_path) as app:
        yield app


def calling(line: Running, from_: str = CALLER, to: str = CALLED) -> Caller:
    return Caller(line.url, pace=FAST, public_url=URL, token=TOKEN, from_=from_, to=to)


def sms(body: str = BODY) -> ToolUse:
    return ToolUse("send_sms", orjson.dumps({"body": body}).decode())


async def agreed(line: Running, call: Caller, use: ToolUse, *then: Reply) -> None:
    """The model wants the tool, asks, the caller agrees, the model calls it and goes on with ``then``."""
    line.model.script(Reply(tools=[use]), Reply("Shall I?"), Reply(tools=[use]), *then)
    await call.say("Text me that")
    await call.until(lambda: "Shall I?" in heard(call))
    await in_order(call)
    await call.say("Yes please")


async def result(line: Running, number: int) -> dict[str, str]:
    """The last result the model was shown in this request."""
    found = [text for kind, text in shown(await line.model.received(number)) if kind == "result"]
    told: dict[str, str] = orjson.loads(found[-1])
    return told


async def report(line: Running, sid: str, status: str, code: str = "") -> None:
    form = {"MessageSid": sid, "MessageStatus": status, "To": CALLER, "From": CALLED}
    if code:
        form["ErrorCode"] = code
    url = "/twilio/status"
    headers = {HEADER: sign(TOKEN, URL + url, form)}
    async with aiohttp.ClientSession() as http, http.post(line.url + url, data=form, headers=headers) as answer:
        assert answer.status == 200


async def test_asked_first(line: Running, twilio: TwilioRestServer) -> None:
    """Nothing leaves before the caller agrees, and other words than those agreed to are another question."""
    other = sms("Parkview, Monday at 11.")
    line.model.script(Reply(tools=[sms()]), Reply("Shall I?"), Reply(tools=[other]), Reply("Shall I send this?"))
    async with calling(line) as call:
        await call.say("Text me that")
        await call.until(lambda: "Shall I?" in heard(call))
        await in_order(call)
        await call.say("At eleven, please")
        await call.until(lambda: "Shall I send this?" in heard(call))
        await in_order(call)
        assert twilio.asked == []
        line.model.script(Reply(tools=[other]), Reply("It is on its way."))
        await call.say("Yes")
        await call.until(lambda: "It is on its way." in heard(call))
        assert [form["Body"] for form in twilio.messages()] == ["Parkview, Monday at 11."]


async def test_sent_from_the_number_called(line: Running, twilio: TwilioRestServer, redis: Redis) -> None:
    """To the caller, with the address of its statuses; it is on record as this person's."""
    async with calling(line) as call:
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        await in_order(call)
        (form,) = twilio.messages()
        assert dict(form) == {"To": CALLER, "From": CALLED, "Body": BODY, "StatusCallback": URL + "/twilio/status"}
        told = await result(line, 4)
        assert told["accepted"] is True and "on its way" in told["message"]
        (sid,) = await Messages(redis).of("phone:" + CALLER)
        found = await Messages(redis).get(sid)
        assert found is not None
        assert (found.kind, found.status, found.conversation) == ("text", "queued", call.record.call_sid)
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 6)
        assert [item.status for item in items if isinstance(item, ToolItem)] == ["failed", "done"]


async def test_sent_from_ours_where_no_number_was_called(line: Running, twilio: TwilioRestServer) -> None:
    """A caller who came by SIP gets it from the number of the settings."""
    async with calling(line, to="sip:relay@example.com") as call:
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        assert [form["From"] for form in twilio.messages()] == [NUMBER]


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ((400, 21610), "opted out"),
        ((400, 21211), "not a telephone number"),
        ((400, 21614), "mobile"),
        ((400, 21408), "country"),
        ((401, 20003), "on our side"),
        ((429, 20429), "could not be reached"),
    ],
)
async def test_refused(line: Running, twilio: TwilioRestServer, failure: tuple[int, int], says: str) -> None:
    """The reason is the tool's result, and the caller hears of it; nothing is said to have been sent."""
    twilio.fail, twilio.for_good, twilio.retry_after = [failure], True, "30"
    async with calling(line) as call:
        await agreed(line, call, sms(), Reply("I am sorry, I cannot text you."))
        await call.until(lambda: "I am sorry, I cannot text you." in heard(call))
        await in_order(call)
        told = await result(line, 4)
        assert told["error"] == "failed"
        assert "was not sent" in told["message"] and says in told["message"]
        assert "555" not in told["message"]
        assert len(twilio.messages()) == 1


@pytest.mark.parametrize("how", ["answered 500", "broke off"])
async def test_in_doubt_is_not_sent_twice(line: Running, twilio: TwilioRestServer, how: str) -> None:
    """Without an answer the model is told that nobody knows, and when it tries again all the same nothing is sent."""
    if how == "broke off":
        twilio.drops = 1
    else:
        twilio.fail = [(500, 20500)]
    async with calling(line) as call:
        await agreed(line, call, sms(), Reply(tools=[sms()]), Reply("It may or may not come."))
        await call.until(lambda: "It may or may not come." in heard(call))
        await in_order(call)
        first, second = await result(line, 4), await result(line, 5)
        assert "Nobody knows" in first["message"] and "do not send it again" in first["message"]
        assert second["error"] in ("failed", "unknown_outcome")
        assert len(twilio.messages()) == 1


@pytest.mark.parametrize("from_", ["anonymous", "+266696687", "client:alice", "sip:ann@example.com"])
async def test_a_caller_without_a_number(line: Running, twilio: TwilioRestServer, from_: str) -> None:
    """The model is told, and can say it instead."""
    async with calling(line, from_) as call:
        await agreed(line, call, sms(), Reply("Then I will read it to you."))
        await call.until(lambda: "Then I will read it to you." in heard(call))
        assert "withheld" in (await result(line, 4))["message"]
        assert twilio.asked == []


async def test_a_text_that_is_too_long(line: Running, twilio: TwilioRestServer) -> None:
    """The model is asked for a shorter one."""
    async with calling(line) as call:
        await agreed(line, call, sms("word " * 400), Reply("I will make it shorter."))
        await call.until(lambda: "I will make it shorter." in heard(call))
        told = await result(line, 4)
        assert told["error"] == "try_again" and "1600" in told["message"]
        assert twilio.asked == []


@pytest.mark.parametrize("missing", ["TWILIO_ACCOUNT_SID", "credentials"])
async def test_without_credentials(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path, missing: str
) -> None:
    """A process that cannot send says so; the call goes on."""
    nothing = {"TWILIO_ACCOUNT_SID": ""}
    if missing == "credentials":  # development mode: neither a key nor a token
        nothing = dict.fromkeys(["TWILIO_API_KEY", "TWILIO_API_SECRET", "TWILIO_AUTH_TOKEN", "PUBLIC_URL"], "")
    async with serving(twilio, post, redis, redis_url, tmp_path, **nothing) as line, calling(line) as call:
        await agreed(line, call, sms(), Reply("I cannot text from here."))
        await call.until(lambda: "I cannot text from here." in heard(call))
        await in_order(call)
        assert "cannot be sent from here" in (await result(line, 4))["message"]
        assert twilio.asked == []


async def test_with_the_accounts_token_alone(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """No API key: the account's sid and the first of its tokens sign in."""
    environ = {"TWILIO_API_KEY": "", "TWILIO_API_SECRET": "", "TWILIO_AUTH_TOKEN": f"rest-token,{TOKEN}"}
    async with serving(twilio, post, redis, redis_url, tmp_path, **environ) as line, calling(line) as call:
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        assert len(twilio.messages()) == 1


# -- lost while the call goes on


async def test_a_lost_text_is_told_in_the_call(line: Running, redis: Redis) -> None:
    """Twilio's report comes after the tool was over: the agent speaks of it by itself, once, however often it comes."""
    async with calling(line) as call:
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        await in_order(call)
        line.model.script(Reply("Your phone seems to be off."), Reply("Never said."))
        (sid,) = await Messages(redis).of("phone:" + CALLER)
        for status, code in (("undelivered", "30003"), ("sent", ""), ("undelivered", "30003")):
            await report(line, sid, status, code)
        await call.until(lambda: "Your phone seems to be off." in heard(call))
        await in_order(call)
        notes = [text for kind, text in shown(await line.model.received(5)) if "did not arrive" in text]
        assert len(notes) == 1 and "switched off" in notes[0]
        assert len(line.model.asked) == 5


async def test_a_report_to_another_process(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Twilio's report reaches one process, the call is held by another: the caller is told all the same."""
    async with (
        serving(twilio, post, redis, redis_url, tmp_path) as line,
        serving(twilio, post, redis, redis_url, tmp_path) as other,
        calling(line) as call,
    ):
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        await in_order(call)
        line.model.script(Reply("It did not arrive."))
        (sid,) = await Messages(redis).of("phone:" + CALLER)
        await report(other, sid, "failed", "30005")
        await call.until(lambda: "It did not arrive." in heard(call))


async def test_a_lost_text_after_the_call(line: Running, redis: Redis) -> None:
    """Nobody is told any more; what became of it is on record."""
    async with calling(line) as call:
        await agreed(line, call, sms(), Reply("It is on its way."))
        await call.until(lambda: "It is on its way." in heard(call))
        await call.hang_up()
        (sid,) = await Messages(redis).of("phone:" + CALLER)
        await report(line, sid, "undelivered", "30003")
        found = await Messages(redis).get(sid)
        assert found is not None and (found.status, found.error) == ("undelivered", "30003")
        assert len(line.model.asked) == 4


# -- mail


def letter(to: str = "ann@example.com") -> ToolUse:
    return ToolUse("send_letter", orjson.dumps({"to": to}).decode())


async def test_a_mail_is_asked_for_then_sent(line: Running, post: MailServer, redis: Redis) -> None:
    """With both its texts, to the address given; it is on record as this person's."""
    async with calling(line) as call:
        await agreed(line, call, letter(), Reply("It is in your mail."))
        await call.until(lambda: "It is in your mail." in heard(call))
        await in_order(call)
        assert post.recipients == [["ann@example.com"]]
        assert [part.get_content_type() for part in post.mails[0].iter_parts()] == ["text/plain", "text/html"]
        (message,) = await Messages(redis).of("phone:" + CALLER)
        assert f"<{message}>" == post.mails[0]["Message-ID"]


@pytest.mark.parametrize(
    ("to", "reply", "error", "says"),
    [
        ("ann at example", "", "try_again", "spell"),
        ("ann@example.com\r\nBcc: eve@example.com", "", "try_again", "spell"),
        ("ann@example.com", "550 5.1.1 no such user", "try_again", "spell"),
        ("ann@example.com", "550 5.7.1 relaying denied", "failed", "did not take it"),
        ("ann@example.com", "451 later", "failed", "did not take it"),
    ],
)
async def test_a_mail_that_is_refused(
    line: Running, post: MailServer, to: str, reply: str, error: str, says: str
) -> None:
    """The model is told what the caller can do about it."""
    post.refuse = [reply] if reply else []
    async with calling(line) as call:
        await agreed(line, call, letter(to), Reply("That did not work."))
        await call.until(lambda: "That did not work." in heard(call))
        told = await result(line, 4)
        assert told["error"] == error and says in told["message"]
        assert post.mails == []


async def test_a_caller_who_leaves_while_it_is_sent(line: Running, twilio: TwilioRestServer, redis: Redis) -> None:
    """The text is sent once and on record: it belongs to the process."""
    twilio.held = asyncio.Event()
    async with calling(line) as call:
        await agreed(line, call, sms())
        await twilio.until(lambda: twilio.asked)
        await call.hang_up()
        twilio.held.set()
        items = await remembered(
            line,
            call.record.call_sid,
            lambda items: [i.status for i in items if isinstance(i, ToolItem)][-1:] == ["done"],
        )
        assert isinstance(items[-1], ToolItem) and items[-1].status == "done"
        assert len(await Messages(redis).of("phone:" + CALLER)) == len(twilio.messages()) == 1
