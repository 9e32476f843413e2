"""Limits as callers meet them: a full house, a person who calls too often, a budget that is used up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from config.says import BUILT_IN
from handlers.keys import TELEMETRY
from phone.caller import FAST, Caller
from phone.model import Ask, Gate, ModelServer, Reply, ToolUse
from relay.closing import Pace
from relay.frames import Prompt
from relay.report import Waits
from tests.calls.checks import GREETING, TALE, eventually, heard, told, whole
from tests.running import Running, running, write_agent

ANN, BOB = "+15551234567", "+15557654321"
NOWHERE = "unix:///nonexistent/redis.sock"


def sample(relay: Running, name: str, **labels: str) -> float:
    return relay.app[TELEMETRY].registry.get_sample_value(name, labels) or 0.0


def refused(relay: Running, reason: str) -> float:
    return sample(relay, "relay_refused_total", reason=reason)


def ended(relay: Running, reason: str) -> float:
    return sample(relay, "relay_calls_ended_total", reason=reason)


async def rings(relay: Running, call_sid: str, from_: str = ANN, **fields: str) -> str:
    """The TwiML a call is answered with."""
    form = {"CallSid": call_sid, "From": from_, "To": "+15550100100", "Direction": "inbound", **fields}
    async with aiohttp.ClientSession() as http, http.post(f"{relay.url}/voice/incoming", data=form) as answer:
        assert answer.status == 200
        return await answer.text()


def said(twiml: str) -> str:
    """What is said before the call ends; "" where it is connected."""
    found = re.fullmatch(r".*<Response><Say language=\"en-US\">(.+)</Say><Hangup /></Response>", twiml, re.DOTALL)
    return found[1] if found else ""


async def spent(redis: Redis, from_: str = ANN) -> int:
    return int(await redis.hget(f"person:{{phone:{from_}}}:tokens", "tokens") or 0)


def agents(tmp_path: Path) -> Path:
    return write_agent(tmp_path / "agents")


# -- a full house


async def test_one_call_more_than_there_may_be(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Beyond MAX_CALLS a caller hears the line `busy`; the call in progress goes on, is taken up again when its socket
    is lost, and leaves its place when it ends."""
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ={"MAX_CALLS": "1"}) as relay:
        relay.model.script(Reply("One."), Reply("Two."))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            async with Caller(relay.url, pace=FAST, from_=BOB) as other:
                assert other.outcome is not None and other.record.session_ids == []
            assert said(await rings(relay, "CA" + "2" * 32)) == BUILT_IN["busy"]["en"]
            await call.say("Say one.")
            assert await call.reply() == "One."
            assert await call.drop() is None
            await call.say("Say two.")
            assert await call.reply() == "Two."
        await eventually(lambda: ended(relay, "completed") == 1)
        assert "<ConversationRelay" in await rings(relay, "CA" + "3" * 32)
        assert refused(relay, "busy") == 2


async def test_a_burst_finds_the_last_place_once(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Of many that ring at once as many are connected as there are places, though no socket is open yet; who is told
    again is connected again."""
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ={"MAX_CALLS": "3"}) as relay:
        sids = [f"CA{number:032}" for number in range(10)]
        answers = dict(zip(sids, await asyncio.gather(*(rings(relay, sid) for sid in sids)), strict=True))
        taken = [sid for sid, twiml in answers.items() if not said(twiml)]
        assert len(taken) == 3
        for sid in taken:
            assert not said(await rings(relay, sid))
        assert refused(relay, "busy") == 7


async def test_calls_for_which_there_is_no_room_go_elsewhere(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """With BUSY_REDIRECT_URL another program answers for them."""
    environ = {"MAX_CALLS": "1", "BUSY_REDIRECT_URL": "https://other.example.com/twiml?a=1&b=2"}
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ=environ) as relay:
        await rings(relay, "CA" + "1" * 32)
        twiml = await rings(relay, "CA" + "2" * 32)
        assert '<Response><Redirect method="POST">https://other.example.com/twiml?a=1&amp;b=2</Redirect>' in twiml
        assert refused(relay, "busy") == 1


# -- who calls too often


async def test_a_person_who_calls_too_often(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Beyond CALLS_PER_PERSON_HOUR, counted across processes, a caller hears a kind line; a delivery that is repeated
    counts once, another person is taken, and a withheld number is nobody in particular."""
    environ, folder = {"CALLS_PER_PERSON_HOUR": "2"}, agents(tmp_path)
    async with (
        running(redis_url, tmp_path / "data", agents=folder, environ=environ) as one,
        running(redis_url, tmp_path / "data", agents=folder, environ=environ) as two,
    ):
        for relay in (one, two, one):
            assert said(await rings(relay, "CA1")) == ""
        assert said(await rings(two, "CA2")) == ""
        for relay in (one, two):
            assert said(await rings(relay, "CA3")) == BUILT_IN["called_often"]["en"]
            assert refused(relay, "person_rate") == 1
        assert said(await rings(one, "CA1")) == "", "what was taken is taken"
        assert said(await rings(one, "CA4", BOB)) == ""
        for number in range(5):
            assert said(await rings(one, f"CA5{number}", "+266696687")) == ""
            assert said(await rings(one, f"CA6{number}", BOB, Direction="outbound-api", To=ANN)) == ""
    assert await redis.zcard(f"person:{{phone:{ANN}}}:hour") == 2


@pytest.mark.parametrize("setting", ["CALLS_PER_PERSON_HOUR", "BUDGET_TOKENS_PER_DAY", "BUDGET_TOKENS_PER_PERSON_DAY"])
async def test_calls_are_taken_while_redis_is_away(tmp_path: Path, setting: str) -> None:
    """Nobody is turned away for what cannot be known."""
    async with running(NOWHERE, tmp_path / "data", agents=agents(tmp_path), environ={setting: "1"}) as relay:
        for number in range(3):
            assert said(await rings(relay, f"CA{number}")) == ""


# -- budgets


async def test_a_budget_that_is_used_up_in_a_call(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The turn that uses it up is answered, the next one is not: the caller is told, and the call ends. So does the
    person's next call, at another process too, before it begins; another person's is taken."""
    environ, folder = {"BUDGET_TOKENS_PER_PERSON_DAY": "240"}, agents(tmp_path)
    async with running(redis_url, tmp_path / "data", agents=folder, environ=environ) as relay:
        relay.model.script(Reply("One.", usage=(100, 90, 20)), Reply("Two.", usage=(101, 90, 20)))
        async with Caller(relay.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            for words in ("One.", "Two."):
                await call.say("Go on.")
                assert await call.reply() == words
            await call.say("And three?")
            await call.ended()
        assert heard(call) == [GREETING, "One.", "Two.", BUILT_IN["budget"]["en"]]
        assert len(relay.model.asked) == 2
        await eventually(lambda: ended(relay, "budget") == 1)
        assert refused(relay, "budget_person") == 1
        assert said(await rings(relay, "CA2")) == BUILT_IN["budget"]["en"]
        assert said(await rings(relay, "CA3", BOB)) == ""
        assert refused(relay, "budget_person") == 2
        items = await relay.history(call.record.call_sid, whole(7))
        assert told(items)[-2:] == [("user", "And three?"), ("assistant", BUILT_IN["budget"]["en"])]
    assert await spent(redis) == 241
    async with running(redis_url, tmp_path / "data", agents=folder, environ=environ) as relay:
        assert said(await rings(relay, "CA4")) == BUILT_IN["budget"]["en"]
        assert said(await rings(relay, "CA5", BOB)) == ""


async def test_a_day_that_is_used_up(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Nobody is taken any more; the tools of the turn that has used it up still have their answer."""
    environ = {"BUDGET_TOKENS_PER_DAY": "100"}
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ=environ) as relay:
        relay.model.script(
            Reply(tools=[ToolUse("save_name", '{"first_name": "Ada", "last_name": "Byron"}')], usage=(150, 0, 5)),
            Reply("Saved.", usage=(160, 0, 5)),
        )
        async with Caller(relay.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            await call.say("I am Ada.")
            assert await call.reply() == "Saved."
        assert said(await rings(relay, "CA2", BOB)) == BUILT_IN["budget"]["en"]
        assert refused(relay, "budget_day") == 1
    assert await redis.hget("{tokens}:all", "tokens") == b"320"
    assert await redis.keys("person:*:tokens") == []


async def test_a_caller_who_lets_nobody_finish(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A reply that is cut has cost its request, about: the provider does not get to tell."""
    gate, environ = Gate(), {"BUDGET_TOKENS_PER_PERSON_DAY": "100000"}
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ=environ) as relay:
        relay.model.script(Reply(TALE, gate=gate, gate_at=5))
        async with Caller(relay.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            await call.say("Tell me a tale.")
            await gate.reached.wait()
            await call.hang_up()
        assert relay.model.asked[0].closed_early
    assert 100 < await spent(redis) < 2000


async def test_what_is_asked_ahead_and_dropped_is_spent(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Once: told by the provider where the answer was whole."""
    environ = {"BUDGET_TOKENS_PER_PERSON_DAY": "100000", "SPECULATION": "on"}
    async with running(redis_url, tmp_path / "data", agents=agents(tmp_path), environ=environ) as relay:
        relay.model.script(Reply("Wrong.", usage=(90, 0, 10)), Reply("Right.", usage=(91, 0, 11)))
        async with Caller(relay.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            async with asyncio.timeout(20):
                while not relay.model.asked:
                    await call.send(Prompt("Do you have a table?", "en-US", last=False))
                    await asyncio.sleep(0.01)
            await eventually(lambda: sample(relay, "relay_tokens_total", kind="output") == 10)
            await call.say("Do you have a stable?")
            assert await call.reply() == "Right."
    assert await spent(redis) == 202


async def test_a_summary_is_part_of_the_budget(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """What is asked of a model after the call counts for the person, and is asked also when the budget is used up."""

    def talk(ask: Ask) -> Reply:
        first: Mapping[str, str] = ask.body["messages"][0]
        if first["content"].startswith("You sum up telephone calls"):
            return Reply('{"summary": "Ann asked.", "follow_ups": []}', usage=(30, 0, 3))
        return Reply("All right.", usage=(100, 0, 10))

    pace = Pace(Waits(settle=0.05, lost=0.3, transfer=0.2, look=0.1, abandoned=30), poll=0.05)
    environ = {"BUDGET_TOKENS_PER_PERSON_DAY": "100", "MEMORY": "on"}
    folder, model = agents(tmp_path), ModelServer(talk)
    async with running(
        redis_url, tmp_path / "data", agents=folder, environ=environ, model=model, after_call=pace
    ) as relay:
        async with Caller(relay.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            await call.say("Is there a fox?")
            assert await call.reply() == "All right."
            await call.hang_up()
        async with asyncio.timeout(10):
            while not await redis.hexists(f"person:{{phone:{ANN}}}", f"call:{call.record.call_sid}"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await spent(redis) == 143
