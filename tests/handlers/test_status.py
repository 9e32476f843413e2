"""What Twilio reports of a call's progress and of what answered it, over a real port, with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from channels.twilio.rest import Account, TwilioRest
from handlers.callbacks import ACTION, AMD, DIALLED, STATUS
from relay.store.callstatus import CallStatus
from relay.store.client import connect
from tests.fakes.twilio_rest import ACCOUNT, KEY, SECRET, TwilioRestServer, twilio_rest
from tests.handlers.standins import CALL, StandInAgent
from tests.handlers.voice_phone import COMPLETED, FAILED, HANDOFF, INBOUND, phone, verbs

OUTBOUND = {**INBOUND, "Direction": "outbound-api", "From": "+15550100100", "To": "+15550100200"}
AGENTS = {
    "default": StandInAgent(),
    "sales": StandInAgent("sales", voicemail="Please call <us> back.", relay={"language": "es-US"}),
}
BEEP = {**OUTBOUND, "CallStatus": "in-progress", "AnsweredBy": "machine_end_beep"}


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
async def rest(server: TwilioRestServer) -> AsyncIterator[TwilioRest]:
    client = TwilioRest(Account(ACCOUNT, KEY, SECRET, server.url), deadline=1.0)
    yield client
    await client.close()


def status(word: str, number: int | None = None, **more: str) -> dict[str, str]:
    fields = {**OUTBOUND, "CallStatus": word, **more}
    return fields if number is None else {**fields, "SequenceNumber": str(number)}


# statuses


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (1, 0, 3, 2), (0, 0, 3, 3)])
@pytest.mark.parametrize("numbered", [True, False])
async def test_the_latest_status_stays(redis: Redis, order: tuple[int, ...], numbered: bool) -> None:
    """Whatever the order they arrive in, and however often."""
    words = ("initiated", "ringing", "in-progress", "completed")
    async with phone(redis=redis) as caller:
        for number in order:
            fields = status(words[number], number if numbered else None, CallDuration="12" if number == 3 else "")
            assert (await caller.post(STATUS, fields))[0] == 204
        assert caller.outcomes == ["completed"]
    assert (await CallStatus(redis, 60).read(CALL)).status == "completed"
    assert await redis.hget(f"conversation:{{{CALL}}}:call", "duration") == b"12"  # type: ignore[misc]
    assert 0 < await redis.pttl(f"conversation:{{{CALL}}}:call") <= 60_000


@pytest.mark.parametrize("word", ["busy", "no-answer", "failed", "canceled"])
async def test_a_call_nobody_answered_is_told_of(redis: Redis, word: str) -> None:
    """No session was there to end: the status alone tells."""
    async with phone(redis=redis) as caller:
        for _ in range(2):
            await caller.post(STATUS, status(word, 2))
        assert caller.outcomes == [word]


async def test_a_call_whose_session_told_is_not_told_of_twice(redis: Redis) -> None:
    """Nor by another process."""
    async with phone(redis=redis) as caller:
        await caller.twiml(ACTION + "?attempt=0&agent=default", COMPLETED)
        assert caller.outcomes == ["completed"]
    async with phone(redis=redis) as caller:
        await caller.post(STATUS, status("completed", 3))
        assert caller.outcomes == []


async def test_a_caller_who_hung_up_while_a_person_was_called(redis: Redis) -> None:
    """The hand-over tells; the call's own end adds nothing."""
    async with phone(redis=redis) as caller:
        await caller.twiml(DIALLED + "?attempt=0&agent=default", {**INBOUND, "CallStatus": "completed"})
        await caller.post(STATUS, status("completed", 3))
        assert caller.outcomes == ["completed"]


@pytest.mark.parametrize("fields", [{"CallStatus": ""}, {"CallStatus": "odd"}, {"CallSid": "x"}])
async def test_what_is_no_status(redis: Redis, fields: dict[str, str]) -> None:
    """400, and nothing is written."""
    async with phone(redis=redis) as caller:
        assert (await caller.post(STATUS, {**status("ringing", 1), **fields}))[0] == 400
    assert await redis.keys("*") == []


async def test_a_status_that_cannot_be_stored() -> None:
    """503, so that the report may come again."""
    away = connect("unix:///nowhere/redis.sock")
    async with phone(redis=away) as caller:
        assert (await caller.post(STATUS, status("completed", 3)))[0] == 503
        assert caller.outcomes == []
    await away.aclose()


@pytest.mark.parametrize("path", [STATUS, AMD])
async def test_unsigned_reports_are_refused(redis: Redis, path: str) -> None:
    """And nothing is written."""
    async with phone(redis=redis) as caller:
        assert (await caller.client.post(path, data=BEEP)).status == 403
    assert await redis.keys("*") == []


# machines


@pytest.mark.parametrize("answered", ["machine_end_beep", "machine_end_silence", "machine_end_other", "machine_start"])
async def test_a_machine_hears_the_voicemail_text(
    redis: Redis, server: TwilioRestServer, rest: TwilioRest, answered: str
) -> None:
    """In the agent's language, once, and then the call ends."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        for _ in range(3):
            assert (await caller.post(AMD + "?agent=sales", {**BEEP, "AnsweredBy": answered}))[0] == 204
        assert caller.outcomes == ["voicemail"]
    ((asked),) = server.asked
    assert asked.resource == f"Calls/{CALL}"
    assert asked.form["Twiml"].endswith(
        '<Response><Say language="es-US">Please call &lt;us&gt; back.</Say><Hangup /></Response>'
    )


@pytest.mark.parametrize(("agent", "answered"), [("default", "machine_end_beep"), ("sales", "fax")])
async def test_a_machine_is_hung_up_on(
    redis: Redis, server: TwilioRestServer, rest: TwilioRest, agent: str, answered: str
) -> None:
    """Where the agent leaves nothing, and a fax in any case."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        await caller.post(f"{AMD}?agent={agent}", {**BEEP, "AnsweredBy": answered})
        assert caller.outcomes == ["machine"]
    assert [dict(each.form) for each in server.asked] == [{"Status": "completed"}]


@pytest.mark.parametrize("answered", ["human", "unknown", ""])
async def test_a_person_is_left_alone(redis: Redis, server: TwilioRestServer, rest: TwilioRest, answered: str) -> None:
    """And whoever may be one."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        assert (await caller.post(AMD + "?agent=sales", {**BEEP, "AnsweredBy": answered}))[0] == 204
        assert caller.outcomes == []
    assert server.asked == []


async def test_a_call_that_was_handed_over_is_left_alone(
    redis: Redis, server: TwilioRestServer, rest: TwilioRest
) -> None:
    """Whoever asked for a person is no machine, whatever Twilio says later."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        await caller.twiml(ACTION + "?attempt=0&agent=sales", {**OUTBOUND, **HANDOFF})
        assert (await caller.post(AMD + "?agent=sales", BEEP))[0] == 204
        assert caller.outcomes == ["transfer"]
    assert server.asked == []


async def test_reports_at_once_and_on_two_processes_leave_one_text(
    redis: Redis, server: TwilioRestServer, rest: TwilioRest
) -> None:
    """The one that claims the machine acts."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as one, phone(redis=redis, rest=rest, agents=AGENTS) as two:
        path = AMD + "?agent=sales"
        answers = await asyncio.gather(*(each.post(path, BEEP) for each in (one, two) * 5))
        assert {code for code, _ in answers} == {204}
        assert one.outcomes + two.outcomes == ["voicemail"]
    assert len(server.asked) == 1


async def test_a_text_that_could_not_be_left_is_tried_again(
    redis: Redis, server: TwilioRestServer, rest: TwilioRest
) -> None:
    """With the next report."""
    server.fail = [(500, 0)]
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        with capture_logs() as logs:
            assert (await caller.post(AMD + "?agent=sales", BEEP))[0] == 503
        assert caller.outcomes == []
        assert (await caller.post(AMD + "?agent=sales", BEEP))[0] == 204
        assert caller.outcomes == ["voicemail"]
    assert len(server.asked) == 2
    assert "+1555" not in str(logs)


async def test_the_session_that_talked_to_a_machine_ends_quietly(redis: Redis, rest: TwilioRest) -> None:
    """Whatever Twilio says of it, it is not resumed: the text is what follows."""
    async with phone(redis=redis, rest=rest, agents=AGENTS) as caller:
        await caller.post(AMD + "?agent=sales", BEEP)
        twiml = await caller.twiml(ACTION + "?attempt=0&agent=sales", {**OUTBOUND, **FAILED})
        assert verbs(twiml) == ["Say", "Hangup"]
        await caller.post(STATUS, status("completed", 3))
        assert caller.outcomes == ["voicemail"]
    assert (await CallStatus(redis, 60).read(CALL)).outcome == "voicemail"


async def test_a_machine_is_dealt_with_while_the_store_is_away(server: TwilioRestServer, rest: TwilioRest) -> None:
    """Once, as far as this process knows."""
    away = connect("unix:///nowhere/redis.sock")
    async with phone(redis=away, rest=rest, agents=AGENTS) as caller:
        for _ in range(2):
            assert (await caller.post(AMD + "?agent=sales", BEEP))[0] == 204
    assert len(server.asked) == 1
    await away.aclose()
