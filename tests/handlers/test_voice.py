"""The voice webhooks over a real port: which TwiML answers what."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from redis.asyncio import Redis
from structlog.testing import capture_logs

from config.hours import parse_hours
from config.says import BUILT_IN, Says
from handlers.callbacks import ACTION, INCOMING, Deliveries, decide, handoff, other_end
from handlers.guard import TwilioGate
from relay.store.callstatus import CallStatus
from relay.store.people import People
from tests.handlers.standins import CALL, NOW, StandInAgent, StandInPeople
from tests.handlers.voice_phone import (
    COMPLETED,
    ENDED,
    FAILED,
    HANDOFF,
    INBOUND,
    PUBLIC,
    RESUME,
    TICKETS,
    TRANSFER,
    connect_of,
    phone,
    verbs,
    without_ticket,
)

# incoming


async def test_incoming_call_is_connected_to_the_public_socket() -> None:
    """TwiML names the socket and the action under PUBLIC_URL, greets, and carries a ticket for this call."""
    async with phone() as caller:
        action, relay, parameters = connect_of(await caller.twiml(INCOMING, INBOUND))
    assert action == f"{PUBLIC}/voice/action?attempt=0&agent=default"
    assert relay["url"] == "wss://relay.example.com/phone/voice/relay"
    assert relay["welcomeGreeting"] == "Hello & welcome <friend>"
    assert relay["events"] == "speaker-events tokens-played"
    assert list(parameters) == ["ticket"]
    ticket = TICKETS.verify(parameters["ticket"], CALL)
    assert (ticket.agent, ticket.expires) == ("default", NOW + 120)


async def test_agent_named_in_the_url_answers() -> None:
    """``?agent=NAME`` chooses, before what the person once chose; the ticket and the action carry the name on."""
    people = StandInPeople({"phone:+15550100200": "default"})
    async with phone(people=people) as caller:
        action, relay, parameters = connect_of(await caller.twiml(INCOMING + "?agent=sales", INBOUND))
    assert action.endswith("?attempt=0&agent=sales")
    assert "welcomeGreeting" not in relay
    assert TICKETS.verify(parameters["ticket"], CALL).agent == "sales"
    assert people.asked == []


async def test_unknown_agent_name_is_the_default_with_a_warning() -> None:
    """A name nobody bears costs no call: the default agent answers and the operator is told."""
    async with phone(people=StandInPeople({"phone:+15550100200": "sales"})) as caller:
        with capture_logs() as logs:
            action, _, _ = connect_of(await caller.twiml(INCOMING + "?agent=nobody", INBOUND))
    assert action.endswith("agent=default")
    assert [(entry["log_level"], entry["agent"]) for entry in logs] == [("warning", "nobody")]


@pytest.mark.parametrize(
    ("fields", "agent"),
    [
        ({}, "sales"),
        ({"From": "+15550100300"}, "default"),
        ({"From": "+15550100300", "To": "+15550100200"}, "default"),
        ({"Direction": "outbound-api", "From": "+15550100100", "To": "+15550100200"}, "sales"),
        ({"Direction": "outbound-api", "To": "+15550100300"}, "default"),
        ({"From": "+15550100400"}, "default"),
    ],
)
async def test_persons_chosen_agent_answers(fields: dict[str, str], agent: str) -> None:
    """The other end's chosen agent is taken: who calls us, or on a call we placed who was called."""
    people = StandInPeople({"phone:+15550100200": "sales", "phone:+15550100400": "gone"})
    async with phone(people=people) as caller:
        action, _, _ = connect_of(await caller.twiml(INCOMING, {**INBOUND, **fields}))
    assert action.endswith(f"agent={agent}")


@pytest.mark.parametrize("from_", ["", "anonymous", "+266696687", "client:someone"])
async def test_withheld_number_is_not_looked_up(from_: str) -> None:
    """An anonymous caller is nobody in particular."""
    people = StandInPeople()
    async with phone(people=people) as caller:
        await caller.twiml(INCOMING, {**INBOUND, "From": from_})
    assert people.asked == []


@pytest.mark.parametrize("trouble", [{"away": True}, {"silent": True}])
async def test_call_is_taken_while_the_store_is_away(trouble: dict[str, bool]) -> None:
    """A store that fails, or does not answer within the deadline, makes the caller a stranger and nothing else."""
    people = StandInPeople({"phone:+15550100200": "sales"}, **trouble)
    async with phone(people=people, lookup_deadline=0.01) as caller, asyncio.timeout(20):
        with capture_logs() as logs:
            action, _, _ = connect_of(await caller.twiml(INCOMING, INBOUND))
    assert action.endswith("agent=default")
    assert len(people.asked) == 1
    assert "+15550100200" not in str(logs)


async def test_person_is_found_in_redis(redis: Any) -> None:
    """The store's own ids are asked for: what one part saved, this one finds."""
    people = People(redis)
    await people.update("phone:+15550100200", agent="sales")
    async with phone(people=people) as caller:
        action, _, _ = connect_of(await caller.twiml(INCOMING, INBOUND))
    assert action.endswith("agent=sales")


@pytest.mark.parametrize("path", [INCOMING, ACTION])
@pytest.mark.parametrize("call_sid", [None, "", "CA", "XX" + "0" * 32, "CA{0}", "CA 1", "CA" + "0" * 63, "CA1\n"])
async def test_call_without_a_proper_sid_is_refused(path: str, call_sid: str | None) -> None:
    """A missing or odd CallSid is answered 400 with a sentence saying so."""
    fields = {name: value for name, value in {**INBOUND, "CallSid": call_sid}.items() if value is not None}
    async with phone() as caller:
        status, text = await caller.post(path, fields)
    assert (status, "CallSid" in text) == (400, True)


async def test_two_call_sids_are_none() -> None:
    """A form that names two calls names none."""
    async with phone(TwilioGate(None, None)) as caller:
        response = await caller.client.post(INCOMING, data=MultiDict([("CallSid", CALL), ("CallSid", "CA1")]))
        assert response.status == 400


@pytest.mark.parametrize("path", [INCOMING, ACTION])
async def test_unsigned_webhook_is_refused_and_does_nothing(path: str) -> None:
    """Without a matching signature: 403, nobody is looked up and nothing is counted."""
    people = StandInPeople()
    async with phone(people=people) as caller:
        for headers in ({}, {"X-Twilio-Signature": "x"}, {"X-Twilio-Signature": "ü"}):
            assert (await caller.client.post(path, data={**INBOUND, **COMPLETED}, headers=headers)).status == 403
        assert (people.asked, caller.outcomes) == ([], [])


async def test_development_mode_uses_the_address_it_was_called_by() -> None:
    """Without PUBLIC_URL this machine's own address is given, over ws and http, and no signature is asked for."""
    async with phone(TwilioGate(None, None)) as caller:
        response = await caller.client.post(INCOMING, data=INBOUND)
        action, relay, parameters = connect_of(ElementTree.fromstring(await response.text()))
        port = caller.client.port
    assert relay["url"] == f"ws://127.0.0.1:{port}/voice/relay"
    assert action == f"http://127.0.0.1:{port}/voice/action?attempt=0&agent=default"
    assert TICKETS.verify(parameters["ticket"], CALL)


async def test_leaving_process_takes_no_new_call_but_answers_for_old_ones() -> None:
    """While draining a new call gets 503; a session that ends is answered as ever."""
    async with phone(draining=lambda: True) as caller:
        assert (await caller.post(INCOMING, INBOUND))[0] == 503
        action, _, _ = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", RESUME))
        assert action.endswith("attempt=1&agent=default")


# action


async def test_handoff_dials_a_person() -> None:
    """``live-agent-handoff`` dials TRANSFER_TO, and asks us when that is over."""
    async with phone() as caller:
        (dial,) = await caller.twiml(ACTION + "?attempt=0&agent=default", HANDOFF)
        assert (dial.tag, dial[0].tag, dial[0].text) == ("Dial", "Number", TRANSFER)
        assert dial.attrib["action"] == f"{PUBLIC}/voice/dialled?attempt=0&agent=default"
        assert caller.outcomes == ["transfer"]


async def test_handoff_with_nobody_to_call_says_so() -> None:
    """Without TRANSFER_TO the agent's line is said in its language, then the call ends."""
    async with phone(transfer_to="") as caller:
        twiml = await caller.twiml(ACTION + "?attempt=0&agent=sales", HANDOFF)
        assert verbs(twiml) == ["Say", "Hangup"]
        assert (twiml[0].text, twiml[0].get("language")) == ("Nobody can be reached. [de-DE]", "de-DE")
        assert caller.outcomes == ["nobody"]


@pytest.mark.parametrize("fields", [RESUME, FAILED])
async def test_cut_off_call_goes_on_in_a_new_session(fields: dict[str, str]) -> None:
    """``resume`` and ``failed`` in a call in progress connect again: same agent, next attempt, no greeting."""
    async with phone() as caller:
        action, relay, parameters = connect_of(await caller.twiml(ACTION + "?attempt=1&agent=default", fields))
        assert action == f"{PUBLIC}/voice/action?attempt=2&agent=default"
        assert relay["url"] == "wss://relay.example.com/phone/voice/relay"
        assert "welcomeGreeting" not in relay
        assert parameters["attempt"] == "2"
        assert TICKETS.verify(parameters["ticket"], CALL).agent == "default"
        assert caller.outcomes == ["resume"]


HANDED = {**ENDED, "HandoffData": '{"reasonCode":"resume","handed":"on"}'}


async def test_a_call_that_was_handed_on_is_no_failure() -> None:
    """The next session is told, and it counts for no attempt: the limit moves on with it, by the URL alone."""
    async with phone(resume_limit=1) as caller:
        action, _, parameters = connect_of(await caller.twiml(ACTION + "?attempt=1&agent=default", HANDED))
        assert action == f"{PUBLIC}/voice/action?attempt=2&agent=default&handed=1&told=1"
        assert (parameters["attempt"], parameters["handed"]) == ("2", "1")
        broken = {**FAILED, "SessionId": "VX2"}
        assert verbs(await caller.twiml(action, broken)) == ["Say", "Dial"]
    async with phone(resume_limit=2) as caller:
        action, _, parameters = connect_of(await caller.twiml(action, broken))
        assert action == f"{PUBLIC}/voice/action?attempt=3&agent=default&handed=1"
        assert "handed" not in parameters


async def test_who_was_told_of_a_pause_is_told_nothing_else_when_the_next_session_does_not_open() -> None:
    """The one after it begins as that one would have, in any process; it counts as an attempt all the same."""
    unopened = {**FAILED, "ErrorCode": "64102"}
    async with phone(resume_limit=1) as caller:
        action, _, _ = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", HANDED))
    async with phone(resume_limit=1) as caller:
        action, _, parameters = connect_of(await caller.twiml(action, {**unopened, "SessionId": "VX2"}))
        assert action == f"{PUBLIC}/voice/action?attempt=2&agent=default&handed=1&told=1"
        assert parameters["handed"] == "1"
        assert verbs(await caller.twiml(action, {**unopened, "SessionId": "VX3"})) == ["Say", "Dial"]
    async with phone() as caller:
        _, _, parameters = connect_of(await caller.twiml(ACTION + "?attempt=1&agent=default", unopened))
        assert "handed" not in parameters  # there was no pause to be told of


async def test_who_leaves_has_the_next_session_wait() -> None:
    """A process that will not take it itself tells Twilio to wait, so that somebody is there; a new call waits for
    nothing."""
    async with phone(pause=lambda: 4) as caller:
        document = await caller.twiml(ACTION + "?attempt=0&agent=default", HANDED)
        assert verbs(document) == ["Pause", "Connect"] and document[0].attrib == {"length": "4"}
        assert verbs(await caller.twiml(INCOMING, INBOUND)) == ["Connect"]


async def test_resumption_is_limited_without_any_memory() -> None:
    """Following the action URLs, the fourth end of a call with RESUME_LIMIT 3 is an apology and a person; each answer
    is a process's of its own that never saw the call before."""
    path = ACTION + "?attempt=0&agent=default"
    for attempt in range(3):
        async with phone() as caller:
            action, _, parameters = connect_of(await caller.twiml(path, {**FAILED, "SessionId": f"VX{attempt}"}))
            assert parameters["attempt"] == str(attempt + 1)
            path = action.removeprefix(PUBLIC)
    async with phone() as caller:
        twiml = await caller.twiml(path, FAILED)
        assert verbs(twiml) == ["Say", "Dial"]
        assert twiml[0].text == "Sorry, that went wrong. [en-US]"
        assert caller.outcomes == ["given_up"]
    async with phone(transfer_to="") as caller:
        assert verbs(await caller.twiml(path, FAILED)) == ["Say", "Hangup"]


async def test_no_resumption_where_none_is_wanted() -> None:
    """RESUME_LIMIT 0 apologises at once."""
    async with phone(resume_limit=0) as caller:
        assert verbs(await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED)) == ["Say", "Dial"]


@pytest.mark.parametrize("status", ["completed", "busy", "failed", "no-answer", "canceled"])
@pytest.mark.parametrize("fields", [RESUME, FAILED, HANDOFF])
async def test_call_that_is_over_is_not_resumed(fields: dict[str, str], status: str) -> None:
    """When the caller has hung up as well there is nothing to connect, and nobody to hand over."""
    async with phone() as caller:
        assert verbs(await caller.twiml(ACTION + "?attempt=0&agent=default", {**fields, "CallStatus": status})) == []
        assert caller.outcomes == ["completed"]


async def test_hang_up_needs_no_answer() -> None:
    """``completed`` is answered with an empty response."""
    async with phone() as caller:
        assert verbs(await caller.twiml(ACTION + "?attempt=0&agent=default", COMPLETED)) == []
        assert caller.outcomes == ["completed"]


@pytest.mark.parametrize(
    "handoff",
    [
        None,
        "",
        "not json",
        "[]",
        '"live-agent-handoff"',
        "null",
        "{}",
        '{"reasonCode":null}',
        '{"reasonCode":["live-agent-handoff"]}',
        '{"reasonCode":"done"}',
        "[" * 5000,
        '{"reasonCode":"live-agent-handoff","summary":"' + "x" * 20_000 + '"}',
    ],
)
async def test_any_other_end_hangs_up(handoff: str | None) -> None:
    """``ended`` with no reason we know, whatever HandoffData holds, ends the call and is no error."""
    fields = ENDED if handoff is None else {**ENDED, "HandoffData": handoff}
    async with phone() as caller:
        assert verbs(await caller.twiml(ACTION + "?attempt=0&agent=default", fields)) == ["Hangup"]
        assert caller.outcomes == ["hangup"]


async def test_reason_counts_only_for_a_session_we_ended() -> None:
    """HandoffData of a failed session is not acted on."""
    async with phone() as caller:
        fields = {**HANDOFF, "SessionStatus": "failed"}
        assert verbs(await caller.twiml(ACTION + "?attempt=0&agent=default", fields)) == ["Connect"]


@pytest.mark.parametrize("fields", [RESUME, FAILED, HANDOFF, COMPLETED, ENDED])
async def test_repeated_delivery_gets_the_same_answer_and_counts_once(fields: dict[str, str]) -> None:
    """The same session and attempt again: the same TwiML but for the ticket, and no second count."""
    path = ACTION + "?attempt=0&agent=default"
    async with phone() as caller:
        first, second, third = [await caller.twiml(path, fields) for _ in range(3)]
        tickets = {parameter.get("value") for twiml in (first, second, third) for parameter in twiml.iter("Parameter")}
        assert without_ticket(first) == without_ticket(second) == without_ticket(third)
        assert len(caller.outcomes) == 1
        if fields in (RESUME, FAILED):
            assert len(tickets - {"1"}) == 3


async def test_retry_is_known_by_its_idempotency_token() -> None:
    """A retry with the same token is the same delivery, even where another field changed on the way."""
    path, token = ACTION + "?attempt=0&agent=default", {"I-Twilio-Idempotency-Token": "t-1"}
    async with phone() as caller:
        first = await caller.twiml(path, FAILED, **token)
        again = await caller.twiml(path, {**FAILED, "SessionId": "VX1", "CallStatus": "completed"}, **token)
        assert without_ticket(first) == without_ticket(again)
        assert caller.outcomes == ["resume"]
        other_call = {**COMPLETED, "CallSid": "CA" + "1" * 32}
        assert verbs(await caller.twiml(path, other_call, **token)) == []
        assert caller.outcomes == ["resume", "completed"]


async def test_next_session_of_a_call_counts_by_itself() -> None:
    """Another session of the call, or another attempt, is not a repeated delivery."""
    async with phone() as caller:
        await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED)
        await caller.twiml(ACTION + "?attempt=1&agent=default", FAILED)
        await caller.twiml(ACTION + "?attempt=1&agent=default", {**COMPLETED, "SessionId": "VX1"})
        assert caller.outcomes == ["resume", "resume", "completed"]


@pytest.mark.parametrize("query", ["", "?attempt=", "?attempt=-1", "?attempt=x", "?attempt=9999999", "?attempt=%D9%A3"])
async def test_call_we_know_nothing_of_gets_a_session(query: str) -> None:
    """An action URL without a sensible attempt or agent counts as the first: the call goes on with the default."""
    async with phone() as caller:
        action, _, _ = connect_of(await caller.twiml(ACTION + query, FAILED))
        assert action.endswith("?attempt=1&agent=default")


SWITCH = {**ENDED, "HandoffData": '{"reasonCode":"resume","provider":"second"}'}
TWO = StandInAgent(
    relay={"language": "en-US", "ttsProvider": "ElevenLabs", "voice": "abc"}, second={"ttsProvider": "Google"}
)


@pytest.mark.parametrize("fields", [SWITCH, {**FAILED, "ErrorCode": "64111"}], ids=["by us", "by Twilio"])
async def test_a_provider_that_failed_is_replaced(fields: dict[str, str]) -> None:
    """The next session names the agent's second one, and says so to itself and to the action after it."""
    async with phone(agents={"default": TWO}) as caller:
        action, relay, parameters = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", fields))
        assert action.endswith("?attempt=1&agent=default&provider=second")
        assert (relay["ttsProvider"], relay.get("voice")) == ("Google", None)
        assert (parameters["provider"], parameters["attempt"]) == ("second", "1")
        assert "welcomeGreeting" not in relay


async def test_the_replaced_provider_stays_replaced() -> None:
    """Whatever ends the sessions that follow; the change itself was none of the attempts."""
    async with phone(agents={"default": TWO}, resume_limit=1) as caller:
        path = ACTION + "?attempt=1&agent=default&provider=second"
        action, relay, parameters = connect_of(await caller.twiml(path, FAILED))
        assert action.endswith("?attempt=2&agent=default&provider=second")
        assert (relay["ttsProvider"], parameters["provider"]) == ("Google", "second")
        path = ACTION + "?attempt=2&agent=default&provider=second"
        assert verbs(await caller.twiml(path, {**SWITCH, "SessionId": "VX1"}))[-1] == "Dial"


async def test_a_change_of_provider_does_not_need_an_attempt() -> None:
    """Where a broken call is never resumed it is made all the same."""
    async with phone(agents={"default": TWO}, resume_limit=0) as caller:
        path = ACTION + "?attempt=0&agent=default"
        assert verbs(await caller.twiml(path, SWITCH)) == ["Connect"]


async def test_an_agent_without_a_second_provider_is_resumed_as_it_is() -> None:
    """Also when a session asked for another."""
    async with phone() as caller:
        action, _, parameters = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", SWITCH))
        assert action.endswith("?attempt=1&agent=default")
        assert "provider" not in parameters


async def test_nothing_of_the_caller_is_logged() -> None:
    """The log of an ended session has ids and Twilio's words, no numbers and nothing of the hand-over."""
    fields = {**INBOUND, **HANDOFF, "HandoffData": '{"reasonCode":"live-agent-handoff","summary":"secret words"}'}
    async with phone() as caller:
        with capture_logs() as logs:
            await caller.twiml(ACTION + "?attempt=0&agent=default", fields)
    (line,) = logs
    assert (line["call_sid"], line["outcome"], line["session_status"]) == (CALL, "transfer", "ended")
    assert "secret" not in str(line) and "+1555" not in str(line)


# the pure parts


@given(
    st.dictionaries(
        st.sampled_from(["SessionStatus", "CallStatus", "HandoffData"]),
        st.sampled_from(["ended", "failed", "completed", "in-progress", '{"reasonCode":"resume"}', "", "odd"]),
    ),
    st.integers(0, 9),
    st.booleans(),
)
def test_decision_is_the_same_for_every_delivery(fields: dict[str, str], attempt: int, can_transfer: bool) -> None:
    """The outcome depends on the report alone, and beyond the limit is never another session."""
    outcomes = {decide(MultiDict(fields), attempt, resume_limit=3, can_transfer=can_transfer) for _ in range(2)}
    assert len(outcomes) == 1
    assert attempt < 3 or "resume" not in outcomes


def ended(handoff_data: str) -> MultiDict[str]:
    return MultiDict({"SessionStatus": "ended", "HandoffData": handoff_data})


@given(st.text(max_size=200))
def test_any_handoff_data_has_a_reason_or_none(text: str) -> None:
    """Parsing never fails."""
    assert all(isinstance(each, str) for each in handoff(ended(text)).values())


def test_reason_of_handoff_data() -> None:
    """The reasonCode of an object, and surrogates are no reason to fail."""
    assert handoff(ended('{"reasonCode":"resume","more":1}')) == {"reasonCode": "resume"}
    assert handoff(ended("\ud800")) == handoff(ended("[]")) == handoff(MultiDict()) == {}


def test_other_end_of_a_call() -> None:
    """Inbound it is the caller, outbound the called."""
    assert other_end("a", "b", "inbound") == "a"
    assert other_end("a", "b", "outbound-api") == "b"
    assert other_end("a", "b", "") == "a"


def test_memory_of_deliveries_is_bounded() -> None:
    """The oldest are forgotten."""
    deliveries: Deliveries[str] = Deliveries(limit=4)
    for n in range(10):
        deliveries.put([f"session {n}", f"token {n}"], "hangup")
    assert len(deliveries) == 4
    assert deliveries.get(["session 0"]) is None
    assert deliveries.get(["other", "token 9"]) == "hangup"


async def test_agents_are_looked_at_before_one_is_chosen() -> None:
    """What is found then takes the call already."""
    agents = {"default": StandInAgent()}

    async def fresh() -> None:
        agents["default"] = StandInAgent(greeting="I am new.")

    async with phone(agents=agents, fresh=fresh) as caller:
        assert connect_of(await caller.twiml(INCOMING, INBOUND))[1]["welcomeGreeting"] == "I am new."


# hours and recording

MONDAY_NOON = 1_800_273_600.0  # 2027-01-18 12:00 UTC
SHOP = parse_hours({"mon-fri": "9:00-17:00"})


@pytest.mark.parametrize(
    ("now", "timezone", "greeting"),
    [
        (MONDAY_NOON, "UTC", "Hello & welcome <friend>"),
        (MONDAY_NOON, "America/Los_Angeles", "We are closed."),  # 4:00 there
        (MONDAY_NOON + 6 * 3600, "UTC", "We are closed."),
        (MONDAY_NOON + 6 * 3600, "America/New_York", "Hello & welcome <friend>"),
        (MONDAY_NOON - 24 * 3600, "UTC", "We are closed."),
    ],
)
async def test_outside_business_hours_another_greeting(now: float, timezone: str, greeting: str) -> None:
    """By the agent's own clock; the session is told that the business is closed."""
    agent = StandInAgent(hours=SHOP, timezone=timezone, closed_greeting="We are closed.")
    async with phone(agents={"default": agent}, now=lambda: now) as caller:
        _, relay, parameters = connect_of(await caller.twiml(INCOMING, INBOUND))
    assert relay["welcomeGreeting"] == greeting
    assert parameters.get("closed") == (None if greeting.startswith("Hello") else "1")


async def test_outside_business_hours_the_call_goes_to_a_person() -> None:
    """An agent without a greeting for them does not answer where there is somebody to pass the call to."""
    async with phone(agents={"default": StandInAgent(hours=SHOP)}, now=lambda: MONDAY_NOON - 24 * 3600) as caller:
        (dial,) = await caller.twiml(INCOMING, INBOUND)
        assert (dial.tag, dial[0].text) == ("Dial", TRANSFER)


async def test_outside_business_hours_with_nobody_to_pass_the_call_to() -> None:
    """The agent answers as ever, and knows that the business is closed."""
    agents = {"default": StandInAgent(hours=SHOP)}
    async with phone(agents=agents, transfer_to="", now=lambda: MONDAY_NOON - 24 * 3600) as caller:
        _, relay, parameters = connect_of(await caller.twiml(INCOMING, INBOUND))
        assert (relay["welcomeGreeting"], parameters["closed"]) == ("Hello & welcome <friend>", "1")


async def test_calls_we_place_have_no_hours() -> None:
    """The person called is greeted as ever at any hour."""
    agents = {"default": StandInAgent(hours=SHOP, closed_greeting="We are closed.")}
    async with phone(agents=agents, now=lambda: MONDAY_NOON - 24 * 3600) as caller:
        _, relay, parameters = connect_of(await caller.twiml(INCOMING, {**INBOUND, "Direction": "outbound-api"}))
        assert relay["welcomeGreeting"] == "Hello & welcome <friend>"
        assert "closed" not in parameters


async def test_a_recorded_call_says_so_first() -> None:
    """The recording begins before the socket is connected, and the notice is a part of the greeting."""
    agents = {"default": StandInAgent(record=True), "silent": StandInAgent("silent", greeting="", record=True)}
    async with phone(agents=agents) as caller:
        twiml = await caller.twiml(INCOMING, INBOUND)
        assert verbs(twiml) == ["Start", "Connect"]
        assert connect_of(twiml)[1]["welcomeGreeting"] == "This is recorded. [en-US] Hello & welcome <friend>"
        twiml = await caller.twiml(INCOMING + "?agent=silent", INBOUND)
        assert connect_of(twiml)[1]["welcomeGreeting"] == "This is recorded. [en-US]"


async def test_a_resumed_call_is_not_recorded_twice() -> None:
    """Nor told so again."""
    async with phone(agents={"default": StandInAgent(record=True)}) as caller:
        twiml = await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED)
        assert verbs(twiml) == ["Connect"]
        assert "welcomeGreeting" not in connect_of(twiml)[1]


# the caller's language, and the agent of the call

SPANISH = '{"reasonCode":"live-agent-handoff","reason":"r","summary":"s","language":"es"}'


async def test_lines_are_in_the_callers_language() -> None:
    """As the session handed it over; a language without a region gets the agent's, or a usual one."""
    fields = {**ENDED, "HandoffData": SPANISH}
    mexican = StandInAgent(languages=({"code": "es-MX"},))
    for agent, tag in ((StandInAgent(), "es-US"), (mexican, "es-MX")):
        async with phone(agents={"default": agent}, transfer_to="") as caller:
            say = (await caller.twiml(ACTION + "?attempt=0&agent=default", fields))[0]
            assert (say.text, say.get("language")) == (f"Nobody can be reached. [{tag}]", tag)


async def test_a_line_is_spoken_as_the_language_it_is_in() -> None:
    """Where no line is in the caller's language, English words are not spoken as if they were French."""
    fields = {**ENDED, "HandoffData": SPANISH.replace('"es"', '"fr"')}
    async with phone(agents={"default": StandInAgent(says=Says())}, transfer_to="") as caller:
        say = (await caller.twiml(ACTION + "?attempt=0&agent=default", fields))[0]
        assert (say.text, say.get("language")) == (BUILT_IN["nobody"]["en"], "en-US")


async def test_lines_of_a_broken_session_are_in_the_language_on_record(redis: Redis) -> None:
    """A session that failed hands nothing over: what it had noted in Redis is asked."""
    await redis.hset(f"conversation:{{{CALL}}}:state", mapping={"language": "es-US"})  # type: ignore[misc]
    async with phone(redis=redis, resume_limit=0) as caller:
        say, dial = await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED)
        assert (say.text, say.get("language"), dial.tag) == ("Sorry, that went wrong. [es-US]", "es-US", "Dial")
        assert "final=1" in dial.attrib["action"]


async def test_the_agent_a_call_was_switched_to_has_it_again(redis: Redis) -> None:
    """The resumed session, its ticket and its action are that agent's; a later switch does not change a repetition."""
    key = f"conversation:{{{CALL}}}:state"
    await redis.hset(key, mapping={"agent": "sales"})  # type: ignore[misc]
    async with phone(redis=redis) as caller:
        action, _, parameters = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED))
        assert action.endswith("attempt=1&agent=sales")
        assert TICKETS.verify(parameters["ticket"], CALL).agent == "sales"
        await redis.hset(key, mapping={"agent": "default"})  # type: ignore[misc]
        action, _, _ = connect_of(await caller.twiml(ACTION + "?attempt=0&agent=default", FAILED))
        assert action.endswith("attempt=1&agent=sales")


async def test_what_became_of_a_session_is_on_record(redis: Redis) -> None:
    """So that the call's last status, on any process, knows whether it was told of."""
    async with phone(redis=redis) as caller:
        await caller.twiml(ACTION + "?attempt=0&agent=default", COMPLETED)
    assert (await CallStatus(redis, 60).read(CALL)).outcome == "completed"
