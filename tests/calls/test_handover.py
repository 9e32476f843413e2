"""A call that is handed to a person and comes back, with its history; hours, recording and calls we place: through the
real websocket, from the model's tool to what the caller hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from phone.signing import sign
from tests.calls.checks import heard, in_order, remembers, shown
from tests.fakes.twilio_rest import TwilioRestServer, twilio_rest
from tests.running import Running, running, write_agent

NUMBER = "+15555550111"
QUEUE = "WW" + "1" * 32
FLOW = "FW" + "2" * 32
TRANSFER = ToolUse("transfer_to_human", '{"reason": "user-requested", "summary": "Wants a refund."}')
BRIDGE = "One moment, please, I'm connecting you."
NOTE = "The call was being handed over to a person, but nobody took it (no-answer)."
CLOSED_NOTE = "The business is closed at the moment"

AGENT = """
title = "Test"
greeting = "Hello from the test."
tools = ["transfer_to_human", "end_call"]
[[languages]]
code = "es-US"
[limits]
after_interrupt = 0.2
"""
CLOSED = 'hours = {monday = "closed"}\n'

Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(redis: Redis, redis_url: str, tmp_path: Path) -> Start:
    """Starts the application with settings and, by name, agents besides the default one."""

    def begin(environ: dict[str, str] | None = None, **agents: str) -> AbstractAsyncContextManager[Running]:
        folder = write_agent(tmp_path / "agents", AGENT)
        for name, toml in agents.items():
            write_agent(folder, toml, name)
        return running(redis_url, tmp_path / "data", agents=folder, environ={"TRANSFER_TO": NUMBER} | (environ or {}))

    return begin


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as each:
        yield each


def top(more: str) -> str:
    """The agent with more at the top of its file."""
    return more + AGENT


# handed over


async def test_the_person_hears_the_summary_before_the_caller(start: Start) -> None:
    """The number is dialled, and told who comes; then the call is theirs."""
    async with start() as line:
        line.model.script(Reply("I'll connect you.", [TRANSFER]))
        async with Caller(line.url, pace=FAST) as call:
            await call.say("A person, please")
            outcome = await call.ended()
            assert (outcome.how, outcome.number) == ("transfer", NUMBER)
            assert call.record.whispers == ["user-requested. Wants a refund."]
            assert call.record.unplayed_at_end == ""


async def test_a_queue_gets_the_summary_as_a_task(start: Start) -> None:
    """With what TaskRouter chooses an agent by."""
    async with start({"TRANSFER_WORKFLOW_SID": QUEUE}) as line:
        line.model.script(Reply(tools=[TRANSFER]))
        async with Caller(line.url, pace=FAST, from_="+15555550123") as call:
            await call.say("A person, please")
            assert (await call.ended()).number == f"queue {QUEUE}"
            (task,) = map(orjson.loads, call.record.tasks)
            assert task == {
                "call_sid": call.record.call_sid,
                "agent": "default",
                "reason": "user-requested",
                "summary": "Wants a refund.",
                "from": "+15555550123",
                "language": "en-US",
            }


async def test_a_flow_gets_the_call(start: Start) -> None:
    """Before the other two."""
    async with start({"TRANSFER_WORKFLOW_SID": QUEUE, "TRANSFER_STUDIO_FLOW": FLOW}) as line:
        line.model.script(Reply(tools=[TRANSFER]))
        async with Caller(line.url, pace=FAST) as call:
            await call.say("A person, please")
            assert (await call.ended()).number == f"Studio flow {FLOW}"


@pytest.mark.parametrize("environ", [{}, {"TRANSFER_WORKFLOW_SID": QUEUE}], ids=["dial", "queue"])
async def test_nobody_answers_and_the_agent_has_the_call_again(start: Start, environ: dict[str, str]) -> None:
    """With its history: the model is shown what was said and that nobody took the call, and tells the caller, who is
    neither greeted again nor told of a connection that was cut."""
    async with start(environ) as line:
        line.model.script(Reply("I'll connect you.", [TRANSFER]), Reply("Nobody is there. Can I help?"), Reply("Good."))
        async with Caller(line.url, pace=FAST, person="no-answer") as call:
            await call.greeting_played()
            await call.say("A person, please")
            await call.until(lambda: "Nobody is there. Can I help?" in heard(call))
            assert len(call.record.session_ids) == 2
            second = shown(await line.model.received(2))
            assert [kind for kind, _ in second][:4] == ["assistant", "user", "assistant", "call"]
            assert second[1] == ("user", "A person, please")
            why = "leave" if environ else "no-answer"
            assert f"nobody took it ({why})" in second[-1][1]
            await call.say("Yes")
            await call.until(lambda: heard(call)[-1] == "Good.")
            assert heard(call) == [
                "Hello from the test.",
                "I'll connect you.",
                "Nobody is there. Can I help?",
                "Good.",
            ]
            await in_order(call)
            assert call.outcome is None and len(line.model.asked) == 3


async def test_a_call_comes_back_twice_and_no_more(start: Start) -> None:
    """Then the caller is told by Twilio's voice that nobody can be reached, and the call ends."""
    async with start() as line:
        line.model.script(*[Reply(tools=[TRANSFER])] * 3)
        async with Caller(line.url, pace=FAST, person="busy") as call:
            await call.say("A person, please")
            assert (await call.ended()).how == "agent"
            assert len(call.record.session_ids) == 3
            assert call.transcript[-1].text.startswith("I'm sorry, nobody can be reached right now.")


async def test_a_spanish_caller_hears_spanish(start: Start) -> None:
    """From the agent's own lines to Twilio's last words, whatever language the agent is in."""
    async with start() as line:
        line.model.script(*[Reply(tools=[TRANSFER])] * 3)
        async with Caller(line.url, pace=FAST, person="no-answer") as call:
            call.session.lang = "es-US"
            await call.say("Una persona, por favor")
            await call.ended()
            handoffs = [orjson.loads(each["HandoffData"]) for each in call.record.actions]
            assert handoffs[0]["language"] == "es-US"
            assert heard(call)[1] == "Un momento, por favor, le comunico."
            assert call.transcript[-1].text.startswith("Lo siento, ahora mismo no hay nadie disponible.")


# hours


async def test_outside_business_hours(start: Start) -> None:
    """Another greeting, which is in the history as it was spoken; the model knows, and so does the tool."""
    closed = top(CLOSED + 'closed_greeting = "We are closed."\n')
    async with start(closed=closed) as line:
        line.model.script(Reply(tools=[TRANSFER]), Reply("Nobody is there."))
        async with Caller(line.url, pace=FAST, agent="closed") as call:
            await call.greeting_played()
            await call.say("A person, please")
            await call.until(lambda: "Nobody is there." in heard(call))
            first = line.model.asked[0]
            assert first.ask is not None and CLOSED_NOTE in str(first.ask.body["messages"][0])
            result = orjson.loads(shown(await line.model.received(2))[-1][1])
            assert result["transferred"] is False and "closed" in result["message"]
            await remembers(
                line,
                call,
                [
                    ("assistant", "We are closed."),
                    ("user", "A person, please"),
                    ("transfer_to_human", "done"),
                    ("assistant", "Nobody is there."),
                ],
            )


async def test_outside_business_hours_a_person_is_called_at_once(start: Start) -> None:
    """And when nobody answers the agent takes the call."""
    async with start(closed=top(CLOSED)) as line:
        async with Caller(line.url, pace=FAST, agent="closed") as call:
            assert (await call.ended()).number == NUMBER
            assert call.record.whispers == ["A call outside business hours."]
            assert line.model.asked == [] and call.record.session_ids == []
        line.model.script(Reply("We are closed. Can I help?"))
        async with Caller(line.url, pace=FAST, agent="closed", person="no-answer") as call:
            await call.until(lambda: heard(call) == ["We are closed. Can I help?"])
            assert shown(line.model.asked[0])[-1][1].startswith(NOTE)


async def test_each_agent_of_a_call_has_its_own_hours(start: Start) -> None:
    """An agent that is closed and takes an open call over knows that it is; an open one does not think it is closed."""
    tools = AGENT.replace('["transfer_to_human"', '["switch_agent", "transfer_to_human"')
    closed = CLOSED + 'closed_greeting = "We are closed."\n' + tools
    async with start(open=tools, closed=closed) as line:
        for first, then in (("open", "closed"), ("closed", "open")):
            before = len(line.model.asked)
            line.model.script(Reply(tools=[ToolUse("switch_agent", f'{{"agent": "{then}"}}')]), Reply("Here we are."))
            async with Caller(line.url, pace=FAST, agent=first) as call:
                await call.greeting_played()
                await call.say("The other one, please")
                await call.until(lambda call=call: heard(call)[-1] == "Here we are.")  # type: ignore[misc]
            prompts = [str(request.body["messages"][0]) for request in line.model.asked[before:]]
            assert [CLOSED_NOTE in prompt for prompt in prompts] == [first == "closed", then == "closed"]


# recorded


async def test_a_recorded_call_says_so(start: Start) -> None:
    """Before the greeting; the history has both as they were heard."""
    async with start(recorded=top("record = true\n")) as line:
        line.model.script(Reply("Good."))
        async with Caller(line.url, pace=FAST, agent="recorded") as call:
            assert await call.greeting_played() == "This call is recorded. Hello from the test."
            assert call.record.recorded
            await call.say("Fine")
            await call.until(lambda: "Good." in heard(call))
            await remembers(
                line,
                call,
                [
                    ("assistant", "This call is recorded. Hello from the test."),
                    ("user", "Fine"),
                    ("assistant", "Good."),
                ],
            )


# placed by us


PUBLIC = "https://relay.example.com/phone"
TOKEN = "auth-token"
VOICEMAIL = 'voicemail = "Please call us back."\n'


@pytest.fixture
def public(server: TwilioRestServer) -> dict[str, str]:
    """The settings of a process that may place calls."""
    return {
        **server.environ,
        "PUBLIC_URL": PUBLIC,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "API_TOKEN": "t",
        "OUTBOUND_COUNTRIES": "+1",
    }


async def placed(line: Running, server: TwilioRestServer, http: aiohttp.ClientSession) -> Caller:
    """The route is asked for a call, and Twilio places it: the phone of the person called, who has picked up."""
    wish, headers = {"to": "+15555550123", "agent": "sales"}, {"Authorization": "Bearer t"}
    async with http.post(line.url + "/voice/outbound", json=wish, headers=headers) as response:
        assert response.status == 202
        call_sid = (await response.json())["call_sid"]
    (form,) = server.calls()
    return Caller(
        line.url,
        path=form["Url"].removeprefix(PUBLIC),
        public_url=PUBLIC,
        token=TOKEN,
        call_sid=call_sid,
        outbound=True,
        from_=form["From"],
        to=form["To"],
        pace=FAST,
    )


async def report(line: Running, http: aiohttp.ClientSession, url: str, fields: dict[str, str]) -> int:
    """Twilio reports something of a call, signed."""
    headers = {"X-Twilio-Signature": sign(TOKEN, url, fields)}
    async with http.post(line.url + url.removeprefix(PUBLIC), data=fields, headers=headers) as response:
        return response.status


async def test_without_a_public_address_no_call_is_placed(start: Start, server: TwilioRestServer) -> None:
    """Twilio could not ask us for anything."""
    environ = {**server.environ, "API_TOKEN": "t", "OUTBOUND_COUNTRIES": "+1"}
    async with start(environ) as line, aiohttp.ClientSession() as http:
        headers = {"Authorization": "Bearer t"}
        async with http.post(line.url + "/voice/outbound", json={"to": "+15555550123"}, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (503, "not_configured")


async def test_a_call_is_placed_and_talked_in(start: Start, server: TwilioRestServer, public: dict[str, str]) -> None:
    """The agent that was named has it, the person who was called is the person, and may be handed over."""
    async with start(public, sales=AGENT) as line, aiohttp.ClientSession() as http:
        line.model.script(Reply(tools=[TRANSFER]))
        async with await placed(line, server, http) as call:
            assert await call.greeting_played() == "Hello from the test."
            await call.say("A person, please")
            assert (await call.ended()).how == "transfer"
            assert call.record.actions[0]["Direction"] == "outbound-api"
            state = await line.redis.hgetall(f"conversation:{{{call.record.call_sid}}}:state")  # type: ignore[misc]
            assert (state[b"agent"], state[b"person"]) == (b"sales", b"phone:+15555550123")
        fields = {"CallSid": call.record.call_sid, "CallStatus": "completed", "SequenceNumber": "3"}
        assert await report(line, http, server.calls()[0]["StatusCallback"], fields) == 204
        kept = await line.redis.hgetall(f"conversation:{{{call.record.call_sid}}}:call")  # type: ignore[misc]
        assert (kept[b"status"], kept[b"outcome"]) == (b"completed", b"transferred")


async def test_a_machine_hears_the_text_and_the_session_ends(
    start: Start, server: TwilioRestServer, public: dict[str, str]
) -> None:
    """The greeting went to a machine: Twilio is told to leave the text, and what is lost of the session stays lost."""
    async with start(public, sales=top(VOICEMAIL)) as line, aiohttp.ClientSession() as http:
        async with await placed(line, server, http) as call:
            await call.greeting_played()
            fields = {"CallSid": call.record.call_sid, "AnsweredBy": "machine_end_beep"}
            assert await report(line, http, server.calls()[0]["AsyncAmdStatusCallback"], fields) == 204
            assert "Please call us back." in server.asked[-1].form["Twiml"]
            call.session.abort()
            assert (await call.ended()).how == "lost"
            assert len(call.record.session_ids) == 1
        kept = await line.redis.hgetall(f"conversation:{{{call.record.call_sid}}}:call")  # type: ignore[misc]
        assert kept[b"outcome"] == b"voicemail"


# without Redis


async def test_a_spanish_caller_hears_spanish_without_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that breaks off and cannot be taken up: the process itself knows the caller's language."""
    monkeypatch.setattr("handlers.app.FLUSH_DEADLINE", 0.1)
    folder = write_agent(tmp_path / "agents", AGENT)
    async with running(
        "unix:///nonexistent/redis.sock", tmp_path / "data", agents=folder, environ={"RESUME_LIMIT": "0"}
    ) as line:
        line.model.script(Reply("Buenos días."))
        async with Caller(line.url, pace=FAST) as call:
            call.session.lang = "es-US"
            await call.say("Hola")
            assert await call.reply() == "Buenos días."
            assert await call.drop() is not None
            assert call.transcript[-1].text.startswith("Lo siento, tenemos problemas técnicos.")
