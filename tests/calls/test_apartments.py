"""The tools for apartments in a call: asked for by a model through the real websocket, kept in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from relay.store.tours import Slot, Tours
from tests.calls.checks import heard, in_order, shown
from tests.fakes.twilio_rest import TwilioRestServer, twilio_rest
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running, write_agent
from tests.tools.house import DENVER, named

AGENT = """
title = "Test"
tools = ["list_apartments", "check_tours", "schedule_tour", "my_tours", "apartment_info", "send_tour_sms"]
[[languages]]
code = "es-US"
[keys."1"]
tool = "list_apartments"
[keys."2"]
tool = "my_tours"
[says]
fillers = []
[limits]
after_interrupt = 0.2
"""
ANN = "+15555550123"
WISH = {"tour_type": "in-person", "apartment_type": "studio"}


class Line:
    """The application, the tours it keeps, and Twilio's side of text messages."""

    def __init__(self, app: Running, twilio: TwilioRestServer) -> None:
        self.app = app
        self.twilio = twilio
        self.tours = Tours(app.redis, DENVER)

    async def open(self, count: int = 1) -> list[Slot]:
        """The tours in person of a studio that the application has made."""
        async with asyncio.timeout(20):
            while True:
                slots = [each for each in await self.tours.open() if each.apartment_type == "studio"]
                if found := [each for each in slots if each.tour_type == "in-person"]:
                    assert len(found) >= count
                    return found[:count]
                await asyncio.sleep(0.01)

    async def ask(self, call: Caller, tool: str, **arguments: Any) -> dict[str, Any]:
        """The caller says something, the model uses the tool: what it is told then."""
        asked = len(self.app.model.asked)
        self.app.model.script(Reply(tools=[ToolUse(tool, orjson.dumps(arguments).decode())]), Reply("So it is."))
        await call.say("Please")
        assert await call.reply() == "So it is."
        await in_order(call)
        results = [text for kind, text in shown(await self.app.model.received(asked + 2)) if kind == "result"]
        told: dict[str, Any] = orjson.loads(results[-1])
        assert told["message"]
        return told


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    """With an account that may send text messages."""
    agents = write_agent(tmp_path / "agents", AGENT)
    async with (
        twilio_rest() as twilio,
        running(redis_url, tmp_path / "data", agents=agents, environ=twilio.environ) as app,
    ):
        yield Line(app, twilio)


async def test_listing_apartments(line: Line) -> None:
    """All of them, those that match, none, and a wish that cannot be."""
    async with Caller(line.app.url, pace=FAST) as call:
        assert len((await line.ask(call, "list_apartments"))["apartments"]) == 4
        cheap = await line.ask(call, "list_apartments", budget=1100)
        assert [each["apartment_type"] for each in cheap["apartments"]] == ["studio"]
        assert "No apartment matches" in (await line.ask(call, "list_apartments", budget=100))["message"]
        assert (await line.ask(call, "list_apartments", date="yesterday"))["error"] == "try_again"
        assert (await line.ask(call, "list_apartments", apartment_type="castle"))["error"] == "wrong_arguments"


async def test_asking_about_apartments(line: Line) -> None:
    """One kind, all of them, and a question there is no answer to."""
    async with Caller(line.app.url, pace=FAST) as call:
        one = await line.ask(call, "apartment_info", inquiry_type="fees", apartment_type="studio")
        assert one["message"] == "For the studio, the application fee is 50 dollars and the deposit is 600 dollars."
        assert one["message"] in (await line.ask(call, "apartment_info", inquiry_type="fees"))["message"]
        assert (await line.ask(call, "apartment_info", inquiry_type="ghosts"))["error"] == "wrong_arguments"
        assert (await line.ask(call, "apartment_info"))["error"] == "wrong_arguments"


async def test_looking_for_a_tour(line: Line) -> None:
    """What is missing, what is open, what else there is, and words that are no day and no time."""
    (slot,) = await line.open()
    async with Caller(line.app.url, pace=FAST) as call:
        missing = await line.ask(call, "check_tours", apartment_type="studio")
        assert missing["missing_fields"] == ["date", "tour_type"]
        found = await line.ask(call, "check_tours", **named(slot))
        assert (found["match"], found["available_slots"][0]["date"]) == ("exact", slot.day.isoformat())
        other = "9:00 PM"
        assert (await line.ask(call, "check_tours", **(named(slot) | {"time": other})))["match"] == "same_day"
        assert (await line.ask(call, "check_tours", date="in two months", **WISH))["error"] == "try_again"
        assert (await line.ask(call, "check_tours", date="in six weeks", **WISH))["match"] == "other_dates"
        assert (await line.ask(call, "check_tours", **(named(slot) | {"time": "seven"})))["error"] == "try_again"
        past = await line.ask(call, "check_tours", date="2020-02-29", **WISH)
        assert "That day has passed" in past["message"]


async def test_booking_a_tour(line: Line) -> None:
    """It is the caller's then, in Redis and in my_tours; asked for again it is theirs already."""
    (slot,) = await line.open()
    async with Caller(line.app.url, pace=FAST, from_=ANN) as call:
        assert "no tours booked" in (await line.ask(call, "my_tours"))["message"]
        booked = await line.ask(call, "schedule_tour", **named(slot))
        assert (booked["available"], booked["booked"]) == (True, True)
        assert await line.tours.of(f"phone:{ANN}") == [slot]
        assert (await line.ask(call, "schedule_tour", **named(slot)))["already_yours"]
        assert [each["date"] for each in (await line.ask(call, "my_tours"))["tours"]] == [slot.day.isoformat()]


async def test_one_tour_and_two_callers(line: Line) -> None:
    """The second is told that it is gone, with what is open instead, and has nothing booked."""
    slot, other = await line.open(2)
    async with Caller(line.app.url, pace=FAST, from_=ANN) as first:
        assert (await line.ask(first, "schedule_tour", **named(slot)))["booked"]
    async with Caller(line.app.url, pace=FAST, from_="anonymous") as second:
        lost = await line.ask(second, "schedule_tour", **named(slot))
        assert (lost["available"], lost["booked"]) == (False, False)
        assert lost["available_slots"][0]["date"] == other.day.isoformat()
        assert (await line.ask(second, "my_tours"))["tours"] == []
        assert (await line.ask(second, "schedule_tour", **named(other)))["booked"]
        person = f"anonymous:{second.record.call_sid}"
    assert (await line.tours.of(f"phone:{ANN}"), await line.tours.of(person)) == ([slot], [other])


async def test_a_booking_that_cannot_be(line: Line) -> None:
    """Arguments that are missing or no tour at all leave everything as it was."""
    (slot,) = await line.open()
    before = await line.tours.open()
    async with Caller(line.app.url, pace=FAST, from_=ANN) as call:
        wrong = await line.ask(call, "schedule_tour", **WISH)
        assert wrong["error"] == "wrong_arguments" and "date" in wrong["message"] and "time" in wrong["message"]
        assert (await line.ask(call, "schedule_tour", **(named(slot) | {"date": "gestern"})))["error"] == "try_again"
        late = await line.ask(call, "schedule_tour", **(named(slot) | {"time": "9 pm"}))
        assert (late["available"], late["booked"]) == (False, False)
    assert await line.tours.open() == before


async def test_texting_a_booked_tour(line: Line) -> None:
    """Offered with the booking, sent once the caller has agreed, asked about anew, and never for what is not booked."""
    slot, other = await line.open(2)
    async with Caller(line.app.url, pace=FAST, from_=ANN) as call:
        booked = await line.ask(call, "schedule_tour", **named(slot))
        assert booked["message"].endswith("Would you like the details in a text message?")
        assert line.twilio.messages() == []
        agreed = {name: booked[name] for name in named(slot)}
        assert (await line.ask(call, "send_tour_sms", **agreed))["status"] == "sent"
        assert (await line.ask(call, "send_tour_sms", **agreed))["status"] == "confirmation_needed"
        (form,) = line.twilio.messages()
        assert form["To"] == ANN and form["Body"].startswith("Hello friend, an in-person tour of the studio")
        await line.ask(call, "send_tour_sms", **named(other))
        told = await line.ask(call, "send_tour_sms", **named(other))
        assert told["error"] == "failed" and "has not booked this tour" in told["message"]
        assert len(line.twilio.messages()) == 1


async def test_a_text_message_that_is_refused(line: Line) -> None:
    """Is told as it is; the tour stays booked."""
    (slot,) = await line.open()
    line.twilio.fail, line.twilio.for_good = [(400, 21610)], True
    async with Caller(line.app.url, pace=FAST, from_=ANN) as call:
        await line.ask(call, "schedule_tour", **named(slot))
        await line.ask(call, "send_tour_sms", **named(slot))
        told = await line.ask(call, "send_tour_sms", **named(slot))
        assert told["error"] == "failed" and "was not sent" in told["message"]
        assert (await line.ask(call, "my_tours"))["tours"]


async def test_texting_a_caller_without_a_number(line: Line) -> None:
    """It is not offered, and the model is told that it cannot be before it asks."""
    (slot,) = await line.open()
    async with Caller(line.app.url, pace=FAST, from_="anonymous") as call:
        assert "text message" not in (await line.ask(call, "schedule_tour", **named(slot)))["message"]
        assert "withheld" in (await line.ask(call, "send_tour_sms", **named(slot)))["message"]
    assert line.twilio.messages() == []


async def test_a_line_that_sends_no_texts(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Without an account: it offers none, says so when asked, and goes on."""
    async with (
        twilio_rest() as twilio,
        running(redis_url, tmp_path / "data", agents=write_agent(tmp_path / "agents", AGENT)) as app,
        Caller(app.url, pace=FAST, from_=ANN) as call,
    ):
        line = Line(app, twilio)
        (slot,) = await line.open()
        assert "text message" not in (await line.ask(call, "schedule_tour", **named(slot)))["message"]
        told = await line.ask(call, "send_tour_sms", **named(slot))
        assert told["error"] == "failed" and "No text messages can be sent" in told["message"]


async def test_a_caller_who_speaks_spanish(line: Line) -> None:
    """Is answered in Spanish, in the questions as well."""
    async with Caller(line.app.url, pace=FAST, from_=ANN) as call:
        call.session.lang = "es-US"
        assert "No tiene visitas reservadas." in (await line.ask(call, "my_tours"))["message"]
        asked = await line.ask(call, "check_tours", date="ayer", time="las dos y media", **WISH)
        assert "Ese día ya pasó. ¿Qué día le gustaría?" in asked["message"]


async def test_the_keys(line: Line) -> None:
    """One lists the apartments, two the caller's tours; the model is shown both results."""
    async with Caller(line.app.url, pace=FAST) as call:
        for key, words in (("1", "The studio is 1,050 dollars a month"), ("2", "You have no tours booked")):
            line.app.model.script(Reply(f"That was {key}."))
            await call.press(key)
            await call.until(lambda key=key: f"That was {key}." in heard(call))  # type: ignore[misc]
            results = [text for kind, text in shown(line.app.model.asked[-1]) if kind == "result"]
            assert words in results[-1]


async def test_a_store_that_goes_away(tmp_path: Path) -> None:
    """In the middle of a call: what needs it fails with words for the caller, the rest works."""
    with fragile_redis() as server:
        agents = write_agent(tmp_path / "agents", AGENT)
        async with twilio_rest() as twilio, running(server.url, tmp_path / "data", agents=agents) as app:
            line = Line(app, twilio)
            (slot,) = await line.open()
            async with Caller(app.url, pace=FAST, from_=ANN) as call:
                await line.ask(call, "check_tours", **named(slot))
                server.stop()
                assert "cannot be looked up" in (await line.ask(call, "check_tours", **named(slot)))["message"]
                assert "cannot be looked up" in (await line.ask(call, "my_tours"))["message"]
                assert "not certain" in (await line.ask(call, "schedule_tour", **named(slot)))["message"]
                assert len((await line.ask(call, "list_apartments"))["apartments"]) == 4
                server.start()


async def test_an_application_without_tours_makes_none(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Where no agent has to do with them."""
    async with running(redis_url, tmp_path / "data", agents=write_agent(tmp_path / "agents")) as app:
        async with Caller(app.url, pace=FAST) as call:
            await call.greeting_played()
        assert "tours" not in [task.get_name() for task in asyncio.all_tasks()]
    assert await redis.keys("{tours}*") == []
