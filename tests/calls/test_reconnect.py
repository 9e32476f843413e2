"""A call whose agent asks for ``applicationReconnect``: the session goes on on another socket, here or elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from channels.twilio.tickets import Tickets, ticket_keys
from handlers.keys import TELEMETRY
from phone.caller import FAST, Caller
from phone.model import Gate, Reply, ToolUse
from relay.flood import FRAMES_PER_SECOND
from relay.frames import Dtmf, Prompt, Setup, Text, dump, parse_outgoing
from relay.replay import MOST, WINDOW
from relay.store.history import state_key
from relay.turns import CUT_NOTE
from tests.calls.checks import (
    GREETING,
    Ear,
    eventually,
    has_read,
    heard,
    in_order,
    interrupted,
    remembered,
    remembers,
    shown,
    shutting,
    texts_of,
    told,
)
from tests.calls.house import PROCESSES, House, open_house
from tests.calls.workshop import NAMES
from tests.fakes.deaf import Deaf
from tests.relay.store.servers import fragile_redis
from tests.running import Running

CUT_OFF = "We were cut off. Please go on."
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[relay]
applicationReconnect = true
dtmfDetection = true
events = "speaker-events tokens-played"
"""


@pytest.fixture(params=PROCESSES)
async def house(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """The session's first process and the one of its next socket."""
    async with open_house(redis_url, tmp_path, AGENT, request.param) as made:
        yield made


@asynccontextmanager
async def offline(house: House, call: Caller, again: int = 0) -> AsyncIterator[None]:
    """The socket is lost, and the next one is of the other process: once Redis knows all that the first one knew."""
    await has_read(call)
    async with call.offline(again):
        house.front.fail_over(house.then.url)
        await lost(house.first, call.record.call_sid)
        yield


async def lost(relay: Running, call_sid: str) -> None:
    """Redis knows that the session has lost its socket."""
    async with asyncio.timeout(20):
        while not await relay.redis.hget(state_key(call_sid), "lost"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def reconnect(house: House, call: Caller, again: int = 0) -> None:
    async with offline(house, call, again):
        pass


async def ask(relay: Running, call: Caller, words: str, reply: str) -> None:
    """One turn, heard to its end."""
    relay.model.script(Reply(reply))
    await call.say(words)
    await call.until(lambda: heard(call)[-1] == reply)
    await in_order(call)


def counted(relay: Running, name: str, **labels: str) -> float:
    return relay.app[TELEMETRY].registry.get_sample_value(name, labels) or 0.0


# -- what the caller hears


async def test_lost_in_silence(house: House) -> None:
    """Nothing was open: the caller hears nothing of it, the model is not asked, and the next words find it all."""
    house.first.model.script(Reply("Hello, Ada."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("I am Ada")
        await call.until(lambda: heard(call)[-1] == "Hello, Ada.")
        await reconnect(house, call)
        count = len(house.then.model.asked)
        house.then.model.script(Reply("You are Ada."))
        await call.say("Who am I?")
        await call.until(lambda: heard(call)[-1] == "You are Ada.")
        await in_order(call)
        assert heard(call) == [GREETING, "Hello, Ada.", "You are Ada."]
        story = [("assistant", GREETING), ("user", "I am Ada"), ("assistant", "Hello, Ada."), ("user", "Who am I?")]
        assert shown(await house.then.model.received(count + 1)) == story
        await remembers(house.then, call, [*story, ("assistant", "You are Ada.")])
        assert call.record.actions == []
        assert len(set(call.record.session_ids)) == 1


async def test_lost_in_the_middle_of_a_reply(house: House) -> None:
    """What was sent is played on to its end, and the model is asked to go on from there."""
    gate = Gate()
    house.first.model.script(Reply(["One fox came, ", "two ", "hens and so on."], gate=gate, gate_at=2))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await call.until(lambda: "".join(text.token for text in texts_of(call)) == "One fox came, two")
        count = len(house.then.model.asked)
        house.then.model.script(Reply("hens went by."))
        await reconnect(house, call)
        first = await house.first.model.received(1)
        await asyncio.wait_for(first.ended.wait(), 20)
        assert first.closed_early
        await call.until(lambda: heard(call)[-1] == "hens went by.")
        await in_order(call)
        assert heard(call) == [GREETING, "One fox came, two", "hens went by."]
        assert shown(await house.then.model.received(count + 1)) == [
            ("assistant", GREETING),
            ("user", "A story"),
            ("assistant", "One fox came, two"),
            ("note", CUT_NOTE),
        ]
        await remembers(house.then, call, [*shown(house.then.model.asked[-1]), ("assistant", "hens went by.")])


async def test_lost_before_anything_was_said(house: House) -> None:
    """Words without an answer are answered at once, without being said or told again."""
    gate = Gate()
    house.first.model.script(Reply("Never heard.", gate=gate))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("A story")
        await gate.reached.wait()
        count = len(house.then.model.asked)
        house.then.model.script(Reply("Once there was a fox."))
        await reconnect(house, call)
        await call.until(lambda: heard(call)[-1] == "Once there was a fox.")
        await in_order(call)
        assert heard(call) == [GREETING, "Once there was a fox."]
        assert shown(await house.then.model.received(count + 1)) == [("assistant", GREETING), ("user", "A story")]


async def test_cut_while_the_socket_was_lost(house: House) -> None:
    """What was given to say before can still be interrupted, and the history holds what was heard, to the word."""
    ear = Ear()
    house.first.model.script(Reply("One two three four five six."))
    async with Caller(house.front.url, pace=ear.pace, listen=shutting(ear, 4 + 2)) as call:
        await call.greeting_played()
        await call.say("Count")
        await call.until(lambda: call.record.turn.heard == "One two")
        await has_read(call)
        house.then.model.script(Reply("I stop."))
        async with offline(house, call):
            stop = call.interrupt_after(2, "Stop")
            ear.open()
            assert await stop
        await call.until(lambda: heard(call)[-1] == "I stop.")
        await in_order(call)
        assert heard(call) == [GREETING, "One two three four", "I stop."]
        story = [("assistant", GREETING), ("user", "Count"), ("assistant", "One two three four"), ("user", "Stop")]
        assert shown(house.then.model.asked[-1]) == story
        await remembers(house.then, call, [*story, ("assistant", "I stop.")])


async def test_cut_and_nothing_said(house: House) -> None:
    """Speech was cut, and with it the line: after the usual pause the agent goes on by itself."""
    house.first.model.script(Reply("One two three four five six."))
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await interrupted(call, "Count", 2)
        house.then.model.script(Reply("So, three."))
        await reconnect(house, call)
        await call.until(lambda: heard(call)[-1] == "So, three.")
        assert heard(call) == [GREETING, "One two", "So, three."]
        assert shown(house.then.model.asked[-1])[-2:] == [("assistant", "One two"), ("note", CUT_NOTE)]


@pytest.mark.parametrize("house", PROCESSES[1:], indirect=True)
async def test_lost_in_a_goodbye(house: House) -> None:
    """A call that was ending still ends."""
    ear = Ear()
    house.first.model.script(Reply("Goodbye then, Ada.", tools=[ToolUse("end_call")]))
    async with Caller(house.front.url, pace=ear.pace, listen=shutting(ear, 4 + 2)) as call:
        await call.greeting_played()
        await call.say("Bye")
        await call.until(lambda: call.record.turn.heard == "Goodbye then,")
        house.then.model.script(Reply("Goodbye.", tools=[ToolUse("end_call")]))
        async with offline(house, call):
            ear.open()
        assert (await call.ended()).how == "agent"


# -- what is told again


async def test_events_told_again_and_new_ones(house: House) -> None:
    """What was answered is not answered again, what was said without a socket is, and each once."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await ask(house.first, call, "I am Ada", "Hello, Ada.")
        await ask(house.first, call, "One more", "More.")
        await has_read(call)
        count = len(house.then.model.asked)
        house.then.model.script(Reply("Anything."))
        async with offline(house, call, again=len(call.record.sent) - 1):
            await call.say("And you?")
        await call.until(lambda: heard(call)[-1] == "Anything.")
        await in_order(call)
        words = [text for kind, text in shown(house.then.model.asked[-1]) if kind == "user"]
        assert words == ["I am Ada", "One more", "And you?"]
        assert len(house.then.model.asked) == count + 1
        assert heard(call) == [GREETING, "Hello, Ada.", "More.", "Anything."]


async def test_only_told_again(house: House) -> None:
    """Nothing new: the model is not asked, and what comes next is answered."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await ask(house.first, call, "I am Ada", "Hello, Ada.")
        await reconnect(house, call, again=len(call.record.sent) - 1)
        count = len(house.then.model.asked)
        await ask(house.then, call, "And you?", "Anything.")
        assert len(house.then.model.asked) == count + 1
        assert heard(call) == [GREETING, "Hello, Ada.", "Anything."]


async def test_keys_told_again(house: House) -> None:
    """Keys that were on their way to be one input are acted on once, with those that came later."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await call.press("12")
        house.then.model.script(Reply("Thank you."))
        async with offline(house, call, again=2):
            await call.press("3#")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        pressed = "".join(text for kind, text in shown(house.then.model.asked[-1]) if kind == "note")
        assert [pressed.count(digit) for digit in "123"] == [1, 1, 1]


async def test_words_are_answered_at_once_that_cannot_be_a_replay(house: House) -> None:
    """Not after the window in which frames in doubt wait."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await ask(house.first, call, "I am Ada", "Hello, Ada.")
        await reconnect(house, call)
        began = asyncio.get_running_loop().time()
        await ask(house.then, call, "And you?", "Anything.")
        assert asyncio.get_running_loop().time() - began < WINDOW / 2


# -- which socket has the call


def setup_of(call: Caller, **changed: object) -> str:
    """The ``setup`` that Twilio sends on each socket of the session."""
    return dump(replace(call.session.setup, **changed))  # type: ignore[arg-type]


def plain_socket(relay: Running) -> connect:
    return connect(relay.url.replace("http:", "ws:") + "/voice/relay", proxy=None, compression=None)


async def close_code(socket: ClientConnection) -> int | None:
    """Reads to the end."""
    try:
        async with asyncio.timeout(20):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def words(socket: ClientConnection) -> str:
    """Of one talk cycle."""
    said = ""
    async with asyncio.timeout(20):
        while True:
            frame = parse_outgoing(await socket.recv())
            assert isinstance(frame, Text)
            said += frame.token
            if frame.last:
                return said


CALL = "CA" + "6" * 32


def first_setup(house: House, call_sid: str = CALL) -> str:
    """Of a call whose webhook was answered just now."""
    ticket = Tickets(ticket_keys([], house.data_dir), 120).mint(call_sid, "default", time.time())
    return dump(Setup("VX" + call_sid[2:], call_sid, custom_parameters={"ticket": ticket}))


async def test_a_half_open_socket_is_replaced(house: House) -> None:
    """The older socket has not noticed anything: it has no say any more, and counts no more."""
    house.first.model.script(Reply("One."))
    async with plain_socket(house.first) as older, plain_socket(house.then) as newer:
        await older.send(first_setup(house))
        await older.send(dump(Prompt("Say one")))
        assert await words(older) == "One."
        await remembered(house.first, CALL, lambda found: len(found) == 3)
        with capture_logs() as records:
            await newer.send(first_setup(house))
            house.then.model.script(Reply("Two."))
            await newer.send(dump(Prompt("Say two")))
            assert await words(newer) == "Two."
        [record] = [each for each in records if each["event"] == "socket of a session replaced"]
        assert not record["unfinished"]
        if house.then is not house.first:
            # Elsewhere it learns with the next thing it writes.
            house.first.model.script(Reply("Never mind."))
            await older.send(dump(Prompt("Say three")))
        assert await close_code(older) == 1000
        await eventually(lambda: counted(house.first, "relay_calls_ended_total", reason="fenced") == 1)
        assert counted(house.then, "relay_calls_active") == 1
        lines = [("assistant", GREETING), ("user", "Say one"), ("assistant", "One."), ("user", "Say two")]
        lines.append(("assistant", "Two."))
        found = await remembered(house.then, CALL, lambda items: told(items) == lines)
        assert told(found) == lines


async def test_a_peer_that_is_gone_is_not_waited_for(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A half-open socket that answers nothing counts no more from the moment at which it is replaced."""
    async with open_house(redis_url, tmp_path, AGENT, PROCESSES[0]) as house:
        relay = house.first
        deaf = await Deaf.on(relay.url.replace("http:", "ws:") + "/voice/relay", first_setup(house))
        await remembered(relay, CALL, lambda found: len(found) == 1)
        async with plain_socket(relay) as newer:
            await newer.send(first_setup(house))
            relay.model.script(Reply("Here."))
            await newer.send(dump(Prompt("Hello?")))
            assert await words(newer) == "Here."
            assert counted(relay, "relay_calls_active") == 1
        deaf.transport.abort()


async def test_lost_and_then_given_up(house: House) -> None:
    """A reconnect is no resume: after it, Twilio may give the session up, and the callback's first attempt goes on. The
    new session may lose its socket as well; the old one is not known any more."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await ask(house.first, call, "I am Ada", "Hello, Ada.")
        await reconnect(house, call)
        stale = setup_of(call)
        await has_read(call)
        assert await call.drop() is None
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        assert call.session.setup.custom_parameters["attempt"] == "1"
        await ask(house.then, call, "And you?", "Anything.")
        await remembered(house.then, call.record.call_sid, lambda found: len(found) == 6)
        assert await refused(house.then, stale)
        await call.reconnect()
        await ask(house.then, call, "Fine", "Good.")
        assert heard(call) == [GREETING, "Hello, Ada.", CUT_OFF, "Anything.", "Good."]
        first, second, third, fourth = call.record.session_ids
        assert first == second != third == fourth
        assert [fields["SessionStatus"] for fields in call.record.actions] == ["failed"]


# -- who is let in


def expired(house: House, call: Caller) -> str:
    """The session's ``setup`` with the call's ticket, long after."""
    keys = ticket_keys([], house.data_dir)
    text = Tickets(keys, 120).mint(call.record.call_sid, "default", time.time() - 1000)
    return setup_of(call, custom_parameters={"ticket": text})


async def refused(relay: Running, setup: str) -> bool:
    """Whether a socket with this ``setup`` is closed at once, for its ticket."""
    async with plain_socket(relay) as socket:
        await socket.send(setup)
        return await close_code(socket) == 1008


async def test_a_ticket_that_has_expired(house: House) -> None:
    """It is good for the session this call is known by, wherever that is, and for no other."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await ask(house.first, call, "I am Ada", "Hello, Ada.")
        call.session.setup = replace(call.session.setup, custom_parameters=other_ticket(expired(house, call)))
        await reconnect(house, call)
        await ask(house.then, call, "And you?", "Anything.")
        assert words_shown_to(house.then) == ["I am Ada", "And you?"]
        stranger = orjson.loads(expired(house, call)) | {"sessionId": "VX" + "5" * 32}
        for relay in (house.first, house.then):
            assert await refused(relay, orjson.dumps(stranger).decode())
        await ask(house.then, call, "Fine", "Good.")


def other_ticket(setup: str) -> dict[str, str]:
    parameters: dict[str, str] = orjson.loads(setup)["customParameters"]
    return parameters


def words_shown_to(relay: Running) -> list[str]:
    """What the caller said, as the model was shown it last."""
    return [text for kind, text in shown(relay.model.asked[-1]) if kind == "user"]


@pytest.mark.parametrize("how", ["the caller", "the agent"])
async def test_a_session_that_ended_is_not_reopened(house: House, how: str) -> None:
    """Whoever ended it: neither its ticket, used, nor an expired one opens another socket for it."""
    async with Caller(house.front.url, pace=FAST) as call:
        await call.greeting_played()
        await house.first.history(call.record.call_sid)  # the session is known elsewhere too
        setups = [setup_of(call), expired(house, call)]
        if how == "the agent":
            house.first.model.script(Reply("Goodbye.", tools=[ToolUse("end_call")]))
            await call.say("Bye")
            await call.ended()
        else:
            await call.hang_up()
    await lost(house.first, call.record.call_sid)
    for relay in (house.first, house.then):
        for setup in setups:
            assert await refused(relay, setup)


async def test_without_redis(tmp_path: Path) -> None:
    """The process that had the session goes on with all of it, whatever the ticket's age; another one does not know it,
    and lets nobody in whose ticket has expired."""
    with fragile_redis() as fragile:
        async with (
            open_house(fragile.url, tmp_path, AGENT, PROCESSES[1]) as house,
            Caller(house.first.url, pace=FAST) as call,
        ):
            await call.greeting_played()
            await ask(house.first, call, "I am Ada", "Hello, Ada.")
            fragile.stop()
            setup = expired(house, call)
            assert await refused(house.then, setup)
            call.session.setup = replace(call.session.setup, custom_parameters=other_ticket(setup))
            await has_read(call)
            await call.reconnect(again=len(call.record.sent) - 1)
            await ask(house.first, call, "And you?", "Anything.")
            assert words_shown_to(house.first) == ["I am Ada", "And you?"]
            assert heard(call) == [GREETING, "Hello, Ada.", "Anything."]
            fragile.start()


# -- floods


async def burst(socket: ClientConnection, count: int, key: str = "1") -> None:
    """So many keys at once, and a word behind them."""
    for _ in range(count):
        await socket.send(dump(Dtmf(key)))
    await socket.send(dump(Prompt("And now?")))


async def test_a_replay_is_no_flood(house: House) -> None:
    """Five hundred events at once are read by the next socket of a session; on a first one they are a flood."""
    async with plain_socket(house.first) as older, plain_socket(house.then) as newer:
        await older.send(first_setup(house))
        await remembered(house.first, CALL, lambda found: len(found) == 1)
        house.then.model.script(Reply("After the burst."))
        await newer.send(first_setup(house))
        await burst(newer, MOST - 1)
        assert await words(newer) == "After the burst."
        assert counted(house.then, "relay_frames_rejected_total", reason="flood") == 0


async def test_a_first_socket_is_guarded(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Though its agent asks for ``applicationReconnect``: what is more than the rate is not acted on."""
    async with open_house(redis_url, tmp_path, AGENT, PROCESSES[0]) as house, plain_socket(house.first) as socket:
        await socket.send(first_setup(house))
        await burst(socket, MOST + FRAMES_PER_SECOND)
        flood = partial(counted, house.first, "relay_frames_rejected_total", reason="flood")
        await eventually(lambda: flood() >= MOST / 2)
        await socket.close()
