"""What may be chosen of the apartments and their tours, with the other names that callers and models use."""

from __future__ import annotations

from typing import Annotated

from tools.choices import other_names
from tools.listings import ApartmentType, InquiryType, TourType

_BEDROOM = "bedroom bed br bd bdrm dormitorio recamara habitacion habitacione cuarto"


def _bedrooms(number: int) -> str:
    return "|".join(f"{number} {word}" for word in _BEDROOM.split())


_KINDS = {
    "studio": "estudio|efficiency|monoambiente|0 bedroom",
    "one-bedroom": _bedrooms(1),
    "two-bedroom": _bedrooms(2),
    "three-bedroom": _bedrooms(3),
}
_TOURS = {
    "in-person": "person|persona|presencial|with somebody|with someone|with an agent|con alguien|con un agente",
    "self-guided": "self|selfguided|alone|by myself|on my own|unguided|autoguiada|auto guiada"
    "|por mi cuenta|por su cuenta|sin guía|solo|sola",
}
_INQUIRIES = {
    "pet policy": "pet|dog|cat|animal|mascota|perro|gato",
    "fees": "fee|deposit|cuota|depósito|tarifa|gastos",
    "parking": "garage|car|parking space|estacionamiento|aparcamiento|cochera|garaje",
    "specials": "special|offer|promotion|promo|deal|discount|oferta|promoción|promociones|descuento",
    "income requirements": "income|salary|ingreso|sueldo",
    "utilities": "utility|electricity|water|internet|gas|servicio|luz|agua",
    "location": "address|direction|where|dirección|ubicación|dónde",
}

Apartment = Annotated[ApartmentType, other_names(_KINDS)]
AnyApartment = Annotated[ApartmentType | None, other_names(_KINDS, optional=True)]
Tour = Annotated[TourType, other_names(_TOURS)]
AnyTour = Annotated[TourType | None, other_names(_TOURS, optional=True)]
Inquiry = Annotated[InquiryType, other_names(_INQUIRIES)]

__all__ = ["AnyApartment", "AnyTour", "Apartment", "Inquiry", "Tour"]
