"""Ordering at a restaurant: an order is checked against the menu, stored once, and told from what is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field

from config.menu import Menu, Menus
from relay.errors import StoreError, ToolError, ToolRetry
from relay.messages import Letter
from relay.store.orders import Draft, Kind, Order, OrderLine, Orders, TooManyOrders, order_key
from relay.store.people import Person, person_id
from relay.toolbox import PersonChanged, ToolContext
from tools.addresses import spoken_address
from tools.choices import other_names
from tools.ordering import Line, read_line
from tools.receipts import Message, kind_of, letter, minutes_of, text_body, wait_of
from tools.registry import ToolFunction, ToolRegistry, ToolResult
from tools.restaurant_says import tell
from tools.words import dollars, dollars_aloud, language_of, listed, spaced

WAITS: dict[Kind, tuple[int, ...]] = {"pickup": (15, 30, 45), "delivery": (45, 60, 75)}
"""Minutes an order may take."""

MOST_LINES = 30
MOST_OF_ONE = 20

Dollars = Annotated[float, Field(ge=0, le=100_000)]
OrderType = Annotated[
    Kind,
    other_names(
        {
            "pickup": "pick up|takeout|take out|takeaway|take away|carryout|carry out|collect|to go|recoger|llevar",
            "delivery": "deliver|delivered|domicilio|entrega|envío|a casa",
        }
    ),
]
MessageType = Annotated[
    Message,
    other_names(
        {
            "order confirmation": "confirmation|receipt|order|confirmación|pedido|recibo",
            "hours": "hour|schedule|horario",
            "location": "address|direction|where|ubicación|dirección",
        }
    ),
]


class OrderItem(BaseModel):
    """One line of an order."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="The item with its size, as on the menu: large pepperoni pizza.", max_length=100)
    details: str = Field(
        "", description="Toppings besides, and wishes, separated by commas: mushrooms, no onions.", max_length=200
    )
    quantity: int = Field(1, description="How many of it.", ge=1, le=MOST_OF_ONE)
    amount: Dollars = Field(description="The price of the line in dollars, for all of the quantity.")


class Messages(Protocol):
    """Sends to the person of a conversation (``tools/texting.py``). Both raise ToolError or ToolRetry with what the
    model is to do then; when they return the message was accepted."""

    @property
    def can_text(self) -> bool: ...
    @property
    def can_mail(self) -> bool: ...
    def check_text(self, context: ToolContext) -> None: ...
    async def text(self, context: ToolContext, body: str) -> None: ...
    async def mail(self, context: ToolContext, letter: Letter) -> None: ...


class People(Protocol):
    async def get(self, person: str, /) -> Person | None: ...
    async def update(self, person: str, /, **changes: str) -> Any: ...


class Restaurant:
    """The tools are what ``tools`` names."""

    def __init__(self, menus: Menus, orders: Orders, people: People, messages: Messages) -> None:
        self._menus = menus
        self._orders = orders
        self._people = people
        self._messages = messages

    def tools(self) -> tuple[ToolFunction, ...]:
        return self.place_order, self.pickup_time, self.delivery_time, self.send_order_sms, self.send_order_email

    async def place_order(
        self,
        context: ToolContext,
        items: list[OrderItem],
        order_type: OrderType,
        total: Dollars,
        delivery_address: str = "",
    ) -> ToolResult:
        """Place the caller's order. Use it once, after you have read the whole order back with its total and the caller
        has agreed. An order cannot be changed afterwards.

        Args:
            items: What is ordered, a line each.
            order_type: Whether the caller comes for it or has it delivered.
            total: The sum of all amounts, in dollars.
            delivery_address: Street, number and town; for a delivery only.
        """
        language, menu = language_of(context), await self._menu(context)
        lines = _checked(menu, items, total, language)
        address = _address(order_type, delivery_address, language)
        key = order_key(context.conversation, _content(order_type, address, lines))
        draft = Draft(
            order_type,
            tuple(OrderLine(line.text, line.quantity, line.cents) for line in lines),
            sum(line.cents for line in lines),
            WAITS[order_type][int(key[-8:], 16) % len(WAITS[order_type])],
            address,
        )
        try:
            order, new = await self._orders.place((await self._person(context)).id, key, draft)
        except TooManyOrders as error:
            raise ToolError(tell("too_many", language)) from error
        except StoreError as error:
            raise ToolError(tell("in_doubt", language)) from error
        number, amount = spaced(order.number), dollars_aloud(order.cents, language)
        message = tell("placed" if new else "placed_before", language, number=number, total=amount)
        output = {**_data(order), "placed": True, "new": new, "message": message}
        if not (new and self._messages.can_text and context.address):
            return ToolResult(output)
        output["message"] = f"{message} {tell('offer_text', language)}"
        confirmation: dict[str, Any] = {"message_type": "order confirmation"}
        named = confirmation | {"order_number": order.number}
        return ToolResult(output, offers=(("send_order_sms", confirmation), ("send_order_sms", named)))

    async def pickup_time(self, context: ToolContext, order_number: int | None = None) -> ToolResult:
        """How long a pickup order takes. Use it after the order was placed.

        Args:
            order_number: The number the order was given; the newest one if left out.
        """
        return await self._time(context, "pickup", order_number)

    async def delivery_time(self, context: ToolContext, order_number: int | None = None) -> ToolResult:
        """How long a delivery takes. Use it after the order was placed.

        Args:
            order_number: The number the order was given; the newest one if left out.
        """
        return await self._time(context, "delivery", order_number)

    async def send_order_sms(
        self, context: ToolContext, message_type: MessageType, order_number: int | None = None
    ) -> ToolResult:
        """Send the caller a text message: the confirmation of an order, the opening hours, or where the restaurant is.

        Args:
            message_type: What to send.
            order_number: For a confirmation: the order's number; the newest one if left out.
        """
        language, menu = language_of(context), await self._menu(context)
        self.check_text(context, message_type)
        person = await self._person(context)
        order = await self._confirmed(person.id, message_type, order_number, language)
        await self._messages.text(context, text_body(menu, message_type, order, person.first_name, language))
        message = tell("text_sent", language)
        return ToolResult({"sent": True, "message_type": message_type, "message": message})

    async def send_order_email(
        self,
        context: ToolContext,
        to_email: str = "",
        message_type: MessageType = "order confirmation",
        order_number: int | None = None,
    ) -> ToolResult:
        """Send the caller an e-mail: the confirmation of an order, the opening hours, or where the restaurant is.

        Args:
            to_email: The address, as the caller said it; left out, the one on file is used.
            message_type: What to send.
            order_number: For a confirmation: the order's number; the newest one if left out.
        """
        language, menu = language_of(context), await self._menu(context)
        self.check_mail(context, to_email)
        person = await self._person(context)
        to = spoken_address(to_email) or person.email
        if not to:
            raise ToolRetry(tell("which_address", language))
        order = await self._confirmed(person.id, message_type, order_number, language)
        name = person.first_name, person.last_name
        await self._messages.mail(context, letter(menu, message_type, order, to, name, language))
        message = tell("mail_sent", language)
        output = {"sent": True, "message_type": message_type, "message": message}
        if to == person.email:
            return ToolResult(output)
        try:
            await self._people.update(person.id, email=to)
        except StoreError:
            return ToolResult(output)  # it was sent all the same; next time the address is asked for again
        return ToolResult(output, (PersonChanged(),))

    # -- what is known before the caller is asked

    def check_text(self, context: ToolContext, message_type: Message, order_number: int | None = None) -> None:
        """Raises ToolError where no text message can be sent to this caller."""
        if not self._messages.can_text:
            raise ToolError(tell("cannot_send", language_of(context)))
        self._messages.check_text(context)

    def check_mail(
        self, context: ToolContext, to_email: str, message_type: Message = "hours", order_number: int | None = None
    ) -> None:
        """Raises ToolError where no mail can be sent, or not to this address."""
        if not self._messages.can_mail:
            raise ToolError(tell("cannot_send", language_of(context)))
        if to_email.strip() and not spoken_address(to_email):
            raise ToolRetry(tell("bad_address", language_of(context)))

    # -- what they share

    async def _menu(self, context: ToolContext) -> Menu:
        menu = await asyncio.to_thread(self._menus.of, context.agent)
        if menu is None:
            raise ToolError(tell("no_menu", language_of(context)))
        return menu

    async def _person(self, context: ToolContext) -> Person:
        """Who is on the line, under the id everything of theirs is kept under. Raises ToolError."""
        key = context.person or person_id("phone", "", context.conversation)
        try:
            return await self._people.get(key) or Person(key)
        except StoreError as error:
            raise ToolError(tell("not_looked_up", language_of(context))) from error

    async def _find(self, person: str, number: int | None, language: str, kind: Kind | None = None) -> Order | None:
        """The order of that number; without one the newest, of that kind if there is one; None where there is none at
        all. Raises ToolRetry for a number nobody was given."""
        try:
            orders = await self._orders.all(person)
        except StoreError as error:
            raise ToolError(tell("not_looked_up", language)) from error
        if number is None:
            return next((order for order in orders if order.kind == kind), orders[0] if orders else None)
        found = next((order for order in orders if order.number == number), None)
        if found is None and orders:
            numbers = listed([spaced(order.number) for order in orders[:3]], language)
            raise ToolRetry(tell("unknown_number", language, number=spaced(number), numbers=numbers))
        return found

    async def _time(self, context: ToolContext, kind: Kind, number: int | None) -> ToolResult:
        language = language_of(context)
        order = await self._find((await self._person(context)).id, number, language, kind)
        waits = [minutes_of(minutes, language) for minutes in WAITS[kind]]
        if order is None:
            message = tell("no_order_yet", language, kind=kind_of(kind, language), least=waits[0], most=waits[-1])
            return ToolResult({"found": False, "message": message})
        if order.kind != kind:
            tool = "pickup_time" if order.kind == "pickup" else "delivery_time"
            message = tell(
                "other_kind", language, number=spaced(order.number), kind=kind_of(order.kind, language), tool=tool
            )
            return ToolResult({"found": False, "order_type": order.kind, "message": message})
        return ToolResult(
            {**_data(order), "found": True, "minutes": order.minutes, "message": wait_of(order, language)}
        )

    async def _confirmed(self, person: str, message: Message, number: int | None, language: str) -> Order | None:
        """The order a message is about, None for a message about none. Raises ToolError where there is no order."""
        if message != "order confirmation":
            return None
        order = await self._find(person, number, language)
        if order is None:
            raise ToolError(tell("nothing_to_confirm", language))
        return order


def add_restaurant(registry: ToolRegistry, menus: Menus, orders: Orders, people: People, messages: Messages) -> None:
    restaurant = Restaurant(menus, orders, people, messages)
    place, pickup, delivery, sms, email = restaurant.tools()
    registry.add(place, side_effect=True)
    registry.add(pickup)
    registry.add(delivery)
    registry.add(sms, confirm=True, objects=restaurant.check_text)
    registry.add(email, confirm=True, objects=restaurant.check_mail)


def _checked(menu: Menu, items: list[OrderItem], total: float, language: str) -> list[Line]:
    """The lines as they are on the menu. Raises ToolRetry where something is missing, unknown or wrongly added up."""
    if not items:
        raise ToolRetry(tell("empty", language))
    if len(items) > MOST_LINES:
        raise ToolRetry(tell("too_long", language, most=MOST_LINES))
    lines = [read_line(menu, item.name, item.details, item.quantity, language) for item in items]
    right = sum(line.cents for line in lines)
    if any(round(item.amount * 100) != line.cents for item, line in zip(items, lines, strict=True)) or (
        round(total * 100) != right
    ):
        amounts = "; ".join(f"{line.quantity} x {line.text}: {dollars(line.cents)}" for line in lines)
        raise ToolRetry(tell("wrong_sum", language, amounts=amounts, total=dollars(right)))
    return lines


def _address(kind: Kind, address: str, language: str) -> str:
    if kind == "pickup":
        return ""
    address = " ".join(address.split())
    if len(address.split()) < 2 or len(address) > 200:
        raise ToolRetry(tell("no_address", language))
    return address


def _content(kind: Kind, address: str, lines: list[Line]) -> str:
    """What is ordered in one spelling: the same for two colas and for a cola and a cola."""
    counts = Counter[tuple[str, ...]]()
    for line in lines:
        counts[line.content] += line.quantity
    return orjson.dumps([kind, address.casefold(), sorted(counts.items())]).decode()


def _data(order: Order) -> dict[str, Any]:
    return {
        "order_number": order.number,
        "order_type": order.kind,
        "total": order.cents / 100,
        "items": [f"{line.quantity} x {line.text}" for line in order.lines],
    }
