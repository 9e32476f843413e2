"""Apartments to let: what there is, tours of it, and the caller's own tours.

Every result has a ``message``, a sentence in the caller's language that may be said as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Protocol

from relay.errors import StoreError, ToolError, ToolRetry
from relay.store.people import Person
from relay.store.tours import Booked, Slot
from relay.toolbox import ToolContext
from tools.apartment_choices import AnyApartment, AnyTour, Apartment, Inquiry, Tour
from tools.apartment_texts import about, layout_line, missing, say, slot_values
from tools.clock_words import leaves_time_open
from tools.date_words import leaves_day_open
from tools.listings import Layout, Listings
from tools.registry import ToolRegistry, ToolResult
from tools.texting import DEADLINE
from tools.tour_search import Wish, as_data, booked, day_from, find, sentence, time_from
from tools.words import language_of

LOOK_UPS = 4.0
"""Seconds the booking and the name may take before a message is sent, which has a deadline of its own."""

TOUR_TOOLS = ("check_tours", "schedule_tour", "my_tours", "send_tour_sms")
"""Those that need tours to be made."""


class Tours(Protocol):
    """Where tours are kept (``relay/store/tours.py``)."""

    def now(self) -> datetime: ...

    def open(self) -> Awaitable[list[Slot]]: ...

    def of(self, person: str) -> Awaitable[list[Slot]]: ...

    def book(self, slot: Slot, person: str) -> Awaitable[Booked]: ...


class People(Protocol):
    """Where what is known of people is kept (``relay/store/people.py``)."""

    def get(self, person: str) -> Awaitable[Person | None]: ...


class Texting(Protocol):
    """Sends text messages to the person a call of a tool is about (``tools/texting.py``)."""

    @property
    def can_text(self) -> bool: ...

    async def text(self, context: ToolContext, body: str) -> None:
        """Returns once the message was accepted. Raises ToolError with what to tell the caller."""
        ...


class Apartments:
    """The tools, over what they need. ``texting`` None: text messages cannot be sent."""

    def __init__(self, listings: Listings, tours: Tours, people: People, texting: Texting | None = None) -> None:
        self._listings = listings
        self._tours = tours
        self._people = people
        self._texting = texting if texting is not None and texting.can_text else None

    async def list_apartments(
        self,
        context: ToolContext,
        date: str | None = None,
        budget: float | None = None,
        apartment_type: AnyApartment = None,
    ) -> dict[str, Any]:
        """List the apartments to let. Leave out whatever the caller has not said.

        Args:
            date: The last day on which the caller wants to move in, as YYYY-MM-DD or as the caller said it.
            budget: The most the caller wants to pay a month, in dollars.
            apartment_type: The kind of apartment the caller wants.
        """
        language, today = language_of(context), self._today()
        latest = day_from(date, today, language) if date and not leaves_day_open(date) else None
        if budget is not None and budget <= 0:
            raise ToolRetry("budget must be more than 0: ask the caller what they can pay a month.")
        fitting = {
            kind: layout
            for kind, layout in self._listings.layouts.items()
            if (apartment_type is None or kind == apartment_type)
            and (budget is None or layout.rent <= budget)
            and (latest is None or layout.move_in.after(today) <= latest)
        }
        lines = [layout_line(language, kind, layout, today) for kind, layout in fitting.items()]
        return {
            "apartments": [self._layout_data(language, kind, layout, today) for kind, layout in fitting.items()],
            "message": " ".join(lines) or say(language, "nothing"),
        }

    async def check_tours(
        self,
        context: ToolContext,
        date: str | None = None,
        time: str | None = None,
        tour_type: AnyTour = None,
        apartment_type: AnyApartment = None,
    ) -> dict[str, Any]:
        """Find out which tours can be booked. Always use this before schedule_tour. It needs a day, a kind of tour and
        a kind of apartment; leave out what the caller has not said, and it tells what is missing.

        Args:
            date: The day, as YYYY-MM-DD or as the caller said it.
            time: The time of day, as the caller said it; leave it out for any time, and for "in the morning".
            tour_type: With somebody of the house, or alone.
            apartment_type: The kind of apartment to see.
        """
        language, today = language_of(context), self._today()
        if date and leaves_day_open(date):
            date = None
        if not date or tour_type is None or apartment_type is None:
            given = {"date": date, "tour_type": tour_type, "apartment_type": apartment_type}
            fields = [name for name, value in given.items() if not value]
            return {"missing_fields": fields, "message": missing(language, fields)}
        at = time_from(time, today, language) if time and not leaves_time_open(time) else None
        wish = Wish(day_from(date, today, language), at, apartment_type, tour_type)
        with _away("The tours cannot be looked up just now. Tell the caller, and offer to try again in a moment."):
            return await self._found(context, wish)

    async def schedule_tour(
        self, context: ToolContext, date: str, time: str, tour_type: Tour, apartment_type: Apartment
    ) -> dict[str, Any] | ToolResult:
        """Book a tour for the caller. Use it alone, after check_tours has shown that exactly this tour is open and the
        caller has said that they want it.

        Args:
            date: The day, as check_tours gave it.
            time: The time of day, as check_tours gave it.
            tour_type: With somebody of the house, or alone.
            apartment_type: The kind of apartment to see.
        """
        language, today = language_of(context), self._today()
        slot = self._slot(language, today, date, time, tour_type, apartment_type)
        if not context.person:
            return {"booked": False, "message": say(language, "number")}
        with _away(
            "It is not certain that the tour was booked. Use my_tours to find out before you say anything of it."
        ):
            answer = await self._tours.book(slot, context.person)
        values = slot_values(language, slot, today)
        match answer:
            case "booked":
                output = {
                    "available": True,
                    "booked": True,
                    **as_data(slot),
                    "message": say(language, "booked", **values),
                }
                if not context.address or self._texting is None:
                    return output
                output["message"] += f" {say(language, 'offer')}"
                return ToolResult(output, offers=(("send_tour_sms", as_data(slot)),))
            case "yours":
                message = say(language, "yours", **values)
                return {"available": True, "booked": True, "already_yours": True, **as_data(slot), "message": message}
        with _away("That tour was not booked: it is not available. Other tours cannot be looked up just now."):
            found = await self._found(context, Wish(slot.day, slot.at, slot.apartment_type, slot.tour_type))
        return {
            "available": False,
            "booked": False,
            "available_slots": found["available_slots"],
            "message": say(language, "gone", other=found["message"]),
        }

    async def my_tours(self, context: ToolContext) -> dict[str, Any]:
        """List the tours the caller has booked."""
        language, today = language_of(context), self._today()
        if not context.person:
            return {"tours": [], "message": say(language, "number")}
        with _away("The caller's tours cannot be looked up just now. Tell the caller, and offer to try again."):
            slots = await self._tours.of(context.person)
        return {"tours": [as_data(slot) for slot in slots], "message": booked(language, slots, today)}

    async def apartment_info(
        self, context: ToolContext, inquiry_type: Inquiry, apartment_type: AnyApartment = None
    ) -> dict[str, Any]:
        """Answer a question about the apartments or the house. Leave apartment_type out for all of them.

        Args:
            inquiry_type: What the question is about.
            apartment_type: The kind of apartment it is about.
        """
        language = language_of(context)
        if inquiry_type == "location":
            message = say(language, "location", house=self._listings.name, place=self._listings.location)
            return {"inquiry_type": inquiry_type, "message": message}
        kinds = [kind for kind in self._listings.layouts if apartment_type in (None, kind)]
        if not kinds:
            raise ToolRetry(f"There is no {apartment_type} in this house. Ask the caller about another one.")
        texts = [about(language, inquiry_type, kind, self._listings.layouts[kind]) for kind in kinds]
        return {"inquiry_type": inquiry_type, "apartment_types": kinds, "message": " ".join(texts)}

    async def send_tour_sms(
        self, context: ToolContext, date: str, time: str, tour_type: Tour, apartment_type: Apartment
    ) -> dict[str, Any]:
        """Send the details of a tour the caller has booked to their phone, as a text message. Only after the booking.

        Args:
            date: The day, as it was booked.
            time: The time of day, as it was booked.
            tour_type: With somebody of the house, or alone.
            apartment_type: The kind of apartment.
        """
        language, today = language_of(context), self._today()
        slot = self.check_text(context, date, time, tour_type, apartment_type)
        assert self._texting is not None
        with _away("The booking cannot be looked up just now, so no text message was sent. Offer to try again."):
            own = await self._tours.of(context.person)
        if slot not in own:
            raise ToolError(
                "The caller has not booked this tour, so no text message was sent. Use my_tours to see what is booked."
            )
        body = say(
            language,
            "text",
            **slot_values(language, slot, today),
            who=await self._first_name(context) or say(language, "friend"),
            house=self._listings.name,
            place=self._listings.location,
        )
        await self._texting.text(context, body)
        return {"status": "sent", "message": say(language, "sent")}

    def check_text(
        self, context: ToolContext, date: str, time: str, tour_type: Tour, apartment_type: Apartment
    ) -> Slot:
        """The tour named. Raises ToolError where there is none such, or no text message can reach the caller."""
        # Errors, and not results: what was not sent may be asked for again.
        if self._texting is None:
            raise ToolError("No text messages can be sent from this line. Say the details of the tour instead.")
        if not context.person or not context.address:
            raise ToolError("The caller's number is withheld, so no text message can be sent. Say the details instead.")
        return self._slot(language_of(context), self._today(), date, time, tour_type, apartment_type)

    async def _found(self, context: ToolContext, wish: Wish) -> dict[str, Any]:
        """What is open for this wish. Raises StoreError."""
        open_slots = await self._tours.open()
        own = await self._tours.of(context.person) if context.person else []
        found = find(wish, open_slots, own)
        return {
            "available": found.match == "exact",
            "match": found.match,
            "available_slots": [as_data(slot) for slot in found.slots] if found.match != "yours" else [],
            "message": sentence(language_of(context), wish, found, self._today()),
        }

    async def _first_name(self, context: ToolContext) -> str:
        """ "" where it is not known, or cannot be looked up: the message is sent all the same."""
        try:
            person = await self._people.get(context.person)
        except StoreError:
            return ""
        return person.first_name if person else ""

    def _slot(self, language: str, today: date, day: str, at: str, tour_type: str, apartment_type: str) -> Slot:
        """The tour named. Raises ToolRetry with a question for the caller."""
        return Slot(day_from(day, today, language), time_from(at, today, language), apartment_type, tour_type)

    def _today(self) -> date:
        return self._tours.now().date()

    def _layout_data(self, language: str, kind: str, layout: Layout, today: date) -> dict[str, Any]:
        return {
            "apartment_type": kind,
            "rent": layout.rent,
            "square_feet": layout.square_feet,
            "available_from": layout.move_in.after(today).isoformat(),
            "features": layout.features.of(language),
        }


def add_apartments(
    registry: ToolRegistry, listings: Listings, tours: Tours, people: People, texting: Texting | None = None
) -> None:
    tools = Apartments(listings, tours, people, texting)
    for look_up in (tools.list_apartments, tools.check_tours, tools.my_tours, tools.apartment_info):
        registry.add(look_up)
    registry.add(tools.schedule_tour, side_effect=True)
    registry.add(
        tools.send_tour_sms, confirm=True, deadline=DEADLINE + LOOK_UPS, expected=1.0, objects=tools.check_text
    )


@contextmanager
def _away(told: str) -> Iterator[None]:
    """Tells the model this where the store does not answer."""
    try:
        yield
    except StoreError as error:
        raise ToolError(told) from error


__all__ = ["TOUR_TOOLS", "Apartments", "Texting", "add_apartments"]
