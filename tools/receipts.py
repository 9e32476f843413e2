"""What a restaurant writes and says about an order, its hours and its place, in English and Spanish; pure."""

from __future__ import annotations

from html import escape
from typing import Literal

from config.menu import Menu
from relay.messages import Letter
from relay.store.orders import Kind, Order
from tools.words import dollars, said, spaced

Message = Literal["order confirmation", "hours", "location"]


def address_of(menu: Menu) -> str:
    place = menu.location
    return f"{place['street']}, {place['city']}, {place['state']} {place['zip']}"


def wait_of(order: Order, language: str) -> str:
    """How long the order takes, as a sentence for the ear."""
    wait, number = minutes_of(order.minutes, language), spaced(order.number)
    if order.kind == "pickup":
        return said(
            language,
            f"Order {number} is ready for pickup about {wait} after it was placed.",
            f"El pedido {number} estará listo para recoger unos {wait} después de hacerlo.",
        )
    return said(
        language,
        f"Order {number} is at the door about {wait} after it was placed.",
        f"El pedido {number} llegará a la puerta unos {wait} después de hacerlo.",
    )


def minutes_of(minutes: int, language: str) -> str:
    hours, rest = divmod(minutes, 60)
    if not hours:
        return said(language, f"{rest} minutes", f"{rest} minutos")
    hour = said(language, "1 hour", "1 hora")
    return f"{hour} {said(language, 'and', 'y')} {rest} {said(language, 'minutes', 'minutos')}" if rest else hour


def kind_of(kind: Kind, language: str) -> str:
    return said(language, kind, "para recoger" if kind == "pickup" else "a domicilio")


def text_body(menu: Menu, message: Message, order: Order | None, first_name: str, language: str) -> str:
    """A text message. ``order``: None for hours and location."""
    lines = [
        f"{_greeting(first_name, language)} {line}" if not n else line
        for n, line in enumerate(_lines(menu, message, order, language))
    ]
    return "\n".join(lines)


def letter(menu: Menu, message: Message, order: Order | None, to: str, name: tuple[str, str], language: str) -> Letter:
    """A mail with the same words, plain and as HTML. ``name``: first and last."""
    greeting, lines = _greeting(name[0], language), _lines(menu, message, order, language)
    farewell = said(language, f"Your team at {menu.name}", f"El equipo de {menu.name}")
    paragraphs = "\n".join(f"<p>{escape(line)}</p>" for line in (greeting, *lines, farewell))
    return Letter(
        to,
        _subject(menu, message, order, language),
        "\n\n".join((greeting, *lines, farewell)) + "\n",
        f'<!doctype html>\n<html lang="{language}">\n<body>\n{paragraphs}\n</body>\n</html>\n',
        " ".join(part for part in name if part),
    )


def _subject(menu: Menu, message: Message, order: Order | None, language: str) -> str:
    if message == "hours":
        return said(language, f"Opening hours of {menu.name}", f"Horario de {menu.name}")
    if message == "location" or order is None:
        return said(language, f"How to find {menu.name}", f"Cómo llegar a {menu.name}")
    return said(language, f"Your order {order.number} at {menu.name}", f"Su pedido {order.number} en {menu.name}")


def _greeting(first_name: str, language: str) -> str:
    hello = said(language, "Hello", "Hola")
    return f"{hello} {first_name}," if first_name else f"{hello},"


def _lines(menu: Menu, message: Message, order: Order | None, language: str) -> list[str]:
    if message == "hours":
        return [
            said(language, f"{menu.name} is open: {menu.hours['en']}.", f"Horario de {menu.name}: {menu.hours['es']}.")
        ]
    place = said(language, f"{menu.name} is at {address_of(menu)}.", f"{menu.name} está en {address_of(menu)}.")
    if message == "location" or order is None:
        return [place]
    kind = kind_of(order.kind, language)
    return [
        said(
            language,
            f"thank you for your order {order.number} at {menu.name} ({kind}).",
            f"gracias por su pedido {order.number} en {menu.name} ({kind}).",
        ),
        *(f"{line.quantity} x {line.text}: {dollars(line.cents)}" for line in order.lines),
        f"Total: {dollars(order.cents)}",
        _when(order, language),
        said(language, f"Delivered to: {order.address}", f"Entrega en: {order.address}") if order.address else place,
    ]


def _when(order: Order, language: str) -> str:
    wait = minutes_of(order.minutes, language)
    if order.kind == "pickup":
        return said(
            language,
            f"Ready for pickup about {wait} after it was placed.",
            f"Listo para recoger unos {wait} después de hacerlo.",
        )
    return said(
        language, f"At your door about {wait} after it was placed.", f"En su puerta unos {wait} después de hacerlo."
    )
