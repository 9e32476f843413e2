"""Handing a call to a person, and what becomes of it when nobody takes it, over a real port."""

from __future__ import annotations

from xml.etree import ElementTree

import orjson
import pytest
from multidict import MultiDict
from redis.asyncio import Redis
from structlog.testing import capture_logs

from handlers.callbacks import ACTION, DIALLED, WHISPER
from handlers.handover import Destination, after_dial
from relay.store.client import connect
from tests.handlers.standins import CALL, NOW, Known, StandInAgent, StandInPeople
from tests.handlers.voice_phone import (
    ACCOUNT,
    ENDED,
    FAILED,
    HANDOFF,
    INBOUND,
    PUBLIC,
    TICKETS,
    TRANSFER,
    connect_of,
    phone,
    verbs,
    without_ticket,
)

FIRST = ACTION + "?attempt=0&agent=default"
DIAL = DIALLED + "?attempt=0&agent=default"
IN_CALL = {**INBOUND, "CallStatus": "in-progress"}
NO_ANSWER = {**IN_CALL, "DialCallStatus": "no-answer", "DialCallSid": "CA" + "d" * 32}
HANDED_OVER = {**INBOUND, **HANDOFF}
QUEUE = Destination(TRANSFER, "WW" + "1" * 32)
FLOW = Destination(TRANSFER, "WW" + "1" * 32, "FW" + "2" * 32)
SPANISH = '{"reasonCode":"live-agent-handoff","reason":"queja","summary":"Quiere hablar.","language":"es-US"}'


# where to


async def test_a_sip_address_is_dialled() -> None:
    """In a noun of its own."""
    async with phone(transfer_to="sip:desk@example.com") as caller:
        (dial,) = await caller.twiml(FIRST, HANDED_OVER)
        assert (dial[0].tag, dial[0].text) == ("Sip", "sip:desk@example.com")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, None),
        ({"From": "anonymous"}, "+15550100100"),
        ({"From": "+266696687"}, "+15550100100"),
        ({"From": "sip:a@b.example", "To": "sip:c@d.example"}, None),
        ({"Direction": "outbound-api", "From": "+15550100100", "To": "+15550100200"}, "+15550100100"),
    ],
)
async def test_a_number_that_may_be_shown_is_shown(fields: dict[str, str], shown: str | None) -> None:
    """The caller's own, by Twilio's default; ours where theirs is withheld or no number, and on calls we place."""
    async with phone() as caller:
        (dial,) = await caller.twiml(FIRST, {**HANDED_OVER, **fields})
        assert dial.get("callerId") == shown


async def test_a_queue_comes_before_a_number() -> None:
    """TaskRouter gets what it chooses an agent by, the caller's name among it where it is known."""
    people = StandInPeople()
    people.known = {"phone:+15550100200": Known("", "Ada", "Lovelace")}
    async with phone(destination=QUEUE, people=people) as caller:
        (queue,) = await caller.twiml(FIRST, {**HANDED_OVER, "HandoffData": SPANISH})
        assert queue.attrib == {
            "workflowSid": QUEUE.workflow_sid,
            "action": f"{PUBLIC}/voice/dialled?attempt=0&agent=default",
            "method": "POST",
        }
        assert orjson.loads(queue[0].text or "") == {
            "call_sid": CALL,
            "agent": "default",
            "reason": "queja",
            "summary": "Quiere hablar.",
            "from": "+15550100200",
            "language": "es-US",
            "name": "Ada Lovelace",
        }


async def test_a_task_without_a_name() -> None:
    """Of a stranger the task says no name."""
    async with phone(destination=QUEUE, people=StandInPeople(away=True)) as caller:
        (queue,) = await caller.twiml(FIRST, HANDED_OVER)
        assert "name" not in orjson.loads(queue[0].text or "")


async def test_a_studio_flow_comes_first() -> None:
    """The call is redirected to the flow's own address and nobody tells us more of it: that ends our part."""
    async with phone(destination=FLOW) as caller:
        (verb,) = await caller.twiml(FIRST, HANDED_OVER)
        url = f"https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/{FLOW.studio_flow}"
        assert (verb.tag, verb.text) == ("Redirect", url)
        assert caller.outcomes == ["transferred"]


# the whisper


async def whisper_url(dial: ElementTree.Element) -> str:
    url = dial[0].attrib["url"]
    assert url.startswith(f"{PUBLIC}{WHISPER}?call={CALL}")
    return url


async def test_the_person_hears_who_is_coming() -> None:
    """Reason and summary, in their language, before being connected; and again where it is asked again."""
    async with phone() as caller:
        (dial,) = await caller.twiml(FIRST, {**HANDED_OVER, "HandoffData": SPANISH})
        url = await whisper_url(dial)
        assert "queja" not in url and "Quiere" not in url
        for _ in range(2):
            (say,) = await caller.twiml(url, {**INBOUND, "CallSid": "CA" + "d" * 32, "ParentCallSid": CALL})
            assert (say.text, say.get("language")) == ("queja. Quiere hablar.", "es-US")


async def test_another_process_whispers_too(redis: Redis) -> None:
    """What was kept by the one is found by the other."""
    async with phone(redis=redis) as caller:
        url = await whisper_url((await caller.twiml(FIRST, HANDED_OVER))[0])
    async with phone(redis=redis) as caller:
        (say,) = await caller.twiml(url, {**INBOUND, "CallSid": "CA" + "d" * 32})
        assert say.text == "r. s."


async def test_the_latest_hand_over_is_whispered(redis: Redis) -> None:
    """Also by a process that has kept an earlier one of the same call."""
    times = [NOW]
    async with phone(redis=redis, now=lambda: times[0]) as one, phone(redis=redis, now=lambda: times[0]) as two:
        await one.twiml(FIRST, HANDED_OVER)
        times[0] += 30
        later = {**HANDED_OVER, "HandoffData": SPANISH, "SessionId": "VX1"}
        url = await whisper_url((await two.twiml(ACTION + "?attempt=1&agent=default&returns=1", later))[0])
        for each in (one, two):
            (say,) = await each.twiml(url, INBOUND)
            assert say.text == "queja. Quiere hablar."


@pytest.mark.parametrize("query", ["", "?call=", "?call=x", f"?call={CALL}"])
async def test_nothing_to_whisper(query: str) -> None:
    """Whatever is asked for, the two are connected without a word."""
    async with phone() as caller:
        assert verbs(await caller.twiml(WHISPER + query, INBOUND)) == []


async def test_a_whisper_does_not_last() -> None:
    """This process forgets it after ten minutes."""
    times = [NOW]
    async with phone(now=lambda: times[0]) as caller:
        url = await whisper_url((await caller.twiml(FIRST, HANDED_OVER))[0])
        times[0] += 601
        assert verbs(await caller.twiml(url, INBOUND)) == []


# after it


@pytest.mark.parametrize(
    "fields",
    [
        {"DialCallStatus": "completed"},
        {"DialCallStatus": "completed", "DialBridged": "true"},
        {"DialCallStatus": "answered"},
        {"QueueResult": "bridged"},
        {"QueueResult": "redirected"},
    ],
)
async def test_a_person_had_the_call(fields: dict[str, str]) -> None:
    """When they hang up the call is over."""
    async with phone() as caller:
        assert verbs(await caller.twiml(DIAL, {**IN_CALL, **fields})) == ["Hangup"]
        assert caller.outcomes == ["transferred"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"DialCallStatus": "no-answer"}, "no-answer"),
        ({"DialCallStatus": "busy"}, "busy"),
        ({"DialCallStatus": "failed"}, "failed"),
        ({"DialCallStatus": "canceled"}, "canceled"),
        ({"DialCallStatus": "completed", "DialBridged": "false"}, "no-answer"),
        ({"QueueResult": "leave"}, "leave"),
        ({"QueueResult": "queue-full"}, "queue-full"),
        ({"QueueResult": "error"}, "error"),
        ({}, "no-answer"),
    ],
)
async def test_nobody_took_it_and_the_agent_has_it_again(fields: dict[str, str], why: str) -> None:
    """The next session of the call, told why it begins; not greeted."""
    async with phone() as caller:
        action, relay, parameters = connect_of(await caller.twiml(DIAL, {**IN_CALL, **fields}))
        assert action == f"{PUBLIC}/voice/action?attempt=1&agent=default&returns=1"
        assert (parameters["attempt"], parameters["returned"]) == ("1", why)
        assert TICKETS.verify(parameters["ticket"], CALL).agent == "default"
        assert "welcomeGreeting" not in relay
        assert caller.outcomes == ["returned"]


@pytest.mark.parametrize(
    "fields", [{"CallStatus": "completed", "DialCallStatus": "canceled"}, {"QueueResult": "hangup"}]
)
async def test_the_caller_did_not_wait(fields: dict[str, str]) -> None:
    """There is nobody to give the call back to."""
    async with phone() as caller:
        assert verbs(await caller.twiml(DIAL, {**IN_CALL, **fields})) == []
        assert caller.outcomes == ["completed"]


async def test_a_call_does_not_come_back_for_ever() -> None:
    """Following the URLs, the third time nobody answers the caller is told so and the call ends."""
    path = FIRST
    async with phone() as caller:
        for attempt in range(2):
            (dial,) = await caller.twiml(path, {**HANDED_OVER, "SessionId": f"VX{attempt}"})
            action, _, _ = connect_of(await caller.twiml(dial.attrib["action"], NO_ANSWER))
            path = action
        (dial,) = await caller.twiml(path, {**HANDED_OVER, "SessionId": "VX9"})
        twiml = await caller.twiml(dial.attrib["action"], NO_ANSWER)
        assert verbs(twiml) == ["Say", "Hangup"]
        assert twiml[0].text == "Nobody can be reached. [en-US]"
        assert caller.outcomes[-1] == "nobody"


async def test_coming_back_is_no_attempt_to_mend_a_broken_call() -> None:
    """After it the call may be resumed as often as ever, and no more."""
    async with phone(resume_limit=1) as caller:
        action, _, _ = connect_of(await caller.twiml(DIAL, NO_ANSWER))
        action, _, _ = connect_of(await caller.twiml(action, {**FAILED, "SessionId": "VX1"}))
        assert action.endswith("attempt=2&agent=default&returns=1")
        assert verbs(await caller.twiml(action, {**FAILED, "SessionId": "VX2"})) == ["Say", "Dial"]


async def test_a_call_that_was_given_up_does_not_come_back() -> None:
    """Its agent does not work: the caller is told that nobody can be reached."""
    async with phone(resume_limit=0) as caller:
        _, dial = await caller.twiml(FIRST, FAILED)
        twiml = await caller.twiml(dial.attrib["action"], NO_ANSWER)
        assert verbs(twiml) == ["Say", "Hangup"]


async def test_the_provider_that_took_over_keeps_the_call() -> None:
    """Also across a hand-over."""
    two = StandInAgent(second={"ttsProvider": "Google"})
    async with phone(agents={"default": two}) as caller:
        (dial,) = await caller.twiml(FIRST + "&provider=second", HANDED_OVER)
        action, relay, _ = connect_of(await caller.twiml(dial.attrib["action"], NO_ANSWER))
        assert "provider=second" in action and relay["ttsProvider"] == "Google"


async def test_spanish_callers_hear_spanish(redis: Redis) -> None:
    """The last words, when nobody took the call for the last time."""
    await redis.hset(f"conversation:{{{CALL}}}:state", mapping={"language": "es", "agent": "default"})  # type: ignore[misc]
    async with phone(redis=redis) as caller:
        say = (await caller.twiml(DIAL + "&final=1", NO_ANSWER))[0]
        assert (say.text, say.get("language")) == ("Nobody can be reached. [es-US]", "es-US")


async def test_repeated_reports_are_answered_alike() -> None:
    """By the same process and by another; counted once by each."""
    async with phone() as caller:
        first, second = [without_ticket(await caller.twiml(DIAL, NO_ANSWER)) for _ in range(2)]
        assert caller.outcomes == ["returned"]
    async with phone() as caller:
        assert without_ticket(await caller.twiml(DIAL, NO_ANSWER)) == first == second


@pytest.mark.parametrize("path", [DIAL, WHISPER + f"?call={CALL}"])
async def test_unsigned_requests_are_refused(path: str) -> None:
    """Nothing is said to a stranger."""
    async with phone() as caller:
        await caller.twiml(FIRST, HANDED_OVER)
        assert (await caller.client.post(path, data=NO_ANSWER)).status == 403


async def test_nothing_of_the_caller_is_logged() -> None:
    """No number and nothing of the summary, from the hand-over to its end."""
    async with phone() as caller:
        with capture_logs() as logs:
            (dial,) = await caller.twiml(FIRST, {**HANDED_OVER, "HandoffData": SPANISH})
            await caller.twiml(dial[0].attrib["url"], INBOUND)
            await caller.twiml(DIAL, NO_ANSWER)
    assert [line["event"] for line in logs] == ["session ended", "hand-over ended"]
    assert "Quiere" not in str(logs) and "+1555" not in str(logs)


def test_a_report_that_says_nothing_gives_the_call_back() -> None:
    """Better the agent than silence; unless it may not."""
    assert after_dial(MultiDict(), final=False) == "returned"
    assert after_dial(MultiDict(), final=True) == "nobody"
    assert after_dial(MultiDict(ENDED), final=False) == "returned"


async def test_all_goes_on_while_the_store_is_away() -> None:
    """The person hears the whisper this process has kept, and the call comes back in the caller's language."""
    away = connect("unix:///nowhere/redis.sock")
    async with phone(redis=away) as caller:
        (dial,) = await caller.twiml(FIRST, {**HANDED_OVER, "HandoffData": SPANISH})
        (say,) = await caller.twiml(dial[0].attrib["url"], INBOUND)
        assert say.text == "queja. Quiere hablar."
        _, _, parameters = connect_of(await caller.twiml(dial.attrib["action"], NO_ANSWER))
        assert (parameters["returned"], parameters["language"]) == ("no-answer", "es-US")
        assert caller.outcomes == ["transfer", "returned"]
    await away.aclose()
