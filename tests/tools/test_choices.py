"""What is offered to choose from, by the names callers and models use."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tools.apartment_choices import AnyApartment, AnyTour, Inquiry, Tour
from tools.restaurant import MessageType, OrderType

REFUSED = "refused"


def read(kind: Any, words: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(words)
    except ValidationError:
        return REFUSED


@pytest.mark.parametrize(
    ("kind", "words", "choice"),
    [
        (AnyApartment, "two-bedroom", "two-bedroom"),
        (AnyApartment, "2 bedroom", "two-bedroom"),
        (AnyApartment, "2 bed 2 bath", "two-bedroom"),
        (AnyApartment, "1BR", "one-bedroom"),
        (AnyApartment, "Estudio", "studio"),
        (AnyApartment, "apartamento de tres dormitorios", "three-bedroom"),
        (AnyApartment, "un dormitorio", "one-bedroom"),
        (AnyApartment, "any", None),
        (AnyApartment, "no preference", None),
        (AnyApartment, "cualquier tipo", None),
        (AnyApartment, "studio or one-bedroom", REFUSED),
        (AnyApartment, "one or two bedroom", REFUSED),
        (AnyApartment, "not a studio", REFUSED),
        (AnyApartment, "four-bedroom", REFUSED),
        (AnyApartment, "bedroom", REFUSED),
        (AnyApartment, "x" * 10_000, REFUSED),
        (AnyTour, "In person", "in-person"),
        (AnyTour, "en persona", "in-person"),
        (AnyTour, "a self-guided tour", "self-guided"),
        (AnyTour, "por mi cuenta", "self-guided"),
        (AnyTour, "sin guía", "self-guided"),
        (AnyTour, "either", None),
        (AnyTour, "virtual", REFUSED),
        (Tour, "either", REFUSED),
        (Inquiry, "pets", "pet policy"),
        (Inquiry, "mascotas", "pet policy"),
        (Inquiry, "application fee", "fees"),
        (Inquiry, "address", "location"),
        (Inquiry, "pet deposit", REFUSED),
        (Inquiry, "any", REFUSED),
        (OrderType, "Pick-up", "pickup"),
        (OrderType, "para llevar", "pickup"),
        (OrderType, "a domicilio", "delivery"),
        (OrderType, "dine in", REFUSED),
        (OrderType, "pickup or delivery", REFUSED),
        (MessageType, "confirmation", "order confirmation"),
        (MessageType, "opening hours", "hours"),
        (MessageType, "horario", "hours"),
        (MessageType, "menu", REFUSED),
    ],
)
def test_a_choice_by_another_name(kind: Any, words: str, choice: str | None) -> None:
    """It is taken where it can only be that one; what is left open is refused, or no choice where none is needed."""
    assert read(kind, words) == choice


def test_the_schema_names_the_choices_alone() -> None:
    """The other names are no part of what a model is offered."""
    assert TypeAdapter(Tour).json_schema() == {"enum": ["in-person", "self-guided"], "type": "string"}
