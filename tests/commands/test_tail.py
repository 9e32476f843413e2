"""``relay tail`` against a running server, and what it says where nothing is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from redis.asyncio import Redis

from commands.tail import NotTold, follow
from phone.caller import FAST, Caller
from phone.model import Reply
from tests.calls.checks import heard
from tests.calls.front import Front
from tests.commands.invoking import invoke
from tests.commands.serving import INHERITED, RELAY
from tests.handlers.standins import serving
from tests.running import Running, running, write_agent
from tests.watchers import watching

TOKEN = "dashboard-token"
SOON = 10.0


class Tail:
    """The command in a process of its own, in pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def of(cls, url: str, *options: str) -> Tail:
        environ = {**INHERITED, "DASHBOARD_TOKEN": TOKEN, "TERM": "xterm"}
        command = (RELAY, "tail", "--url", url, *options)
        return cls(await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env=environ))

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(SOON):
            return (await self.process.stdout.readline()).decode()

    async def note(self) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(SOON):
            return (await self.process.stderr.readline()).decode()

    async def end(self, number: signal.Signals) -> tuple[int | None, str, str]:
        """Exit status, and what is left of both streams."""
        self.process.send_signal(number)
        async with asyncio.timeout(SOON):
            out, errors = await self.process.communicate()
        return self.process.returncode, out.decode(), errors.decode()


@pytest.fixture
async def server(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path / "data", agents=agents, environ={"DASHBOARD_TOKEN": TOKEN}) as app:
        async with watching(app, TOKEN):
            pass
        yield app


async def one_call(server: Running) -> str:
    """A call with one turn; its id."""
    server.model.script(Reply("At nine."))
    async with Caller(server.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("When do you open?")
        await call.until(lambda: heard(call)[-1] == "At nine.")
        await call.hang_up()
    return call.record.call_sid


async def test_a_call_as_it_happens(server: Running) -> None:
    """A line each, at once, without words and, in a pipe, without colours; Ctrl-C ends it quietly."""
    tail = await Tail.of(server.url + "/")
    assert await tail.note() == f"* watching {server.url}\n"
    sid = await one_call(server)
    lines = [await tail.line() for _ in range(3)]
    assert [line[14:22] for line in lines] == [sid[-8:]] * 3
    assert "started" in lines[0] and "turn   1" in lines[1] and "ended" in lines[2]
    assert "nine" not in "".join(lines) and "\x1b" not in "".join(lines)
    assert await tail.end(signal.SIGINT) == (130, "", "")


async def test_events_as_they_are_for_one_slow_call_only(server: Running) -> None:
    """Filters and JSON."""
    tail = await Tail.of(server.url, "--json", "--agent", "default", "--slow", "0")
    await tail.note()
    sid = await one_call(server)
    event = orjson.loads(await tail.line())
    assert (event["event"], event["id"], event["outcome"]) == ("turn", sid, "done")
    assert await tail.end(signal.SIGTERM) == (-signal.SIGTERM, "", "")


async def test_a_reader_that_goes_ends_it_quietly(server: Running) -> None:
    """As in ``relay tail | head -1``."""
    tail = await Tail.of(server.url)
    await tail.note()
    assert tail.process.stdout is not None
    tail.process.stdout._transport.close()  # type: ignore[attr-defined]
    await one_call(server)
    async with asyncio.timeout(SOON):
        assert await tail.process.wait() == 0
    assert await tail.note() == ""


async def test_a_lost_connection_is_made_anew(server: Running) -> None:
    """Also where the server is away for a while; what came meanwhile is not told."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    notes: asyncio.Queue[str] = asyncio.Queue()

    async def noted() -> str:
        return await asyncio.wait_for(notes.get(), SOON)

    async with Front(server.url) as front:
        following = asyncio.create_task(
            follow(front.url, TOKEN, events.put_nowait, note=notes.put_nowait, again=(0.01, 0.05))
        )
        assert await noted() == f"watching {front.url}"
        front.fail_over("http://127.0.0.1:1")
        assert await noted() == "the connection is lost; trying again"
        front.fail_over(server.url)
        assert await noted() == "connected again"
        sid = await one_call(server)
        async with asyncio.timeout(SOON):
            while (event := await events.get())["event"] != "call_ended":
                pass
        assert event["id"] == sid
        following.cancel()
        await asyncio.wait([following])
    assert notes.empty()


async def test_why_nothing_is_told(server: Running, redis_url: str, tmp_path: Path) -> None:
    """Each in one sentence that says what to do, and status 1."""
    assert await invoke({"DASHBOARD_TOKEN": "another"}, "tail", "--url", server.url) == (
        1,
        "",
        f"relay: The server at {server.url} wants another DASHBOARD_TOKEN than the one set here "
        "(environment or .env).\n",
    )
    assert await invoke({"PORT": "1"}, "tail") == (
        1,
        "",
        "relay: Nothing answers at http://127.0.0.1:1. Start a server with: make run\n",
    )
    status, _, errors = await invoke({}, "tail", "--url", "nonsense")
    assert (status, errors) == (1, "relay: nonsense is no address of a server.\n")
    closed = {"PUBLIC_URL": "https://relay.example.com"}
    async with running(redis_url, tmp_path / "closed", agents=tmp_path / "agents", environ=closed) as other:
        status, _, errors = await invoke({}, "tail", "--url", other.url)
    assert (status, "set DASHBOARD_TOKEN there" in errors) == (1, True)


@pytest.mark.parametrize(("status", "told"), [(503, "answers 503 now: full"), (200, "that is no relay")])
async def test_a_server_that_does_not_tell_now(status: int, told: str) -> None:
    """What it answers is said, on one line."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text="fu\x1bll\n")

    async with serving(web.get("/dashboard/events", answer)) as client:
        with pytest.raises(NotTold, match=told):
            await follow(str(client.make_url("")).rstrip("/"), "", lambda event: None)
