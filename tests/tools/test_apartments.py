"""Apartments and their tours: what each tool answers, in both languages, and what it leaves as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from redis.asyncio import Redis

from relay.jobs import Jobs
from tests.tools.house import ANN, CONTEXT, HOUSE, MONDAY, Away, House, named, slot
from tools.apartments import add_apartments
from tools.listings import APARTMENT_TYPES, TOUR_TYPES, InquiryType
from tools.registry import ToolRegistry
from tools.texting import Texting

SPANISH = replace(CONTEXT, language="es-US")
ANONYMOUS = replace(CONTEXT, person="anonymous:CA1", address="")
NOBODY = replace(CONTEXT, person="", address="")


@pytest.fixture
def house(redis: Redis) -> House:
    return House(redis)


def kinds(result: dict[str, Any]) -> list[str]:
    return [each["apartment_type"] for each in result["apartments"]]


# -- list_apartments


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, ["studio", "one-bedroom", "two-bedroom", "three-bedroom"]),
        ({"budget": 1300}, ["studio", "one-bedroom"]),
        ({"budget": "$1,300.50", "date": "any day"}, ["studio", "one-bedroom"]),
        ({"budget": None, "date": "", "apartment_type": "2 bedroom"}, ["two-bedroom"]),
        ({"date": "tomorrow"}, ["studio"]),
        ({"date": "the fifteenth of December"}, ["studio", "one-bedroom", "two-bedroom"]),
        ({"date": "2027-01-01", "budget": 2000}, ["studio", "one-bedroom", "two-bedroom"]),
        ({"apartment_type": "two-bedroom"}, ["two-bedroom"]),
        ({"apartment_type": "two-bedroom", "budget": 1799}, []),
    ],
)
async def test_apartments_are_filtered(house: House, wish: dict[str, Any], expected: list[str]) -> None:
    """By the day of moving in, the rent and the kind; a line for each, or that nothing matches."""
    result = await house.result("list_apartments", **wish)
    assert kinds(result) == expected
    assert ("No apartment matches" in result["message"]) is not bool(expected)
    for kind in expected:
        assert kind in result["message"]


async def test_a_line_tells_rent_day_and_features(house: House) -> None:
    """In the caller's language."""
    english = await house.result("list_apartments", apartment_type="one-bedroom")
    assert english["message"] == (
        "The one-bedroom is 1,200 dollars a month, has 680 square feet and a balcony, a dishwasher and a walk-in "
        "closet, and is available from Tuesday, December 1."
    )
    spanish = await house.result("list_apartments", SPANISH, apartment_type="studio")
    assert spanish["message"].startswith("El estudio cuesta 1,050 dólares al mes")
    assert spanish["message"].endswith("está disponible ahora mismo.")


def test_no_apartment_is_free_in_the_past() -> None:
    """Whatever the day, each can be moved into on that day or later; two calls in a row hear the same day."""
    today = MONDAY
    for _ in range(400):
        tomorrow = today + timedelta(1)
        for layout in HOUSE.layouts.values():
            first = layout.move_in.after(today)
            assert first >= today
            if layout.move_in.day:
                assert first.day == layout.move_in.day
                assert today.day == layout.move_in.day or layout.move_in.after(tomorrow) == first
        today = tomorrow


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"date": "yesterday"}, "That day has passed. Which day would you like?"),
        ({"date": "2026-02-30"}, "There is no such date"),
        ({"date": "one of these days"}, "cannot be understood"),
        ({"budget": 0}, "budget must be more than 0"),
        ({"budget": "cheap"}, "budget"),
        ({"apartment_type": "castle"}, "'studio', 'one-bedroom'"),
    ],
)
async def test_a_wish_that_cannot_be(house: House, wish: dict[str, Any], says: str) -> None:
    """The model is told what is wrong, and has a question for the caller."""
    outcome = await house.run("list_apartments", **wish)
    assert not outcome.ok and says in outcome.output


# -- check_tours


async def test_what_is_missing_is_named(house: House) -> None:
    """Nothing is looked up before the day and both kinds are known."""
    result = await house.result("check_tours", apartment_type="studio", date="")
    assert result["missing_fields"] == ["date", "tour_type"]
    assert result["message"] == (
        "To look for a tour I still need the day and whether the tour is to be in person or self-guided."
    )
    result = await house.result("check_tours", SPANISH)
    assert result["missing_fields"] == ["date", "tour_type", "apartment_type"]
    assert "el tipo de apartamento" in result["message"]


async def check(house: House, **changes: Any) -> dict[str, Any]:
    wish = {"date": "tomorrow", "time": "ten", "tour_type": "in-person", "apartment_type": "studio"} | changes
    return await house.result("check_tours", **{name: value for name, value in wish.items() if value is not None})


async def test_the_four_steps_of_looking(house: House) -> None:
    """The slot itself, other times of its day, the same on other days, none."""
    await house.open(slot(1, "10:00"), slot(1, "15:30"), slot(2, "09:00"), slot(1, "10:00", "one-bedroom"))
    found = await check(house)
    assert (found["match"], found["available"], found["available_slots"]) == (
        "exact",
        True,
        [{"date": "2026-11-24", "time": "10:00 AM", "tour_type": "in-person", "apartment_type": "studio"}],
    )
    assert (
        found["message"]
        == "Yes, an in-person tour of the studio is open on Tuesday, November 24 at 10:00 AM. Shall I book it?"
    )
    found = await check(house, time="half past two")
    assert (found["match"], [each["time"] for each in found["available_slots"]]) == (
        "same_day",
        ["10:00 AM", "3:30 PM"],
    )
    assert found["message"].startswith("There is nothing at 2:30 PM, but on Tuesday, November 24 there is")
    found = await check(house, time=None)
    assert found["match"] == "same_day"
    assert "at 10:00 AM or 3:30 PM. Would that suit you?" in found["message"]
    found = await check(house, date="Sunday")
    assert (found["match"], len(found["available_slots"])) == ("other_dates", 3)
    assert "on Tuesday, November 24 at 10:00 AM, on Tuesday, November 24 at 3:30 PM or on Wednesday" in found["message"]
    found = await check(house, tour_type="self-guided")
    assert (found["match"], found["available_slots"]) == ("none", [])
    assert found["message"] == "I am sorry, there is no self-guided tour of the studio in the coming days."


async def test_ones_own_tour_is_not_offered_again(house: House) -> None:
    """It is told as the caller's; to others it is not open."""
    await house.open(slot(1))
    await house.tours.book(slot(1), ANN)
    assert (await check(house))["match"] == "yours"
    other = await house.result("check_tours", ANONYMOUS, **named(slot(1)))
    assert (other["match"], other["available_slots"]) == ("none", [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"date": "yesterday"}, "Ask the caller: That day has passed."),
        ({"date": "2026-11-22"}, "Today is 2026-11-23"),
        ({"date": "the day of the dog"}, "Ask the caller: Which day would you like?"),
        ({"date": "Friday, November 24"}, "could be two days"),
        ({"time": "seven"}, "Do you mean the morning or the afternoon? Tours begin between 8:00 AM and 4:30 PM."),
        ({"time": "27:00"}, "There is no such time"),
        ({"time": "soonish"}, "Ask the caller: At what time would you like to come?"),
        ({"tour_type": "by helicopter"}, "'in-person' or 'self-guided'"),
    ],
)
@pytest.mark.parametrize("tool", ["check_tours", "schedule_tour", "send_tour_sms"])
async def test_days_and_times_that_cannot_be(
    house: House, redis: Redis, tool: str, changes: dict[str, Any], says: str
) -> None:
    """A message the model can act on with a question for the caller; storage stays as it was."""
    await house.open(slot(1))
    before = [await redis.hgetall(key) for key in sorted(await redis.keys("*"))]
    outcome = await house.run(tool, **(named(slot(1)) | changes))
    assert not outcome.ok and says in outcome.output
    assert [await redis.hgetall(key) for key in sorted(await redis.keys("*"))] == before


async def test_questions_are_in_the_callers_language(house: House) -> None:
    """So is all that is found."""
    await house.open(slot(1, "13:00", "two-bedroom"))
    wish = {"date": "mañana", "time": "a la una", "tour_type": "in-person", "apartment_type": "two-bedroom"}
    found = await house.result("check_tours", SPANISH, **wish)
    assert found["message"] == (
        "Sí, hay una visita en persona del apartamento de dos dormitorios el martes 24 de noviembre a la 1:00 de la "
        "tarde. ¿La reservo?"
    )
    asked = await house.run("check_tours", SPANISH, **(wish | {"time": "las siete"}))
    assert "Las visitas empiezan entre las 8:00 de la mañana y las 4:30 de la tarde." in asked.output


# -- schedule_tour


async def test_a_tour_is_booked(house: House) -> None:
    """Under the caller's person, told as it is, with the offer of a text message; the same wish again is theirs."""
    await house.open(slot(1, "14:30"))
    wish = {"date": "tomorrow", "time": "half past two", "tour_type": "in-person", "apartment_type": "studio"}
    booked = await house.result("schedule_tour", **wish)
    assert (booked["available"], booked["booked"], booked["time"]) == (True, True, "2:30 PM")
    assert booked["message"] == (
        "You are booked for an in-person tour of the studio on Tuesday, November 24 at 2:30 PM. "
        "Would you like the details in a text message?"
    )
    assert await house.tours.of(ANN) == [slot(1, "14:30")]
    again = await house.result("schedule_tour", **wish)
    assert again["already_yours"] and again["message"].startswith("You have already booked")


async def test_a_tour_that_was_taken(house: House) -> None:
    """It is not promised; what else there is comes with the answer."""
    await house.open(slot(1), slot(2))
    await house.tours.book(slot(1), "phone:+15550000001")
    lost = await house.result("schedule_tour", **named(slot(1)))
    assert (lost["available"], lost["booked"]) == (False, False)
    assert [each["date"] for each in lost["available_slots"]] == ["2026-11-25"]
    assert lost["message"].startswith("That tour is not available. There is nothing on Tuesday, November 24, but")
    assert await house.tours.of(ANN) == []


async def test_a_tour_must_exist(house: House) -> None:
    """To the minute; another one of its day is offered and not taken."""
    await house.open(slot(1, "10:00"))
    lost = await house.result("schedule_tour", **named(slot(1, "10:30")))
    assert (lost["booked"], lost["available_slots"][0]["time"]) == (False, "10:00 AM")
    assert await house.tours.open() == [slot(1, "10:00")]


async def test_a_tour_that_has_begun(house: House) -> None:
    """Is none any more."""
    await house.open(slot(1, "10:00"))
    house.clock.now += timedelta(hours=22, minutes=1)
    assert (await house.result("schedule_tour", **named(slot(1))))["booked"] is False


async def test_anonymous_callers_are_people_of_their_own(house: House) -> None:
    """They book and see their tours, and no other stranger's; nobody offers them a text message."""
    await house.open(slot(1), slot(2))
    booked = await house.result("schedule_tour", ANONYMOUS, **named(slot(1)))
    assert booked["booked"] and "text message" not in booked["message"]
    assert len((await house.result("my_tours", ANONYMOUS))["tours"]) == 1
    assert (await house.result("my_tours", replace(ANONYMOUS, person="anonymous:CA2")))["tours"] == []


async def test_a_caller_who_is_nobody(house: House) -> None:
    """Is told that a booking needs a number."""
    await house.open(slot(1))
    booked = await house.result("schedule_tour", NOBODY, **named(slot(1)))
    assert booked == {"booked": False, "message": "To book a tour I need a phone number to keep it under."}
    assert (await house.result("my_tours", NOBODY))["tours"] == []
    assert await house.tours.open() == [slot(1)]


# -- my_tours


async def test_ones_tours_are_told(house: House) -> None:
    """Those to come; without any, an offer to book."""
    await house.open(slot(1), slot(2, kind="three-bedroom", tour="self-guided"))
    none = await house.result("my_tours")
    assert none == {"tours": [], "message": "You have no tours booked. Would you like to book one?"}
    for each in (slot(1), slot(2, kind="three-bedroom", tour="self-guided")):
        await house.tours.book(each, ANN)
    mine = await house.result("my_tours")
    assert len(mine["tours"]) == 2
    assert mine["message"] == (
        "You have booked an in-person tour of the studio on Tuesday, November 24 at 10:00 AM and a self-guided tour of "
        "the three-bedroom on Wednesday, November 25 at 10:00 AM."
    )
    house.clock.now += timedelta(days=1)
    assert len((await house.result("my_tours", SPANISH))["tours"]) == 1


# -- apartment_info


@pytest.mark.parametrize("language", ["en-US", "es-US"])
@pytest.mark.parametrize("inquiry", get_args(InquiryType))
async def test_every_question_has_an_answer(house: House, inquiry: str, language: str) -> None:
    """For each layout by itself, or for all of them joined; always sentences."""
    context = replace(CONTEXT, language=language)
    everything = (await house.result("apartment_info", context, inquiry_type=inquiry))["message"]
    for kind in APARTMENT_TYPES:
        one = (await house.result("apartment_info", context, inquiry_type=inquiry, apartment_type=kind))["message"]
        assert one in everything and one.endswith(".")


async def test_fees_and_the_address_are_sentences(house: House) -> None:
    """Not the data they are made of."""
    fees = await house.result("apartment_info", inquiry_type="fees", apartment_type="two-bedroom")
    assert fees["message"] == "For the two-bedroom, the application fee is 60 dollars and the deposit is 1,300 dollars."
    place = await house.result("apartment_info", inquiry_type="location")
    assert place["message"] == "Parkview Apartments is at 2450 Larkspur Lane, Missoula, Montana 59801."
    assert not (await house.run("apartment_info", inquiry_type="ghosts")).ok


# -- send_tour_sms


async def test_the_details_of_a_booked_tour_are_sent(house: House) -> None:
    """To the caller's number, with their first name, or to a friend."""
    await house.open(slot(1, "14:30"))
    await house.tours.book(slot(1, "14:30"), ANN)
    sent = await house.result("send_tour_sms", **named(slot(1, "14:30")))
    assert (sent["status"], house.texts.sent[0][0]) == ("sent", "+15551234567")
    assert house.texts.sent[0][1] == (
        "Hello friend, an in-person tour of the studio at Parkview Apartments is booked for you on Tuesday, November "
        "24 at 2:30 PM. You find us at 2450 Larkspur Lane, Missoula, Montana 59801. Call us if you need another time."
    )
    await house.people.update(ANN, first_name="Ann")
    await house.result("send_tour_sms", SPANISH, **named(slot(1, "14:30")))
    assert house.texts.sent[1][1].startswith("Hola, Ann: tiene reservada una visita en persona del estudio")


async def test_only_ones_own_booking_is_sent(house: House) -> None:
    """Not an open tour, not another person's, not one that does not exist; nothing without a number."""
    await house.open(slot(1), slot(2))
    await house.tours.book(slot(2), "phone:+15550000001")
    for each in (slot(1), slot(2), slot(3)):
        outcome = await house.run("send_tour_sms", **named(each))
        assert not outcome.ok and "has not booked this tour" in outcome.output
    for context in (ANONYMOUS, NOBODY):
        assert "withheld" in (await house.run("send_tour_sms", context, **named(slot(1)))).output
    assert house.texts.sent == []


async def test_a_text_message_that_fails(house: House) -> None:
    """Is told as it is."""
    await house.open(slot(1))
    await house.tours.book(slot(1), ANN)
    house.texts.refuse = "The number takes no messages."
    outcome = await house.run("send_tour_sms", **named(slot(1)))
    assert not outcome.ok and "The number takes no messages." in outcome.output


@pytest.mark.parametrize("texting", [None, Texting(None, None, None, Jobs())], ids=["none", "no sender"])
async def test_a_line_without_text_messages(house: House, texting: Texting | None) -> None:
    """Offers none and says so."""
    registry = ToolRegistry()
    add_apartments(registry, HOUSE, house.tours, house.people, texting)
    house.registry = registry
    await house.open(slot(1))
    assert "text message" not in (await house.result("schedule_tour", **named(slot(1))))["message"]
    assert "No text messages can be sent" in (await house.run("send_tour_sms", **named(slot(1)))).output


# -- a store that does not answer, and what a model is shown


@pytest.mark.parametrize(
    ("tool", "works", "says"),
    [
        ("check_tours", (), "cannot be looked up"),
        ("my_tours", (), "cannot be looked up"),
        ("schedule_tour", (), "not certain that the tour was booked"),
        ("schedule_tour", ("book",), "That tour was not booked"),
        ("send_tour_sms", (), "no text message was sent"),
    ],
)
async def test_a_store_that_is_away(house: House, tool: str, works: tuple[str, ...], says: str) -> None:
    """Nothing is promised, and the model knows what is certain."""
    registry = ToolRegistry()
    away: Any = Away(house.tours, *works)
    add_apartments(registry, HOUSE, away, away, house.texts)
    house.registry = registry
    outcome = await house.run(tool, **({} if tool == "my_tours" else named(slot(1))))
    assert not outcome.ok and says in outcome.output


async def test_a_name_that_cannot_be_looked_up(house: House) -> None:
    """The message is sent all the same."""
    registry = ToolRegistry()
    away: Any = Away(house.tours)
    add_apartments(registry, HOUSE, house.tours, away, house.texts)
    house.registry = registry
    await house.open(slot(1))
    await house.tours.book(slot(1), ANN)
    assert (await house.result("send_tour_sms", **named(slot(1))))["status"] == "sent"


def test_what_a_model_is_shown(house: House) -> None:
    """Six tools by their names; kinds are given as choices; only what must be is required; what lasts is marked."""
    names = ("list_apartments", "check_tours", "schedule_tour", "my_tours", "apartment_info", "send_tour_sms")
    specs = {spec.name: spec for spec in house.registry.specs(names)}
    schedule: Any = specs["schedule_tour"].parameters
    assert schedule["required"] == ["date", "time", "tour_type", "apartment_type"]
    assert schedule["properties"]["apartment_type"]["enum"] == list(APARTMENT_TYPES)
    assert schedule["properties"]["tour_type"]["enum"] == list(TOUR_TYPES)
    assert "required" not in specs["check_tours"].parameters
    policies = {name: house.registry.policy(name) for name in names}
    assert [name for name in names if policies[name].side_effect] == ["schedule_tour", "send_tour_sms"]
    assert [name for name in names if policies[name].confirm] == ["send_tour_sms"]
