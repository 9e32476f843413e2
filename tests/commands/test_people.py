"""``relay people``: what an operator sees of a person, and what is left after they were forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from commands.main import cli
from phone.caller import FAST, Caller
from relay.store.archive import Archive
from relay.store.chat_log import ChatLog
from relay.store.chat_tickets import ChatTickets
from relay.store.client import connect
from relay.store.due import Due
from relay.store.embedded import EmbeddedRedis
from relay.store.history import History
from relay.store.people import EarlierCall, People
from relay.store.presence import Presence
from tests.commands.serving import INHERITED, RELAY, serving

NUMBER = "+15551234567"
ANN = f"phone:{NUMBER}"
VISITOR = "v_" + "A" * 44
AT = 1_700_000_000_000

Relay = Callable[..., Result]


@pytest.fixture
def relay(redis_url: str) -> Relay:
    """Runs ``relay people``, whose store is empty at first."""
    in_store(redis_url, lambda redis: redis.flushall())

    def run(*words: str, given: str = "") -> Result:
        environ = {"REDIS_URL": redis_url}
        return CliRunner().invoke(cli, ["people", *words], input=given, env=environ, catch_exceptions=False)

    return run


def in_store(redis_url: str, work: Callable[[Redis], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        redis = connect(redis_url)
        try:
            return await work(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())


async def ann(redis: Redis) -> None:
    """Ann has called, and is to be reported."""
    people = People(redis)
    await people.seen(ANN, AT)
    await people.update(ANN, first_name="Ann", last_name="Lee", notes="Likes tea.")
    await people.remember(ANN, EarlierCall("CA1", AT, "Ann booked a tour.", ("Send the plan",)))
    await people.link("telegram:77", ANN)
    await Archive(redis, ttl=3600).record("CA1", ANN, AT)
    history = History(redis, 3600)
    await history.load("CA1", AT)
    state = {"agent": "desk", "left": str(AT), "ended": str(AT + 60_000), "reason": "completed", "from": NUMBER}
    await history.put("CA1", AT, [], state)
    await Due(redis, "aftercall", 60).add(0, {"CA1": AT})


async def everything(redis: Redis) -> list[bytes]:
    keys: list[bytes] = await redis.keys("*")
    return keys


def test_what_is_known_is_shown(relay: Relay, redis_url: str) -> None:
    """As a table without control codes; the number is read as people write one."""
    in_store(redis_url, ann)
    shown = relay("show", "+1 (555) 123-4567")
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert f"known as    {ANN}, telegram:77" in lines
    assert "first name  Ann" in lines
    assert "last seen   2023-11-14 22:13 UTC" in lines
    assert "still open  Send the plan" in lines
    assert "  2023-11-14 22:13 UTC  Ann booked a tour." in lines
    assert "  2023-11-14 22:13 UTC  desk          completed        CA1" in lines
    assert "\x1b" not in shown.output


def test_for_programs_there_is_json(relay: Relay, redis_url: str) -> None:
    """One object, also for nobody."""
    in_store(redis_url, ann)
    found = orjson.loads(relay("show", NUMBER, "--json").output)
    assert (found["known"], found["last_name"], found["memory"]) == (True, "Lee", "on")
    assert found["calls"] == [
        {"call_sid": "CA1", "began": "2023-11-14 22:13 UTC", "agent": "desk", "outcome": "completed"}
    ]
    assert orjson.loads(relay("show", "+15550000000", "--json").output)["known"] is False


def test_forgetting_asks_first(relay: Relay, redis_url: str) -> None:
    """No is no: nothing is touched."""
    in_store(redis_url, ann)
    before = sorted(in_store(redis_url, everything))
    assert relay("forget", NUMBER, given="n\n").exit_code == 1
    assert sorted(in_store(redis_url, everything)) == before


def test_forgetting_leaves_nothing(relay: Relay, redis_url: str) -> None:
    """It tells what was deleted, and is no error when there is nothing."""
    in_store(redis_url, ann)
    gone = relay("forget", NUMBER, "--yes")
    assert gone.exit_code == 0
    assert "      1  conversations" in gone.output.splitlines()
    assert in_store(redis_url, everything) == []
    again = relay("forget", NUMBER, "--yes")
    assert (again.exit_code, again.output.startswith("Nobody is known")) == (0, True)


@pytest.mark.parametrize("name", [VISITOR, f"chat:{VISITOR}"])
def test_a_visitor_of_the_live_chat_is_forgotten(relay: Relay, redis_url: str, name: str) -> None:
    """By the name their browser keeps: what they wrote and were sent, the socket they are on, tickets they have."""
    in_store(redis_url, visitor)
    shown = relay("show", name)
    assert f"known as  chat:{VISITOR}" in shown.output.splitlines()
    gone = relay("forget", name, "--yes")
    assert {"      1  conversations", "      1  chat sockets", "      1  chat tickets"} <= {*gone.output.splitlines()}
    assert in_store(redis_url, everything) == []


async def visitor(redis: Redis) -> None:
    """Somebody who is chatting."""
    await Archive(redis, ttl=3600).record("chat-1", f"chat:{VISITOR}", AT)
    history = History(redis, 3600)
    await history.load("chat-1", AT)
    await history.put("chat-1", AT, [], {"agent": "desk", "channel": "chat"})
    chats = ChatLog(redis, ttl=3600)
    chats.start()
    await chats.begin("chat-1")
    chats.add("chat-1", 1, b'{"type":"delta","text":"Hi"}')
    await chats.close(5)
    await Presence(redis).enter(VISITOR, "a socket", lambda: None)
    await ChatTickets(redis).issue(VISITOR)


def test_nobody_is_no_error(relay: Relay) -> None:
    """A number that has never called."""
    for words in (("show", NUMBER), ("memory", NUMBER, "off")):
        shown = relay(*words)
        assert (shown.exit_code, shown.output) == (0, "Nobody is known by this number.\n")


@pytest.mark.parametrize("number", ["", "Ann", "5551234", "+1", "+12345678901234567", "anonymous", "+266696687"])
@pytest.mark.parametrize("command", ["show", "forget"])
def test_a_number_that_is_none(relay: Relay, command: str, number: str) -> None:
    """It is said what one looks like; nothing is asked or touched."""
    refused = relay(command, number)
    assert refused.exit_code == 2
    assert "neither a telephone number with its country, such as +15551234567," in refused.output


def test_one_person_may_be_exempt_from_memory(relay: Relay, redis_url: str) -> None:
    """Off deletes what calls came to, and the rest stays."""
    in_store(redis_url, ann)
    assert relay("memory", NUMBER, "off").output == "Memory is off for this person.\n"
    found = orjson.loads(relay("show", NUMBER, "--json").output)
    assert (found["memory"], found["summaries"], found["follow_ups"], found["first_name"]) == ("off", [], [], "Ann")
    relay("memory", NUMBER, "on")
    assert orjson.loads(relay("show", NUMBER, "--json").output)["memory"] == "on"


async def people(*words: str, data_dir: Path) -> str:
    """What ``relay people`` says, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        RELAY, "people", *words, env={**INHERITED, "DATA_DIR": str(data_dir)}, stdout=-1, stderr=-2
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out
    return out.decode()


def files_hold(folder: Path, word: bytes) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.is_file() and word in file.read_bytes()]


async def test_who_is_forgotten_leaves_the_embedded_servers_files(tmp_path: Path) -> None:
    """Such a server keeps all it was told in a file; what is deleted goes from there too, a relay running or not."""
    data = tmp_path / "data"
    async with serving(data, cwd=tmp_path) as server:
        for _ in range(2):
            embedded = EmbeddedRedis.start(data)
            try:
                redis = connect(embedded.url)
                await ann(redis)
                await redis.aclose()
            finally:
                embedded.close()
            assert files_hold(data, b"15551234567")
            assert "conversations" in await people("forget", NUMBER, "--yes", data_dir=data)
            assert files_hold(data, b"15551234567") == files_hold(data, b"Likes tea") == []
            if server.process.returncode is None:
                await server.stop()


async def test_the_embedded_server_of_a_running_relay(tmp_path: Path) -> None:
    """It is joined; of a person who is forgotten in the middle of a call nothing is left when the call is over, nor
    anything of an earlier call."""
    data = tmp_path / "data"
    async with serving(data, cwd=tmp_path) as server:
        async with Caller(server.url, from_=NUMBER, pace=FAST) as call:
            await call.greeting_played()
            await call.say("My name is Xanthippe Wolfeschlegel.")
            await call.reply()
        assert "Xanthippe" in await people("show", NUMBER, data_dir=data)
        async with Caller(server.url, from_=NUMBER, pace=FAST) as call:
            await call.greeting_played()
            assert "conversations" in await people("forget", NUMBER, "--yes", data_dir=data)
            await call.say("Are you there?")
            await call.reply()
        assert "Nobody is known" in await people("show", NUMBER, data_dir=data)
        embedded = EmbeddedRedis.start(data)
        try:
            redis = connect(embedded.url)
            async with asyncio.timeout(15):
                # What is due after a call goes last.
                while await redis.keys("conversation:*") or await redis.keys("{aftercall}:*"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            # Tours that anybody may take; what processes have counted, for a few hours.
            nobodys = (b"ticket", b"{tours}", b"metrics:", b"slowest:", b"live:", b"workers")
            assert [key for key in await redis.keys("*") if not any(each in key for each in nobodys)] == []
            await redis.aclose()
        finally:
            embedded.close()
