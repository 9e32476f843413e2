"""Orders as the model places them: checked, stored once, told from what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from config.menu import Menus
from config.values import CHECKOUT
from relay.errors import StoreError, ToolError
from relay.messages import Letter
from relay.store.client import connect
from relay.store.orders import Draft, OrderLine, Orders, order_key
from relay.store.people import People
from relay.toolbox import PersonChanged, ToolContext, ToolOutcome
from tests.relay.store.servers import fragile_redis
from tools.registry import ToolRegistry
from tools.restaurant import WAITS, add_restaurant
from tools.restaurant_says import SENTENCES

ADA = "phone:+15550100123"
CALL = ToolContext("CA1", "voice", "restaurant", person=ADA, language="en-US", address="+15550100123")
STRANGER = replace(CALL, person="anonymous:CA1", address="")
PIZZA = {"name": "large pepperoni pizza", "details": "mushrooms", "quantity": 2, "amount": 40}
COLA = {"name": "cola", "amount": 2.5}


class Post:
    """Takes what is sent, or refuses it."""

    def __init__(self, *, able: bool = True) -> None:
        self.can_text = self.can_mail = able
        self.texts: list[tuple[str, str]] = []
        self.letters: list[Letter] = []
        self.refuses = ""

    def check_text(self, context: ToolContext) -> None:
        """Reaches everybody."""

    async def text(self, context: ToolContext, body: str) -> None:
        if self.refuses:
            raise ToolError(self.refuses)
        self.texts.append((context.address, body))

    async def mail(self, context: ToolContext, letter: Letter) -> None:
        if self.refuses:
            raise ToolError(self.refuses)
        self.letters.append(letter)


class House:
    """A restaurant with everything it needs."""

    def __init__(self, redis: Redis, *, messages: bool = True) -> None:
        self.orders, self.people, self.post = Orders(redis), People(redis), Post(able=messages)
        self.registry = ToolRegistry()
        menus = Menus(CHECKOUT / "config" / "agents")
        add_restaurant(self.registry, menus, self.orders, self.people, self.post)

    async def run(self, tool: str, context: ToolContext = CALL, **arguments: Any) -> ToolOutcome:
        return await self.registry.run(tool, orjson.dumps(arguments).decode(), context)

    async def told(self, tool: str, context: ToolContext = CALL, **arguments: Any) -> dict[str, Any]:
        outcome = await self.run(tool, context, **arguments)
        result: dict[str, Any] = orjson.loads(outcome.output)
        assert outcome.ok == ("error" not in result)
        return result

    async def order(self, context: ToolContext = CALL, **changes: Any) -> dict[str, Any]:
        arguments = {"items": [PIZZA, COLA], "order_type": "pickup", "total": 42.5, **changes}
        return await self.told("place_order", context, **arguments)


@pytest.fixture
def house(redis: Redis) -> House:
    return House(redis)


# -- placing


async def test_an_order_is_stored_and_told(house: House) -> None:
    """Its number, its lines by the menu's names and its total; the model is told to offer a text message."""
    result = await house.order()
    (order,) = await house.orders.all(ADA)
    assert result.pop("message") == (
        f"The order is placed. Its number is {' '.join(str(order.number))} and the total is 42 dollars and 50 cents. "
        "Would you like the confirmation as a text message?"
    )
    assert result == {
        "order_number": order.number,
        "order_type": "pickup",
        "total": 42.5,
        "items": ["2 x large pepperoni pizza with mushrooms", "1 x cola"],
        "placed": True,
        "new": True,
    }
    assert (order.kind, order.cents, order.address) == ("pickup", 4250, "")
    assert order.minutes in WAITS["pickup"]


async def test_a_text_message_is_offered_only_where_one_can_be_sent(redis: Redis, house: House) -> None:
    """Not to a caller without a number, and not where there is nobody to send it."""
    assert "text message" not in (await house.order(STRANGER))["message"]
    assert "text message" not in (await House(redis, messages=False).order())["message"]


async def test_a_delivery_keeps_its_address(house: House) -> None:
    """Where it goes is stored with it; an address given for a pickup is not."""
    await house.order(order_type="delivery", delivery_address=" 1 Elm  Street, Missoula ")
    await house.order(delivery_address="1 Elm Street, Missoula")
    assert {(order.kind, order.address) for order in await house.orders.all(ADA)} == {
        ("delivery", "1 Elm Street, Missoula"),
        ("pickup", ""),
    }


async def test_an_order_said_otherwise_is_the_same_order(house: House) -> None:
    """In one conversation the same things in other words or another sequence are stored once; the model is told so."""
    first = await house.order()
    cola, pizza = COLA, {**PIZZA, "name": "pepperoni pizza", "details": "Large, extra MUSHROOMS", "quantity": 1}
    again = await house.order(items=[cola, {**pizza, "amount": 20}, {**pizza, "amount": 20}])
    assert (again["order_number"], again["new"]) == (first["order_number"], False)
    assert "was not placed a second time" in again["message"]
    assert len(await house.orders.all(ADA)) == 1
    other = await house.order(replace(CALL, conversation="CA2"))
    assert other["new"] and other["order_number"] != first["order_number"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"items": []}, "The order is empty. Ask the caller"),
        ({"items": [COLA] * 31, "total": 77.5}, "30 lines at most"),
        ({"items": [{"name": "sushi", "amount": 3}]}, "'sushi' is not on the menu. There is cheese pizza"),
        ({"items": [{"name": "pepperoni pizza", "amount": 18}]}, "size of the pepperoni pizza is missing"),
        ({"total": 40}, "2 x large pepperoni pizza with mushrooms: $40.00; 1 x cola: $2.50. The right total is $42.50"),
        ({"items": [{**PIZZA, "amount": 20}, COLA], "total": 22.5}, "The right total is $42.50"),
        ({"order_type": "delivery"}, "what street and number"),
        ({"order_type": "delivery", "delivery_address": "home"}, "what street and number"),
        ({"order_type": "delivery", "delivery_address": "1 Elm " + "x" * 200}, "what street and number"),
    ],
)
async def test_an_order_that_is_not_right_is_not_stored(house: House, changes: dict[str, Any], told: str) -> None:
    """The model learns what would be right, and storage stays as it was."""
    result = await house.order(**changes)
    assert result["error"] == "try_again"
    assert told in result["message"]
    assert await house.orders.all(ADA) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": "dine in"},
        {"total": -1},
        {"total": "a lot"},
        {"items": [{"name": "cola"}]},
        {"items": [{**COLA, "quantity": 0}]},
        {"items": [{**COLA, "quantity": 21}]},
        {"items": [{**COLA, "colour": "brown"}]},
        {"items": [{"name": "x" * 101, "amount": 1}]},
        {"items": "a cola"},
    ],
)
async def test_arguments_that_cannot_be_are_refused(house: House, changes: dict[str, Any]) -> None:
    """Unknown types, missing fields, numbers that are none: the model is told which argument is wrong."""
    result = await house.order(**changes)
    assert result["error"] == "wrong_arguments"
    assert await house.orders.all(ADA) == ()


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e400"])
async def test_amounts_that_are_no_numbers_are_refused(house: House, amount: str) -> None:
    """Not a number is no price."""
    arguments = f'{{"items": [{{"name": "cola", "amount": {amount}}}], "order_type": "pickup", "total": {amount}}}'
    outcome = await house.registry.run("place_order", arguments, CALL)
    assert not outcome.ok and orjson.loads(outcome.output)["error"] in ("wrong_arguments", "bad_json")


async def test_only_a_restaurant_takes_orders(house: House) -> None:
    """An agent without a menu says so."""
    result = await house.order(replace(CALL, agent="default"))
    assert result["error"] == "failed" and "no menu" in result["message"]


async def test_strangers_are_people_of_their_own(house: House) -> None:
    """Without a number, and without a person at all, an order belongs to its conversation alone."""
    nobody = replace(CALL, conversation="CA7", person="")
    first, second = await house.order(STRANGER), await house.order(nobody)
    assert first["placed"] and second["placed"]
    assert [order.number for order in await house.orders.all("anonymous:CA1")] == [first["order_number"]]
    assert [order.number for order in await house.orders.all("anonymous:CA7")] == [second["order_number"]]
    other = await house.told("pickup_time", replace(STRANGER, conversation="CA2", person="anonymous:CA2"))
    assert other["found"] is False


async def test_a_person_of_two_addresses_has_one_set_of_orders(house: House) -> None:
    """What was ordered under an alias is found under the person."""
    await house.people.update(ADA, first_name="Ada")
    await house.people.link("whatsapp:15550100123", ADA)
    placed = await house.order(replace(CALL, person="whatsapp:15550100123"))
    assert (await house.told("pickup_time"))["order_number"] == placed["order_number"]


async def test_too_many_orders_are_refused(house: House) -> None:
    """The model offers a person instead; nothing is stored."""
    draft = Draft("pickup", (OrderLine("cola", 1, 250),), 250, 15)
    for number in range(50):
        await house.orders.place(ADA, order_key("CA0", str(number)), draft)
    result = await house.order()
    assert result["error"] == "failed" and "too many orders" in result["message"]
    assert len(await house.orders.all(ADA)) == 50


async def test_a_store_that_is_away_is_told_as_it_is() -> None:
    """Whether the order was stored is unknown, and placing it again is right; nothing else is made up either."""
    with fragile_redis() as server:
        client = connect(server.url)
        house = House(client)
        server.stop()
        assert "could not be looked up" in (await house.order())["message"]
        assert "could not be looked up" in (await house.told("pickup_time"))["message"]
        assert "could not be looked up" in (await house.told("send_order_sms", message_type="hours"))["message"]
        await client.aclose()


async def test_an_order_of_which_nobody_knows(house: House, redis: Redis) -> None:
    """The store takes the order and does not answer: the model may place it again, and it is stored once."""
    real = house.orders.place

    class Lost(Orders):
        async def place(self, person: str, key: str, draft: Draft) -> Any:
            await real(person, key, draft)
            raise StoreError("no answer")

    lost = ToolRegistry()
    add_restaurant(lost, Menus(CHECKOUT / "config" / "agents"), Lost(redis), house.people, house.post)
    arguments = orjson.dumps({"items": [COLA], "order_type": "pickup", "total": 2.5}).decode()
    outcome = await lost.run("place_order", arguments, CALL)
    assert not outcome.ok and outcome.certain and "never stored twice" in outcome.output
    again = await house.order(items=[COLA], total=2.5)
    assert again["new"] is False
    assert len(await house.orders.all(ADA)) == 1


# -- times


@pytest.mark.parametrize(("kind", "tool"), [("pickup", "pickup_time"), ("delivery", "delivery_time")])
async def test_the_time_is_chosen_once(house: House, kind: str, tool: str) -> None:
    """Asked again it is the same, by the order's number too; it is one of those there are."""
    placed = await house.order(order_type=kind, delivery_address="1 Elm Street, Missoula")
    first = await house.told(tool)
    assert first["minutes"] in {"pickup": (15, 30, 45), "delivery": (45, 60, 75)}[kind]
    assert first["order_number"] == placed["order_number"]
    assert first == await house.told(tool) == await house.told(tool, order_number=placed["order_number"])
    assert " ".join(str(placed["order_number"])) in first["message"]


async def test_times_differ_from_order_to_order(house: House) -> None:
    """All three are given."""
    seen = set()
    for number in range(30):
        context = replace(CALL, conversation=f"CA{number}", person=f"anonymous:CA{number}")
        await house.order(context, order_type="delivery", delivery_address="1 Elm Street, Missoula")
        message = (await house.told("delivery_time", context))["message"]
        seen.add(next(wait for wait in ("45 minutes", "1 hour and 15", "1 hour") if wait in message))
    assert seen == {"45 minutes", "1 hour", "1 hour and 15"}


async def test_without_an_order_the_usual_times_are_told(house: House) -> None:
    """And that there is none yet."""
    pickup, delivery = await house.told("pickup_time"), await house.told("delivery_time", order_number=1234)
    assert pickup["message"] == "There is no order yet. A pickup usually takes between 15 minutes and 45 minutes."
    assert delivery["message"].endswith("A delivery usually takes between 45 minutes and 1 hour and 15 minutes.")
    assert (pickup["found"], delivery["found"]) == (False, False)


async def test_the_wrong_kind_of_time_is_corrected(house: House) -> None:
    """The pickup time of a delivery: the model is told which tool to use; the newest of the right kind wins."""
    delivery = await house.order(order_type="delivery", delivery_address="1 Elm Street, Missoula")
    result = await house.told("pickup_time")
    assert (result["found"], result["order_type"]) == (False, "delivery")
    assert result["message"].endswith("is a delivery: use delivery_time.")
    pickup = await house.order()
    assert (await house.told("delivery_time"))["order_number"] == delivery["order_number"]
    assert (await house.told("pickup_time"))["order_number"] == pickup["order_number"]
    wrong = await house.told("delivery_time", order_number=pickup["order_number"])
    assert wrong["message"].endswith("is a pickup: use pickup_time.")


async def test_a_number_nobody_was_given(house: House) -> None:
    """The model is told which numbers there are."""
    placed = await house.order()
    result = await house.told("pickup_time", order_number=placed["order_number"] + 1)
    assert result["error"] == "try_again"
    assert f"There is {' '.join(str(placed['order_number']))}." in result["message"]


# -- text messages


async def test_a_confirmation_is_made_of_what_is_stored(house: House) -> None:
    """Name, lines, total, time and place; to the caller's number."""
    await house.people.update(ADA, first_name="Ada")
    placed = await house.order()
    result = await house.told("send_order_sms", message_type="order confirmation")
    assert result == {
        "sent": True,
        "message_type": "order confirmation",
        "message": "The text message is on its way.",
    }
    ((to, body),) = house.post.texts
    (order,) = await house.orders.all(ADA)
    assert to == CALL.address
    assert body.split("\n") == [
        f"Hello Ada, thank you for your order {placed['order_number']} at Dough Boy Pizza (pickup).",
        "2 x large pepperoni pizza with mushrooms: $40.00",
        "1 x cola: $2.50",
        "Total: $42.50",
        f"Ready for pickup about {order.minutes} minutes after it was placed.",
        "Dough Boy Pizza is at 48 Mill Street, Missoula, Montana 59802.",
    ]


async def test_a_delivery_is_confirmed_with_its_address(house: House) -> None:
    """The newest order unless another is named."""
    pickup = await house.order()
    await house.order(order_type="delivery", delivery_address="1 Elm Street, Missoula")
    await house.told("send_order_sms", message_type="order confirmation")
    await house.told("send_order_sms", message_type="order confirmation", order_number=pickup["order_number"])
    delivered, fetched = (body for _, body in house.post.texts)
    assert "Delivered to: 1 Elm Street, Missoula" in delivered and "At your door about" in delivered
    assert f"order {pickup['order_number']} " in fetched


async def test_hours_and_location_need_no_order(house: House) -> None:
    """Nor a name."""
    await house.told("send_order_sms", message_type="hours")
    await house.told("send_order_sms", message_type="location")
    assert [body for _, body in house.post.texts] == [
        "Hello, Dough Boy Pizza is open: Tuesday to Thursday 11 AM to 9 PM, Friday and Saturday 11 AM to 11 PM, "
        "closed on Sunday and Monday.",
        "Hello, Dough Boy Pizza is at 48 Mill Street, Missoula, Montana 59802.",
    ]


async def test_a_confirmation_without_an_order_is_not_sent(house: House) -> None:
    """By text and by mail the model is told that there is none."""
    for tool, more in (("send_order_sms", {}), ("send_order_email", {"to_email": "ada@example.com"})):
        result = await house.told(tool, message_type="order confirmation", **more)
        assert result["error"] == "failed" and "no order to confirm" in result["message"]
    assert (house.post.texts, house.post.letters) == ([], [])
    assert await house.people.get(ADA) is None


async def test_a_message_that_was_refused_is_told(house: House) -> None:
    """What the sender says reaches the model; an address is not saved for a mail that was not sent."""
    house.post.refuses = "The carrier refused it."
    text = await house.told("send_order_sms", message_type="hours")
    mail = await house.told("send_order_email", message_type="hours", to_email="ada@example.com")
    assert text["message"] == mail["message"] == "The carrier refused it."
    assert await house.people.get(ADA) is None


async def test_where_nothing_can_be_sent_it_is_said(redis: Redis) -> None:
    """Without a sender the model is told before anything else is asked for."""
    house = House(redis, messages=False)
    for tool in ("send_order_sms", "send_order_email"):
        result = await house.told(tool, message_type="hours")
        assert result["error"] == "failed" and "cannot be sent from here" in result["message"]


# -- mails


async def test_a_mail_goes_to_the_address_that_was_said(house: House) -> None:
    """Spoken words become an address; it is saved, and the instructions of the call are made anew."""
    await house.people.update(ADA, first_name="Ada", last_name="Lovelace")
    placed = await house.order()
    outcome = await house.run("send_order_email", to_email="Ada at example dot com")
    assert outcome.ok and outcome.effects == (PersonChanged(),)
    (letter,) = house.post.letters
    assert (letter.to, letter.to_name) == ("ada@example.com", "Ada Lovelace")
    assert letter.subject == f"Your order {placed['order_number']} at Dough Boy Pizza"
    assert letter.text.startswith("Hello Ada,\n\nthank you for your order")
    assert "Total: $42.50" in letter.text and "<p>Total: $42.50</p>" in letter.html
    person = await house.people.get(ADA)
    assert person is not None and (person.email, person.first_name) == ("ada@example.com", "Ada")


async def test_the_address_on_file_is_used_and_corrected(house: House) -> None:
    """Without an argument the stored one, which stays; another one said takes its place."""
    await house.people.update(ADA, email="old@example.com")
    await house.order()
    assert (await house.run("send_order_email")).effects == ()
    assert (await house.run("send_order_email", to_email="old at example.com")).effects == ()
    assert (await house.run("send_order_email", to_email="new@example.com")).effects == (PersonChanged(),)
    assert [letter.to for letter in house.post.letters] == ["old@example.com", "old@example.com", "new@example.com"]
    person = await house.people.get(ADA)
    assert person is not None and person.email == "new@example.com"


@pytest.mark.parametrize(
    ("address", "told"), [("", "which address may it be sent to"), ("ada at home", "no complete e-mail address")]
)
async def test_an_address_that_is_none_is_asked_for(house: House, address: str, told: str) -> None:
    """The caller gets a question; nothing is sent or saved."""
    await house.order()
    result = await house.told("send_order_email", to_email=address)
    assert result["error"] == "try_again" and told in result["message"]
    assert house.post.letters == [] and await house.people.get(ADA) is None


async def test_words_of_a_caller_cannot_write_html(house: House) -> None:
    """Names, addresses and wishes are escaped in the HTML and plain in the text."""
    await house.people.update(ADA, first_name="<b>Ada</b>", email="ada@example.com")
    await house.order(
        items=[{**PIZZA, "details": "mushrooms, no <i>onions"}, COLA],
        order_type="delivery",
        delivery_address='1 <script>alert("x")</script> Street & Co',
    )
    await house.told("send_order_email")
    (letter,) = house.post.letters
    assert not any(tag in letter.html for tag in ("<b>", "<i>", "<script>"))
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;" in letter.html and "Street &amp; Co" in letter.html
    assert "<b>Ada</b>" in letter.text


async def test_hours_and_location_by_mail(house: House) -> None:
    """Without an order."""
    for message in ("hours", "location"):
        await house.told("send_order_email", to_email="ada@example.com", message_type=message)
    assert [letter.subject for letter in house.post.letters] == [
        "Opening hours of Dough Boy Pizza",
        "How to find Dough Boy Pizza",
    ]


# -- Spanish


async def test_a_caller_in_spanish_is_answered_in_spanish(house: House) -> None:
    """Results, messages, and what is sent."""
    ada = replace(CALL, language="es-MX")
    await house.people.update(ADA, first_name="Ada")
    placed = await house.order(ada, items=[{**PIZZA, "name": "pizza de pepperoni grande"}, COLA])
    assert placed["message"].startswith("El pedido está hecho. Su número es")
    assert "42 dólares con 50 centavos" in placed["message"]
    assert placed["items"][0] == "2 x pizza de pepperoni grande con champiñones"
    assert "estará listo para recoger unos" in (await house.told("pickup_time", ada))["message"]
    none = await house.told("delivery_time", replace(ada, person="anonymous:CA9"))
    assert none["message"].startswith(
        "Todavía no hay ningún pedido. Un pedido a domicilio suele tardar entre 45 minutos"
    )
    assert (await house.told("send_order_sms", ada, message_type="hours"))["message"].startswith("El mensaje de texto")
    assert house.post.texts[0][1].startswith("Hola Ada, Horario de Dough Boy Pizza: De martes")
    await house.told("send_order_email", ada, to_email="ada arroba ejemplo punto com")
    (letter,) = house.post.letters
    assert letter.to == "ada@ejemplo.com" and letter.subject.startswith("Su pedido ")
    assert "gracias por su pedido" in letter.text and 'lang="es"' in letter.html
    wrong = await house.order(ada, total=3)
    assert wrong["message"].startswith("Los importes no cuadran")


def test_every_sentence_is_there_in_both_languages() -> None:
    """With the same places to fill."""
    places = {
        name: {language: {part.split("}")[0] for part in text.split("{")[1:]} for language, text in texts.items()}
        for name, texts in SENTENCES.items()
    }
    for name, texts in SENTENCES.items():
        assert set(texts) == {"en", "es"} and texts["en"] != texts["es"], name
        assert places[name]["en"] == places[name]["es"], name


def test_what_the_model_is_shown(redis: Redis) -> None:
    """Sending asks first; placing is a side effect; every argument has a description."""
    registry = House(redis).registry
    names = ("place_order", "pickup_time", "delivery_time", "send_order_sms", "send_order_email")
    assert [registry.policy(name).confirm for name in names] == [False, False, False, True, True]
    assert [registry.policy(name).side_effect for name in names] == [True, False, False, True, True]
    for spec in registry.specs(names):
        assert all("description" in each for each in spec.parameters["properties"].values()), spec.name
