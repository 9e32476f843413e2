"""``relay dev``: processes, sockets, a tunnel and a number, from the start to the end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from phone.caller import FAST, Caller
from relay.store.embedded import EmbeddedRedis
from tests.commands.developing import OLD_URL, World, account, copy_of_checkout, developing, greeting
from tests.commands.serving import Serving, redis_process
from tests.commands.test_serve import complaints, data_dir, wait_for
from tests.fakes.twilio_rest import NUMBER, TwilioRestServer, twilio_rest
from tests.running import write_agent

__all__ = ["data_dir"]

FIRST, SECOND = "https://first.ngrok-free.app", "https://second.ngrok-free.app"
REHEARSAL = 'otherwise = ["Really."]\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as server:
        yield server


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    folder = write_agent(tmp_path / "agents", 'greeting = "Hello."')
    (folder / "default" / "rehearsal.toml").write_text(REHEARSAL)
    return folder


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def servers(dev: Serving) -> list[str]:
    """Where each server has said that it listens."""
    return [record["address"] for record in dev.records if record["event"] == "listening"]


async def kill_server(dev: Serving) -> None:
    """Without warning."""
    ps = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,ppid=,command=", stdout=-1)
    for line in (await ps.communicate())[0].decode().splitlines():
        pid, parent, command = line.split(maxsplit=2)
        if int(parent) == dev.process.pid and "commands.dev.child" in command:
            os.kill(int(pid), signal.SIGKILL)


async def test_the_number_follows_the_tunnel(
    data_dir: Path, tmp_path: Path, world: World, twilio: TwilioRestServer, agents: Path
) -> None:
    """Calls come in through the tunnel. One that dies is opened again, a server that knows its new address takes over,
    and the number is pointed there; SIGTERM puts the number back as it was before all that, and ends the tunnel. Where
    there is no program ngrok its package does."""
    world.package()
    world.address(FIRST)
    record = twilio.numbers.add(NUMBER, voice_url=OLD_URL, voice_method="GET")
    before = dict(record)
    async with developing(data_dir, cwd=tmp_path, world=world, AGENTS_DIR=str(agents), **account(twilio)) as dev:
        await dev.said(f"{NUMBER} now leads to {FIRST}/voice/incoming (before: {OLD_URL} (GET))")
        assert (record["voice_url"], record["voice_method"]) == (f"{FIRST}/voice/incoming", "POST")
        process, entrance = world.tunnel()
        assert await greeting(entrance, FIRST) == "Hello."
        world.address(SECOND)
        os.kill(process, signal.SIGKILL)
        await dev.said(f"{NUMBER} now leads to {SECOND}/voice/incoming")
        assert record["voice_url"] == f"{SECOND}/voice/incoming"
        process, entrance = world.tunnel(1)
        assert await greeting(entrance, SECOND) == "Hello."
        assert await dev.stop() == 0
        assert f"{NUMBER} leads to {OLD_URL} (GET) again" in dev.output
        assert record == before
        assert not runs(process)
        assert not redis_process(data_dir)
        assert complaints(dev) == []


EDIT = '''
_plain = opening


def opening(agent: VoiceAgent, *, closed: bool) -> str:
    """Edited."""
    return "Edited. " + _plain(agent, closed=closed)
'''


async def test_what_is_edited_is_live(data_dir: Path, tmp_path: Path, world: World, agents: Path) -> None:
    """A changed agent takes the next call. A changed module is live for new calls and connections, while a call in
    progress goes on where it is; a broken one changes nothing, and its mistake is shown. Ctrl-C ends it."""
    checkout = copy_of_checkout(tmp_path / "checkout")
    module = checkout / "handlers" / "connecting.py"
    environ = {"AGENTS_DIR": str(agents), "PYTHONPATH": str(checkout)}
    command = (sys.executable, "-P", "-m", "commands.main")
    async with (
        developing(data_dir, cwd=tmp_path, world=world, command=command, **environ) as dev,
        aiohttp.ClientSession() as http,
    ):
        await dev.said("agents and modules may be edited")
        url = servers(dev)[0]
        assert await greeting(url) == "Hello."
        write_agent(agents, 'greeting = "Hello again."')
        assert await greeting(url) == "Hello again."

        async with Caller(url, pace=FAST) as call, http.get(f"{url}/health/ready") as answer:
            await answer.read()
            await call.greeting_played()
            whole = module.read_text()
            module.write_text(whole + "\ndef broken(:\n")
            await dev.said("it does not start; the server from before goes on")
            assert re.search(r'File ".*/handlers/connecting\.py", line \d+\n    def broken\(:\n', dev.output)
            assert "Traceback" not in dev.output
            assert await greeting(url) == "Hello again."

            module.write_text(whole + EDIT)
            await dev.said("the new server takes the calls from now on")
            await dev.logged("leaving")
            assert await greeting(url) == "Edited. Hello again."
            async with http.get(f"{url}/health/ready") as answer:  # on the connection of before, were it still open
                assert answer.status == 200
            await call.say("Are you there?")
            assert (await call.reply()).endswith("Really.")
            outcome = await call.hang_up()
        assert outcome.how == "caller"
        assert dev.output.count("changed: connecting.py") == 2
        assert await dev.stop(signal.SIGINT) == 0
        assert len(servers(dev)) == 2
        assert not redis_process(data_dir)
        assert complaints(dev) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


async def test_a_server_that_crashes(
    data_dir: Path, tmp_path: Path, world: World, twilio: TwilioRestServer, agents: Path
) -> None:
    """A server that ends by itself is followed by another; the second time in a row the number is put back, and the
    exit status tells. An address of one's own needs no tunnel."""
    record = twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    environ = {"AGENTS_DIR": str(agents), "HOST": "127.0.0.1", **account(twilio)}
    async with developing(data_dir, "--public-url", FIRST, cwd=tmp_path, world=world, **environ) as dev:
        await dev.said(f"{NUMBER} now leads to {FIRST}/voice/incoming")
        await kill_server(dev)
        await dev.said("another one is started")
        await dev.said("the new server takes the calls from now on")
        assert await greeting(servers(dev)[1], FIRST) == "Hello."
        await kill_server(dev)
        assert await dev.ended() == 1
        assert "the server has ended by itself again" in dev.output
        await asyncio.to_thread(EmbeddedRedis.start(data_dir).close)  # nobody was left to stop it
        assert record["voice_url"] == OLD_URL


async def test_killed_without_warning(
    data_dir: Path, tmp_path: Path, world: World, twilio: TwilioRestServer, agents: Path
) -> None:
    """When relay dev itself is killed, its server and the tunnel end and the number is put back all the same."""
    world.program()
    world.address(FIRST)
    record = twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    async with developing(data_dir, cwd=tmp_path, world=world, AGENTS_DIR=str(agents), **account(twilio)) as dev:
        await dev.said(f"{NUMBER} now leads to {FIRST}/voice/incoming")
        process, entrance = world.tunnel()
        assert await greeting(entrance, FIRST) == "Hello."
        dev.process.kill()
        assert await dev.ended() == -signal.SIGKILL  # and so have all that held its output
        assert record["voice_url"] == OLD_URL
        assert not redis_process(data_dir)
        await wait_for(lambda: not runs(process))


async def test_without_an_account(data_dir: Path, tmp_path: Path, world: World, agents: Path) -> None:
    """Without credentials it serves this machine, and says which settings would connect a number."""
    world.program()
    async with developing(data_dir, cwd=tmp_path, world=world, AGENTS_DIR=str(agents)) as dev:
        await dev.said("this machine only")
        assert "not connected, without TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN" in dev.output
        assert await greeting(servers(dev)[0]) == "Hello."
        assert await dev.stop() == 0


async def test_without_ngrok(data_dir: Path, tmp_path: Path, world: World, twilio: TwilioRestServer) -> None:
    """Where there is no ngrok it says how to get one and how to go on without; a server that cannot start ends it."""
    environ = {"DEFAULT_AGENT": "nobody", **account(twilio)}
    async with developing(data_dir, cwd=tmp_path, world=world, **environ) as dev:
        assert await dev.ended() == 1
    assert "https://ngrok.com/download" in dev.output and "--public-url" in dev.output
    assert "there is no agent nobody" in dev.output
    assert "the server does not start" in dev.output
    assert twilio.asked == []


async def test_without_a_token(
    data_dir: Path, tmp_path: Path, world: World, twilio: TwilioRestServer, agents: Path
) -> None:
    """A tunnel that cannot be had is explained; this machine is served, and the number is left where it is."""
    world.program()
    (world.ngrok / "fail").write_text("Usage of ngrok requires a verified account and authtoken. ERR_NGROK_4018")
    twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    async with developing(data_dir, cwd=tmp_path, world=world, AGENTS_DIR=str(agents), **account(twilio)) as dev:
        await dev.said("the number is not connected while there is no address")
        assert "the tunnel is given up: ngrok has no authtoken" in dev.output
        assert await greeting(servers(dev)[0]) == "Hello."
        assert await dev.stop() == 0
    assert twilio.asked == []


async def test_a_port_in_use(data_dir: Path, tmp_path: Path, world: World) -> None:
    """A port in use is one sentence with the command that helps."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with developing(data_dir, cwd=tmp_path, world=world, PORT=str(port)) as dev:
            assert await dev.ended() == 1
    assert dev.output == f"relay: Port {port} of 127.0.0.1 is in use; take another one: PORT={port + 1} relay dev\n"
