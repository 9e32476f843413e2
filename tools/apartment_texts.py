"""What the tools for apartments say, in English and Spanish: sentences a voice may read out as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time

from relay.store.tours import Slot
from tools.clock_words import clock
from tools.listings import InquiryType, Layout
from tools.number_words import several

_DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
_MONTHS = {
    "en": several("January February March April May June July August September October November December"),
    "es": several("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"),
}
_APARTMENTS = {
    "en": {
        "studio": "studio",
        "one-bedroom": "one-bedroom",
        "two-bedroom": "two-bedroom",
        "three-bedroom": "three-bedroom",
    },
    "es": {
        "studio": "estudio",
        "one-bedroom": "apartamento de un dormitorio",
        "two-bedroom": "apartamento de dos dormitorios",
        "three-bedroom": "apartamento de tres dormitorios",
    },
}
_TOURS = {
    "en": {"in-person": "an in-person tour", "self-guided": "a self-guided tour"},
    "es": {"in-person": "una visita en persona", "self-guided": "una visita por su cuenta"},
}
_FIELDS = {
    "en": {
        "date": "the day",
        "tour_type": "whether the tour is to be in person or self-guided",
        "apartment_type": "the kind of apartment",
    },
    "es": {
        "date": "el día",
        "tour_type": "si la visita es en persona o por su cuenta",
        "apartment_type": "el tipo de apartamento",
    },
}
_ENGLISH = {
    "layout": "The {kind} is {rent} dollars a month, has {size} square feet and {features}, and is available {when}.",
    "now": "now",
    "from": "from {day}",
    "nothing": "No apartment matches that. I can look again with another date, budget or size.",
    "missing": "To look for a tour I still need {fields}.",
    "exact": "Yes, {tour} of the {kind} is open on {day} at {time}. Shall I book it?",
    "yours": "You have already booked {tour} of the {kind} on {day} at {time}.",
    "same_day": "On {day} there is {tour} of the {kind} at {times}. Would that suit you?",
    "other_time": "There is nothing at {time}, but on {day} there is {tour} of the {kind} at {times}. Would that suit "
    "you?",
    "other_dates": "There is nothing on {day}, but there is {tour} of the {kind} {slots}. Would one of those suit you?",
    "none": "I am sorry, there is no {bare} of the {kind} in the coming days.",
    "slot": "on {day} at {time}",
    "booked": "You are booked for {tour} of the {kind} on {day} at {time}.",
    "offer": "Would you like the details in a text message?",
    "gone": "That tour is not available. {other}",
    "number": "To book a tour I need a phone number to keep it under.",
    "no_tours": "You have no tours booked. Would you like to book one?",
    "tours": "You have booked {tours}.",
    "tour": "{tour} of the {kind} on {day} at {time}",
    "fees": "For the {kind}, the application fee is {application} dollars and the deposit is {deposit} dollars.",
    "location": "{house} is at {place}.",
    "sent": "The details of your tour are on their way to your phone.",
    "text": "Hello {who}, {tour} of the {kind} at {house} is booked for you on {day} at {time}. You find us at "
    "{place}. Call us if you need another time.",
    "friend": "friend",
    "ask_date": "Which day would you like?",
    "ask_past": "That day has passed. Which day would you like?",
    "ask_time": "At what time would you like to come?",
    "ask_half": "Do you mean the morning or the afternoon? Tours begin between {opens} and {closes}.",
}
_SPANISH = {
    "layout": "El {kind} cuesta {rent} dólares al mes, tiene {size} pies cuadrados y {features}, y está disponible "
    "{when}.",
    "now": "ahora mismo",
    "from": "desde el {day}",
    "nothing": "Ningún apartamento coincide con eso. Puedo buscar de nuevo con otra fecha, otro presupuesto u otro "
    "tamaño.",
    "missing": "Para buscar una visita todavía necesito {fields}.",
    "exact": "Sí, hay {tour} del {kind} el {day} {time}. ¿La reservo?",
    "yours": "Ya tiene reservada {tour} del {kind} el {day} {time}.",
    "same_day": "El {day} hay {tour} del {kind} {times}. ¿Le conviene?",
    "other_time": "No hay nada {time}, pero el {day} hay {tour} del {kind} {times}. ¿Le conviene?",
    "other_dates": "El {day} no hay nada, pero hay {tour} del {kind} {slots}. ¿Le conviene alguna?",
    "none": "Lo siento, en los próximos días no hay ninguna {bare} del {kind}.",
    "slot": "el {day} {time}",
    "booked": "Queda reservada {tour} del {kind} el {day} {time}.",
    "offer": "¿Quiere recibir los detalles en un mensaje de texto?",
    "gone": "Esa visita no está disponible. {other}",
    "number": "Para reservar una visita necesito un número de teléfono al que guardarla.",
    "no_tours": "No tiene visitas reservadas. ¿Quiere reservar una?",
    "tours": "Ha reservado {tours}.",
    "tour": "{tour} del {kind} el {day} {time}",
    "fees": "Para el {kind}, la cuota de solicitud es de {application} dólares y el depósito de garantía es de "
    "{deposit} dólares.",
    "location": "{house} está en {place}.",
    "sent": "Los detalles de su visita van en camino a su teléfono.",
    "text": "Hola, {who}: tiene reservada {tour} del {kind} en {house} el {day} {time}. Estamos en {place}. "
    "Llámenos si necesita otra hora.",
    "friend": "amigo",
    "ask_date": "¿Qué día le gustaría?",
    "ask_past": "Ese día ya pasó. ¿Qué día le gustaría?",
    "ask_time": "¿A qué hora le gustaría venir?",
    "ask_half": "¿Se refiere a la mañana o a la tarde? Las visitas empiezan entre {opens} y {closes}.",
}
_TEXTS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "es": _SPANISH}


def say(language: str, name: str, **values: object) -> str:
    return _TEXTS[language][name].format(**values)


def spoken_day(language: str, day: date, today: date) -> str:
    """``Tuesday, November 24``; with the year where it is not this one."""
    weekday, month = _DAYS[language][day.weekday()], _MONTHS[language][day.month - 1]
    if language == "es":
        return f"{weekday} {day.day} de {month}" + (f" de {day.year}" if day.year != today.year else "")
    return f"{weekday}, {month} {day.day}" + (f", {day.year}" if day.year != today.year else "")


def spoken_time(language: str, at: time) -> str:
    """``1:30 PM``; in Spanish with its preposition, which the hour decides."""
    if language == "en":
        return clock(at)
    hour = at.hour % 12 or 12
    half = "de la mañana" if at.hour < 12 else "de la tarde" if at.hour < 20 else "de la noche"
    return f"a la{'' if hour == 1 else 's'} {hour}:{at.minute:02} {half}"


def slot_values(language: str, slot: Slot, today: date) -> dict[str, str]:
    """What the sentences about a tour are filled with."""
    tour = _TOURS[language][slot.tour_type]
    return {
        "tour": tour,
        "bare": tour.partition(" ")[2],
        "kind": kind_of(language, slot.apartment_type),
        "day": spoken_day(language, slot.day, today),
        "time": spoken_time(language, slot.at),
    }


def kind_of(language: str, apartment_type: str) -> str:
    return _APARTMENTS[language][apartment_type]


def missing(language: str, fields: Sequence[str]) -> str:
    return say(language, "missing", fields=listed(language, [_FIELDS[language][each] for each in fields]))


def layout_line(language: str, apartment_type: str, layout: Layout, today: date) -> str:
    available = layout.move_in.after(today)
    day = spoken_day(language, available, today)
    return say(
        language,
        "layout",
        kind=kind_of(language, apartment_type),
        rent=f"{layout.rent:,}",
        size=f"{layout.square_feet:,}",
        features=listed(language, layout.features.of(language)),
        when=say(language, "now") if available == today else say(language, "from", day=day),
    )


def about(language: str, inquiry_type: InquiryType, apartment_type: str, layout: Layout) -> str:
    """What is to be said of one layout. The location is the house's, and not known here: raises KeyError."""
    if inquiry_type == "fees":
        return say(
            language,
            "fees",
            kind=kind_of(language, apartment_type),
            application=layout.application_fee,
            deposit=f"{layout.security_deposit:,}",
        )
    texts = {
        "pet policy": layout.pet_policy,
        "parking": layout.parking,
        "specials": layout.specials,
        "income requirements": layout.income_requirements,
        "utilities": layout.utilities,
    }
    return texts[inquiry_type].of(language)


def listed(language: str, parts: Sequence[str], word: str = "") -> str:
    """``a, b and c``, or with another word before the last."""
    word = word or {"en": "and", "es": "y"}[language]
    *most, last = parts
    return f"{', '.join(most)} {word} {last}" if most else last


def either(language: str, parts: Sequence[str]) -> str:
    return listed(language, parts, {"en": "or", "es": "o"}[language])


__all__ = [
    "about",
    "either",
    "kind_of",
    "layout_line",
    "listed",
    "missing",
    "say",
    "slot_values",
    "spoken_day",
    "spoken_time",
]
