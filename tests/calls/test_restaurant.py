"""Ordering on the phone: every tool of the restaurant through the websocket, done and refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from relay.frames import Prompt
from relay.store.orders import Order, Orders
from relay.store.people import People, Person
from tests.calls.checks import heard, shown
from tests.fakes.mail_server import MailServer, mail_server
from tests.fakes.twilio_rest import TwilioRestServer, twilio_rest
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running

URL, TOKEN = "https://relay.example.com/phone", "call-token"
NUMBER = "+15555550100"
ADA = f"phone:{NUMBER}"
PIZZA = {"name": "large pepperoni pizza", "details": "mushrooms", "quantity": 1, "amount": 20}
ORDER: dict[str, Any] = {"items": [PIZZA], "order_type": "pickup", "total": 20}
HOME = {"order_type": "delivery", "delivery_address": "1 Elm Street, Missoula"}


def use(tool: str, **arguments: Any) -> ToolUse:
    return ToolUse(tool, orjson.dumps(arguments).decode())


def place(**changes: Any) -> ToolUse:
    return use("place_order", **ORDER, **changes) if not changes else use("place_order", **{**ORDER, **changes})


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application with the agents it comes with, and no account to send anything with."""
    async with running(redis_url, tmp_path / "data") as app:
        yield app


async def answered(line: Running, call: Caller, words: str, *replies: Reply) -> list[dict[str, Any]]:
    """Says the words, lets the model answer by these replies, and returns what it was told by tools since then."""
    before = len(line.model.asked)
    line.model.script(*replies)
    last = replies[-1].text
    assert isinstance(last, str)
    await call.say(words)
    await call.until(lambda: last in heard(call))
    told = shown(await line.model.received(before + len(replies)))
    new = told[next(at for at in range(len(told) - 1, -1, -1) if told[at] == ("user", words)) :]
    return [orjson.loads(text) for kind, text in new if kind == "result"]


async def stored(line: Running, person: str = ADA) -> tuple[Order, ...]:
    return await Orders(line.redis).all(person)


# -- placing, and the time


async def test_an_order_and_then_its_time(line: Running) -> None:
    """Two tools in a row within one turn: the second tells of what the first has stored."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        assert (await call.greeting_played()).startswith("Dough Boy Pizza")
        placed, time = await answered(
            line,
            call,
            "Yes, that is right",
            Reply(tools=[place()]),
            Reply(tools=[use("pickup_time")]),
            Reply("Ready soon."),
        )
        (order,) = await stored(line)
        assert placed["placed"] and placed["order_number"] == time["order_number"] == order.number
        assert time["minutes"] == order.minutes
        assert order.lines[0].text == "large pepperoni pizza with mushrooms"
        (again,) = await answered(
            line, call, "How long again?", Reply(tools=[use("pickup_time")]), Reply("The same as before.")
        )
        assert again == time


async def test_a_delivery_and_its_time(line: Running) -> None:
    """The address is stored; asked for the pickup time the model is pointed to the other tool."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        placed, wrong, right = await answered(
            line,
            call,
            "Yes",
            Reply(tools=[place(**HOME)]),
            Reply(tools=[use("pickup_time")]),
            Reply(tools=[use("delivery_time")]),
            Reply("Within the hour."),
        )
        assert placed["order_type"] == wrong["order_type"] == "delivery"
        assert "use delivery_time" in wrong["message"] and right["minutes"] in (45, 60, 75)
        assert [order.address for order in await stored(line)] == ["1 Elm Street, Missoula"]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"items": []}, "try_again", "order is empty"),
        ({"items": [{**PIZZA, "name": "sushi"}]}, "try_again", "There is cheese pizza"),
        ({"items": [{**PIZZA, "name": "pepperoni pizza"}]}, "try_again", "Ask the caller which size"),
        ({"total": 19}, "try_again", "The right total is $20.00"),
        ({"items": [{**PIZZA, "amount": 18}], "total": 18}, "try_again", "The right total is $20.00"),
        ({"order_type": "delivery"}, "try_again", "what street and number"),
        ({"order_type": "drive in"}, "wrong_arguments", "order_type"),
        ({"total": "twenty"}, "wrong_arguments", "total"),
        ({"items": [{"name": "cola"}]}, "wrong_arguments", "amount"),
    ],
)
async def test_an_order_that_is_not_right(line: Running, changes: dict[str, Any], error: str, says: str) -> None:
    """The model is told what to ask or to put right, and the turn goes on; storage stays as it was."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        (result,) = await answered(line, call, "Yes", Reply(tools=[place(**changes)]), Reply("One question."))
        assert result["error"] == error and says in result["message"]
        assert await stored(line) == ()
        (placed,) = await answered(line, call, "Right", Reply(tools=[place()]), Reply("Now it is placed."))
        assert placed["placed"]


async def test_an_order_is_placed_once_in_a_call(line: Running) -> None:
    """The same order placed again by the model, after the call was taken up again too, stays one order."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        (first,) = await answered(line, call, "Order", Reply(tools=[place()]), Reply("Placed."))
        (second,) = await answered(line, call, "Is it placed?", Reply(tools=[place()]), Reply("It was before."))
        await call.drop()
        (third,) = await answered(line, call, "And now?", Reply(tools=[place()]), Reply("It still is."))
        assert [each["new"] for each in (first, second, third)] == [True, False, False]
        assert {each["order_number"] for each in (first, second, third)} == {first["order_number"]}
        assert len(await stored(line)) == 1


async def test_equal_orders_of_two_calls_are_two(line: Running) -> None:
    """And the second call knows of the first one's."""
    numbers = []
    for _ in range(2):
        async with Caller(line.url, agent="restaurant", pace=FAST) as call:
            (placed,) = await answered(line, call, "Order", Reply(tools=[place()]), Reply("Placed."))
            numbers.append(placed["order_number"])
    assert {order.number for order in await stored(line)} == set(numbers) and len(set(numbers)) == 2
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        (time,) = await answered(
            line, call, "My first?", Reply(tools=[use("pickup_time", order_number=numbers[0])]), Reply("Soon.")
        )
        assert time["order_number"] == numbers[0]
        (wrong,) = await answered(
            line, call, "And 1?", Reply(tools=[use("pickup_time", order_number=1)]), Reply("There is none.")
        )
        assert wrong["error"] == "try_again" and " ".join(str(numbers[1])) in wrong["message"]


async def test_callers_without_a_number_are_not_pooled(line: Running) -> None:
    """Each has orders of this call alone."""
    for _ in range(2):
        async with Caller(line.url, agent="restaurant", pace=FAST, from_="anonymous") as call:
            before, placed = await answered(
                line,
                call,
                "Order",
                Reply(tools=[use("pickup_time")]),
                Reply(tools=[place()]),
                Reply("Placed."),
            )
            assert (before["found"], placed["placed"]) == (False, True)
            (order,) = await stored(line, f"anonymous:{call.record.call_sid}")
            assert order.number == placed["order_number"]


async def test_while_the_store_is_away(tmp_path: Path) -> None:
    """Nothing is promised: the model is told that it could not be done, and the call goes on."""
    with fragile_redis() as server:
        async with (
            running(server.url, tmp_path / "data") as line,
            Caller(line.url, agent="restaurant", pace=FAST) as call,
        ):
            await answered(line, call, "Hello", Reply("Hello."))
            server.stop()
            placed, time = await answered(
                line,
                call,
                "Order",
                Reply(tools=[place()]),
                Reply(tools=[use("delivery_time")]),
                Reply("Not just now."),
            )
            assert (placed["error"], time["error"]) == ("failed", "failed")
            assert "nothing was done" in placed["message"]
            server.start()
            (again,) = await answered(line, call, "Again", Reply(tools=[place()]), Reply("Placed."))
            assert again["new"] is True


async def test_keys(line: Running) -> None:
    """2 asks how far the order is, without an order too; 1 is told to the model."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        line.model.script(Reply("There is no order yet."))
        await call.press("2")
        await call.until(lambda: "There is no order yet." in heard(call))
        told = shown(await line.model.received(1))
        assert ("note", "The caller pressed 2.") in told
        assert [orjson.loads(text)["found"] for kind, text in told if kind == "result"] == [False]
        line.model.script(Reply("We open at eleven."))
        await call.press("1")
        await call.until(lambda: "We open at eleven." in heard(call))
        assert ("note", "The caller pressed 1 on the keypad.") in shown(await line.model.received(2))


async def test_a_caller_in_spanish(line: Running) -> None:
    """What the model is told by tools is in the language of the caller's last words."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        line.model.script(Reply(tools=[place()]), Reply("Hecho."))
        await call.send(Prompt("Sí, está bien", "es-US"))
        await call.until(lambda: "Hecho." in heard(call))
        (placed,) = [orjson.loads(text) for kind, text in shown(await line.model.received(2)) if kind == "result"]
        assert placed["message"].startswith("El pedido está hecho.")
        assert placed["items"] == ["1 x pizza de pepperoni grande con champiñones"]


# -- messages


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as server:
        yield server


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
async def sending(
    twilio: TwilioRestServer, post: MailServer, redis: Redis, redis_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    """The application with an account that sends texts and a server that takes mail."""
    environ = {**twilio.environ, **post.environ, "PUBLIC_URL": URL, "TWILIO_AUTH_TOKEN": TOKEN}
    async with running(redis_url, tmp_path / "data", environ=environ) as app:
        yield app


def calling(line: Running) -> Caller:
    return Caller(line.url, agent="restaurant", pace=FAST, public_url=URL, token=TOKEN)


async def agreed(line: Running, call: Caller, wish: ToolUse, number: int = 0) -> dict[str, Any]:
    """The model wants it, asks, the caller agrees, and the same call is made again: what it is told then."""
    asked, done = f"May I, {number}?", f"That was {number}."
    (first,) = await answered(line, call, f"Please, {number}", Reply(tools=[wish]), Reply(asked))
    assert first["status"] == "confirmation_needed"
    (second,) = await answered(line, call, f"Yes, {number}", Reply(tools=[wish]), Reply(done))
    return second


async def refused(line: Running, call: Caller, wish: ToolUse, number: int = 0) -> dict[str, Any]:
    """The model wants what cannot be done, and is told so before the caller is asked."""
    (told,) = await answered(line, call, f"Please, {number}", Reply(tools=[wish]), Reply(f"Sorry, {number}."))
    return told


async def test_a_text_message_is_sent_once_the_caller_agrees(sending: Running, twilio: TwilioRestServer) -> None:
    """The confirmation of what is stored, and the hours and the place without an order."""
    async with calling(sending) as call:
        hours = await agreed(sending, call, use("send_order_sms", message_type="hours"), 1)
        location = await agreed(sending, call, use("send_order_sms", message_type="location"), 2)
        none = await agreed(sending, call, use("send_order_sms", message_type="order confirmation"), 3)
        assert (hours["sent"], location["sent"], none["error"]) == (True, True, "failed")
        assert "no order to confirm" in none["message"]
        (placed,) = await answered(sending, call, "Order", Reply(tools=[place()]), Reply("Placed."))
        assert placed["message"].endswith("Would you like the confirmation as a text message?")
        confirmation = use("send_order_sms", message_type="order confirmation")
        (sent,) = await answered(sending, call, "Yes, text it", Reply(tools=[confirmation]), Reply("It is on its way."))
        assert sent["message"] == "The text message is on its way."
        messages = twilio.messages()
        assert [form["To"] for form in messages] == [NUMBER] * 3
        assert "is open: Tuesday" in messages[0]["Body"] and "48 Mill Street" in messages[1]["Body"]
        assert f"your order {placed['order_number']}" in messages[2]["Body"]
        assert "Total: $20.00" in messages[2]["Body"]


async def test_a_mail_goes_where_the_caller_says(sending: Running, post: MailServer) -> None:
    """A spoken address is made one and saved; the next mail needs none."""
    async with calling(sending) as call:
        await answered(sending, call, "Order", Reply(tools=[place()]), Reply("Placed."))
        missing = await agreed(sending, call, use("send_order_email"), 1)
        assert missing["error"] == "try_again" and "which address" in missing["message"]
        wrong = await refused(sending, call, use("send_order_email", to_email="ada at home"), 2)
        assert wrong["error"] == "try_again" and post.mails == []
        sent = await agreed(sending, call, use("send_order_email", to_email="Ada at example dot com"), 3)
        assert sent["message"] == "The e-mail is on its way."
        again = await agreed(sending, call, use("send_order_email", message_type="hours"), 4)
        assert again["sent"]
        assert post.recipients == [["ada@example.com"]] * 2
        text, html = (post.mails[0].get_body((kind,)) for kind in ("plain", "html"))
        assert text is not None and "Total: $20.00" in text.get_content()
        assert html is not None and "<p>Total: $20.00</p>" in html.get_content()
        person = await People(sending.redis).get(ADA)
        assert person is not None and person.email == "ada@example.com"


async def test_messages_that_are_refused(sending: Running, twilio: TwilioRestServer, post: MailServer) -> None:
    """The model is told why, and the address of a mail that was refused is not kept."""
    twilio.fail, twilio.for_good = [(400, 21610)], True
    post.refuse = ["550 no such user"]
    async with calling(sending) as call:
        text = await agreed(sending, call, use("send_order_sms", message_type="hours"), 1)
        assert text["error"] == "failed" and "opted out" in text["message"]
        wish = use("send_order_email", to_email="ada@example.com", message_type="hours")
        mail = await agreed(sending, call, wish, 2)
        assert "error" in mail and "not sent" in mail["message"] and post.mails == []
        assert (await People(sending.redis).get(ADA) or Person(ADA)) == Person(ADA)  # nothing is known but the contact


@pytest.mark.parametrize("tool", ["send_order_sms", "send_order_email"])
async def test_without_an_account_nothing_is_promised(line: Running, tool: str) -> None:
    """Where nothing can be sent the model is told so before it asks; a kind of message there is not is refused."""
    async with Caller(line.url, agent="restaurant", pace=FAST) as call:
        more = {"to_email": "ada@example.com"} if tool == "send_order_email" else {}
        result = await refused(line, call, use(tool, message_type="hours", **more))
        assert result["error"] == "failed" and "cannot be sent from here" in result["message"]
        wrong = await refused(line, call, use(tool, message_type="poem", **more), 2)
        assert wrong["error"] == "wrong_arguments" and "message_type" in wrong["message"]
