"""A provider of speech that is away: the call goes on with the agent's second one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply
from relay.frames import End, PeerError, Prompt
from tests.calls.checks import Ear, heard, in_order, remembers, shown, shutting
from tests.running import Running, running, write_agent

GREETING = "Hello from the test."
CUT_OFF = "We were cut off. Please go on."
TTS = PeerError("The text could not be made to speech, code: 64111")
STT = PeerError("The connection to the ASR provider was lost, code: 64114")
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = []
[relay]
ttsProvider = "ElevenLabs"
voice = "abc"
"""
SECOND = """
[relay.second]
ttsProvider = "Google"
"""


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """``default`` has a second provider, ``single`` has none; a broken call is resumed once."""
    agents = write_agent(tmp_path / "agents", AGENT + SECOND)
    write_agent(agents, AGENT, "single")
    environ = {"RESUME_LIMIT": "1"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as app:
        yield app


def provider(call: Caller) -> tuple[str | None, str | None, str]:
    """Whose voice is spoken with, and what the action URL says of it."""
    attributes, action = call.session.relay.attributes, call.session.relay.action
    return (
        attributes.get("ttsProvider"),
        attributes.get("voice"),
        parse_qs(urlsplit(action).query).get("provider", [""])[0],
    )


async def switched(call: Caller, error: PeerError, ear: Ear | None = None) -> None:
    """The error comes twice, and the call goes on in another session. ``ear``: held shut until nothing more is heard of
    the first."""
    count = len(call.record.session_ids)
    await call.send(error)
    await call.send(error)
    await call.expect(End)
    if ear is not None:
        ear.open()
    await call.until(lambda: len(call.record.session_ids) > count or call.outcome is not None)
    assert call.outcome is None


async def test_an_answer_nobody_heard_is_given_again(line: Running) -> None:
    """By the second provider, without a greeting; the caller need not ask again."""
    ear = Ear()
    line.model.script(Reply("It is at nine."), Reply("At nine."))
    async with Caller(line.url, pace=ear.pace) as call:
        await call.greeting_played()
        assert provider(call) == ("ElevenLabs", "abc", "")
        ear.shut()
        await call.send(Prompt("When is it?"))
        await call.until(lambda: any(not each.over for each in call.record.turn.utterances))
        await switched(call, TTS, ear)
        assert provider(call) == ("Google", None, "second")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        await in_order(call)
        assert heard(call) == [GREETING, "At nine."]
        assert orjson.loads(call.record.actions[0]["HandoffData"]) == {"reasonCode": "resume", "provider": "second"}
        assert shown(await line.model.received(2)) == [("assistant", GREETING), ("user", "When is it?")]
        await remembers(line, call, [("assistant", GREETING), ("user", "When is it?"), ("assistant", "At nine.")])


async def test_what_was_heard_of_an_answer_stays(line: Running) -> None:
    """The caller is told that something went wrong, and goes on."""
    ear = Ear()
    line.model.script(Reply("It is at nine, in the big hall, and free."), Reply("Yes."))
    async with Caller(line.url, pace=ear.pace, listen=shutting(ear, 8)) as call:
        await call.greeting_played()
        await call.say("When is it?")
        await call.until(lambda: call.record.turn.heard == "It is at nine,")
        await switched(call, TTS, ear)
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        assert heard(call) == [GREETING, "It is at nine,", CUT_OFF]
        await call.say("Is it free?")
        await call.until(lambda: heard(call)[-1] == "Yes.")
        assert shown(await line.model.received(2))[2] == ("assistant", "It is at nine,")


async def test_words_that_are_not_understood(line: Running) -> None:
    """Trouble on the other side: one line, and the caller goes on."""
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        await switched(call, STT)
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        assert provider(call)[0] == "Google"
        await in_order(call)


async def test_the_call_stays_with_the_second_provider(line: Running) -> None:
    """Also when it breaks later; changing providers was none of the times it may be resumed; there is no way back."""
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        await switched(call, TTS)
        for _ in range(3):
            await call.send(TTS)
        assert await call.drop() is None
        assert provider(call) == ("Google", None, "second")
        assert "welcomeGreeting" not in call.session.relay.attributes
        outcome = await call.drop()
        assert outcome is not None and len(call.record.session_ids) == 3


async def test_an_agent_without_a_second_provider(line: Running) -> None:
    """The errors are counted, and the call goes on as it is."""
    gate = Gate()
    line.model.script(Reply("It is at nine.", gate=gate))
    async with Caller(line.url, pace=FAST, agent="single") as call:
        await call.greeting_played()
        await call.say("When is it?")
        await gate.reached.wait()
        for _ in range(3):
            await call.send(TTS)
        gate.set()
        assert await call.reply() == "It is at nine."
        assert len(call.record.session_ids) == 1
