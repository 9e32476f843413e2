"""Places for calls, and what the webhooks and the dialler make of there being none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from channels.twilio.rest import Account, TwilioRest
from handlers.callbacks import ACTION, INCOMING
from handlers.dialling import Dialler, DialRefused, Line
from handlers.intake import Intake
from handlers.room import ON_ITS_WAY, RINGING, Room
from relay.budget import Budget
from relay.store.outbound import OutboundCalls
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TwilioRestServer, twilio_rest
from tests.handlers.standins import Known, StandInAgent, StandInPeople
from tests.handlers.voice_phone import FAILED, INBOUND, Phone, phone, verbs

TO = "+15550100207"
FULL, BUSY_URL = "CA" + "9" * 32, "https://other.example.com/twiml"


# -- places


def test_a_call_has_its_place_from_its_twiml_on() -> None:
    """While it is on its way, and while a socket of it is open; then it is free."""
    room = Room(1, clock=lambda: 0.0)
    assert not room.full("CA1")
    room.expect("CA1")
    assert room.full("CA2") and not room.full("CA1")
    with room.inside("CA1"):
        assert room.full("CA2")
    assert not room.full("CA2")


def test_a_call_that_never_comes() -> None:
    """Its socket may be at another process: it is waited for a while."""
    now = [0.0]
    room = Room(1, clock=lambda: now[0])
    room.expect("CA1")
    now[0] = ON_ITS_WAY - 0.1
    assert room.full("CA2")
    now[0] = ON_ITS_WAY
    assert not room.full("CA2")


def test_two_sockets_of_a_call_take_one_place() -> None:
    """Until the last of them is closed; a call that is here is not on its way."""
    room = Room(2)
    with room.inside("CA1"):
        with room.inside("CA1"):
            room.expect("CA1")
            assert not room.full("CA2")
        room.forget("CA1")
        room.expect("CA2")
        assert room.full("CA3")
    assert not room.full("CA3")


def test_a_call_that_is_taken_up_again_has_its_place() -> None:
    """Whether there is one or not; those that never come are not remembered for good."""
    now = [0.0]
    room = Room(2, clock=lambda: now[0])
    for number in range(100):
        room.expect(f"CA{number}")
        now[0] += 1.0
    assert len(room._until) <= ON_ITS_WAY + 1
    assert room.full("CA")


# -- the webhooks


@asynccontextmanager
async def house(room: Room, *, people: Any = None, **given: Any) -> AsyncIterator[Phone]:
    """Webhooks whose new calls need a place in this room."""
    intake = Intake(room, Budget(), **given)
    agents = {"default": StandInAgent(), "sales": StandInAgent(name="sales", relay={"language": "de-DE"})}
    async with phone(agents=agents, people=people, intake=intake) as caller:
        yield caller


def full_room() -> Room:
    room = Room(1)
    room.expect(FULL, 1000)
    return room


async def test_who_there_is_no_room_for_hears_it_in_their_language() -> None:
    """The agent's line, in the agent's language, or in the caller's where that is known; and the call ends."""
    people = StandInPeople({"phone:+15550100200": "sales"})
    people.known["phone:+15550100300"] = Known("default", language="fr")
    async with house(full_room(), people=people) as caller:
        for fields, tag in (({"From": "+15550100400"}, "en-US"), ({}, "de-DE"), ({"From": "+15550100300"}, "fr-FR")):
            twiml = await caller.twiml(INCOMING, {**INBOUND, **fields})
            assert verbs(twiml) == ["Say", "Hangup"]
            assert (twiml[0].text, twiml[0].attrib) == (f"All lines are busy. [{tag}]", {"language": tag})


async def test_who_there_is_no_room_for_is_redirected() -> None:
    """Where there is somewhere to go, by POST; each refusal is told by its reason."""
    reasons: list[str] = []
    async with house(full_room(), busy_url=BUSY_URL, refused=reasons.append) as caller:
        twiml = await caller.twiml(INCOMING, INBOUND)
    assert [(verb.tag, verb.text, verb.attrib) for verb in twiml] == [("Redirect", BUSY_URL, {"method": "POST"})]
    assert reasons == ["busy"]


async def test_a_call_that_goes_on_is_not_refused() -> None:
    """The end of its session is answered as ever."""
    async with house(full_room()) as caller:
        assert verbs(await caller.twiml(f"{ACTION}?attempt=0&agent=default", FAILED)) == ["Connect"]


async def test_a_person_we_call_is_not_refused() -> None:
    """There was a place when they were called; that is looked at before."""
    async with house(full_room()) as caller:
        assert verbs(await caller.twiml(INCOMING, {**INBOUND, "Direction": "outbound-api"})) == ["Connect"]


class Callers:
    """A store of callers: who was counted. ``silent``: it does not answer."""

    def __init__(self, *, silent: bool = False) -> None:
        self.counted: list[str] = []
        self._silent = silent

    async def take(self, person: str, call_sid: str, now: float) -> bool:
        self.counted.append(person)
        if self._silent:
            await asyncio.Event().wait()
        return True


async def test_who_is_not_taken_is_not_counted() -> None:
    """Whoever hears that all lines are busy is told to call again, and is not to hear then that it was too often; nor
    is somebody who is told to call tomorrow."""
    callers, budget = Callers(), Budget(per_person=1)
    async with phone(intake=Intake(full_room(), budget, callers)) as caller:  # type: ignore[arg-type]
        await caller.twiml(INCOMING, INBOUND)
    budget.spend("phone:+15550100200", 1)
    async with phone(intake=Intake(Room(9), budget, callers)) as caller:  # type: ignore[arg-type]
        assert verbs(await caller.twiml(INCOMING, INBOUND)) == ["Say", "Hangup"]
        assert callers.counted == []
        await caller.twiml(INCOMING, {**INBOUND, "From": "+15550100300"})
    assert callers.counted == ["phone:+15550100300"]


async def test_a_store_that_is_silent_keeps_nobody_waiting() -> None:
    """All questions to it end together, by one deadline."""
    silent, people = Callers(silent=True), StandInPeople(silent=True)
    intake = Intake(Room(9), Budget(per_person=1), silent, deadline=0.05)  # type: ignore[arg-type]
    async with phone(people=people, lookup_deadline=0.05, intake=intake) as caller, asyncio.timeout(20):
        assert verbs(await caller.twiml(INCOMING, INBOUND)) == ["Connect"]
    assert len(silent.counted) == 1


# -- the dialler


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@asynccontextmanager
async def dialler(server: TwilioRestServer, redis: Redis, intake: Intake) -> AsyncIterator[Dialler]:
    rest = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=5.0)
    line = Line("https://relay.example.com", "+15550100999", ("+1",))
    made = Dialler(line, rest, OutboundCalls(redis, 100), {"default"}, intake=intake)
    yield made
    await made.close()
    await rest.close()


async def refusal(dialler: Dialler, key: str = "") -> DialRefused:
    with pytest.raises(DialRefused) as caught:
        await dialler.dial(TO, "default", key)
    return caught.value


async def test_no_call_is_placed_for_which_there_is_no_room(server: TwilioRestServer, redis: Redis) -> None:
    """Twilio is not asked, and the key stays good for the same wish; once there is room the call is placed, and its
    place is taken while the telephone rings."""
    reasons: list[str] = []
    now = [0.0]
    room = Room(1, clock=lambda: now[0])
    room.expect(FULL)
    async with dialler(server, redis, Intake(room, Budget(), refused=reasons.append)) as made:
        error = await refusal(made, "key")
        assert (error.reason, error.retry_after > 0, server.asked) == ("busy", True, [])
        room.forget(FULL)
        call_sid = await made.dial(TO, "default", "key")
        assert await made.dial(TO, "default", "key") == call_sid, "placed is placed, room or not"
        now[0] = RINGING - 1
        assert (await refusal(made)).reason == "busy"
        assert not room.full(call_sid)
        now[0] = RINGING
        await made.dial(TO, "default")
    assert reasons == ["busy", "busy"]


async def test_a_burst_of_wishes_finds_the_last_place_once(server: TwilioRestServer, redis: Redis) -> None:
    """A place is taken before Twilio is asked, and free again where Twilio refuses."""
    room = Room(2)
    async with dialler(server, redis, Intake(room, Budget())) as made:
        results = await asyncio.gather(*(made.dial(TO, "default") for _ in range(6)), return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 2
        assert len(server.calls()) == 2


async def test_nobody_is_called_on_a_budget_that_is_used_up(server: TwilioRestServer, redis: Redis) -> None:
    """Neither on the person's, nor on the day's; it is said when to try again."""
    budget = Budget(per_person=10, now=lambda: 0.0)
    budget.spend(f"phone:{TO}", 10)
    async with dialler(server, redis, Intake(Room(9), budget)) as made:
        error = await refusal(made)
        assert (error.reason, error.retry_after, server.asked) == ("budget", 86400.0, [])
