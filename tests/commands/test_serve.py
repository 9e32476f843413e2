"""``relay serve`` as an operator meets it: a process, its settings, its signals, its log, its data."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import aiohttp
import orjson
import pytest

from commands.serve import AGAIN
from phone.caller import FAST, Caller, CallRefused
from phone.model import Gate, ModelServer, Reply
from relay.frames import PeerError
from relay.items import Item, UserItem, load_item
from relay.store.client import connect
from relay.store.embedded import EmbeddedRedis
from tests.calls.front import Front
from tests.commands.serving import DEADLINE, INHERITED, RELAY, Serving, launch, redis_process, serving
from tests.running import write_agent

PUBLIC = "https://relay.example.com/agents"
TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
METRICS = "the-metrics-token-of-this-test"
GUESSED = "rumpelstilz"
NUMBER = "+15555550177"
COMPLAINTS = ("Traceback", "Warning", "never awaited", "was destroyed", "never retrieved", "nclosed", "rror handling")


def complaints(server: Serving) -> list[str]:
    """What a clean process does not write."""
    return [line for line in server.output.splitlines() if any(each in line for each in COMPLAINTS)]


async def wait_for(condition: Callable[[], object], within: float = 20.0) -> None:
    """Files and other people's processes tell nobody when they change."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder in which no Redis server is left running."""
    folder = tmp_path / "data"
    yield folder
    if redis_process(folder):
        EmbeddedRedis.start(folder).close()


def history(data_dir: Path, call_sid: str) -> list[Item]:
    """What the folder's store holds of a call, read by a server of our own."""

    async def read(url: str) -> list[Item]:
        client = connect(url)
        try:
            found = await client.zrange(f"conversation:{{{call_sid}}}:items", 0, -1)
        finally:
            await client.aclose()
        return [item for raw in cast(list[bytes], found) if (item := load_item(raw)) is not None]

    embedded = EmbeddedRedis.start(data_dir)
    try:
        with asyncio.Runner() as runner:
            return runner.run(read(embedded.url))
    finally:
        embedded.close()


async def one_call(url: str, words: str = "Tell me a joke.") -> str:
    """A call of one turn, hung up at the first words of the answer; returns its CallSid."""
    async with Caller(url, pace=FAST) as call:
        await call.greeting_played()
        await call.say(words)
        await call.until(lambda: call.record.turn.first_words is not None)
    return call.record.call_sid


AGENT = 'greeting = "Yes?"\ntools = ["end_call"]\n[[languages]]\ncode = "en-US"\n'
REHEARSAL = 'otherwise = ["Really."]\n[[rules]]\nhear = "goodbye"\nsay = "Bye."\ntool = "end_call"\n'


@pytest.fixture
def agents(tmp_path: Path) -> str:
    """A folder with one agent of few words."""
    folder = tmp_path / "agents"
    write_agent(folder, AGENT)
    (folder / "default" / "rehearsal.toml").write_text(REHEARSAL)
    return str(folder)


# -- a whole life, from another folder, with everything set: one process for several tests


@dataclass
class Life:
    """What is left of a process that answered one eventful call."""

    output: str = ""
    status: int = -1
    complaints: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    heard: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    metrics: dict[str, int] = field(default_factory=dict)
    weak: list[dict[str, object]] = field(default_factory=list)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("elsewhere")
    with asyncio.Runner() as runner:
        return runner.run(lived(folder, tmp_path_factory.mktemp("kept") / "data"))


async def lived(folder: Path, data_dir: Path) -> Life:
    life = Life()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "PUBLIC_URL": PUBLIC,
        "TWILIO_AUTH_TOKEN": f"{TOKEN},0123456789abcdef0123456789abcdef",
        "METRICS_TOKEN": METRICS,
        "API_TOKEN": GUESSED,
        "LOG_LEVEL": "debug",
    }
    async with serving(data_dir, cwd=folder, **environ) as server:
        url = f"http://127.0.0.1:{port}"
        assert server.url == url
        life.routes = next(record["routes"] for record in server.records if record["event"] == "listening")
        with pytest.raises(CallRefused):
            async with Caller(url, public_url=PUBLIC, token="wrong", from_=NUMBER):
                pass
        async with Caller(url, public_url=PUBLIC, token=TOKEN, from_=NUMBER, pace=FAST) as call:
            life.secrets["ticket"] = call.session.relay.parameters["ticket"]
            await call.greeting_played()
            await call.say("My name is Xanthippe Wolfeschlegel.")
            life.heard = await call.reply()
            await call.press("83914726#")
            await call.reply()
            await call.send(PeerError("Invalid message received, code: 64107, quodlibet"))
            await call.send('{"type":"prompt","voicePrompt":["quodlibet"]}')
            await call.send('{"type":"quodlibet"}')
            cut = call.interrupt_after(4, "Stop, rhinoceros.")
            await call.say("A long story about a rhinoceros.")
            await cut
            await call.reply()
            life.secrets["call"] = call.record.call_sid
        await server.logged("call ended")
        async with aiohttp.ClientSession() as http:
            for name, headers in {
                "here": {},
                "from outside": {"X-Forwarded-For": "203.0.113.9"},
                "with the token": {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {METRICS}"},
            }.items():
                async with http.get(f"{url}/metrics", headers=headers) as answer:
                    life.metrics[name] = answer.status
        life.status = await server.stop()
    life.output = server.output
    life.complaints = complaints(server)
    life.events = [record["event"] for record in server.records]
    life.weak = [record for record in server.records if record["event"] == "weak token"]
    life.files = os.listdir(folder)
    assert not redis_process(data_dir)
    return life


def test_it_serves_from_any_folder(life: Life) -> None:
    """Started elsewhere it finds its agents, talks, and leaves nothing in the folder it was started in."""
    assert "Xanthippe Wolfeschlegel is saved." in life.heard
    assert life.files == []


def test_it_ends_well(life: Life) -> None:
    """After calls SIGTERM ends it with status 0, and it complains of nothing."""
    assert (life.status, life.complaints) == (0, [])
    assert life.events[-1] == "leaving"


def test_the_log_of_a_call_says_nothing_of_the_caller(life: Life) -> None:
    """No words, names, numbers, keys, tool arguments, tickets or secrets are in any record, even at debug; nor does
    what Twilio reports or a broken frame bring them in."""
    assert life.events.count("call started") == life.events.count("call ended") == 1
    assert life.secrets["call"] in life.output
    private = ["Xanthippe", "Wolfeschlegel", "rhinoceros", "quodlibet", "long story", "83914726", "5555550177"]
    private += [TOKEN, "0123456789abcdef", METRICS, GUESSED]
    private += [life.secrets["ticket"], life.secrets["ticket"].split(".")[2]]
    assert [each for each in private if each.lower() in life.output.lower()] == []


def test_every_record_of_a_call_names_it(life: Life) -> None:
    """Ids are bound once a call: each of its records has them."""
    lines = [line for line in life.output.splitlines() if '"turn ended"' in line or '"call ended"' in line]
    assert len(lines) >= 4
    assert all(life.secrets["call"] in line and '"session_id"' in line and '"agent"' in line for line in lines)


def test_metrics_are_for_this_machine_or_a_token(life: Life) -> None:
    """/metrics is open to loopback without a forwarding header, and to others with the bearer token."""
    assert life.metrics == {"here": 200, "from outside": 401, "with the token": 200}


def test_a_weak_token_is_told(life: Life) -> None:
    """By the name of its setting and with the command that makes a better one, at the start."""
    (told,) = life.weak
    assert (told["level"], told["setting"], told["why"]) == ("warning", "API_TOKEN", "is shorter than 16 characters")
    assert told["better"] == "openssl rand -hex 32" and life.events.index("weak token") < life.events.index("listening")


def test_open_routes_are_told(life: Life) -> None:
    """With PUBLIC_URL and TWILIO_AUTH_TOKEN the start-up table says that the voice routes are open."""
    assert "POST /voice/incoming open" in life.routes
    assert not any("TWILIO_AUTH_TOKEN" in route for route in life.routes)


# -- signals


async def test_sigint_ends_it_well(data_dir: Path, tmp_path: Path) -> None:
    """SIGINT ends it with status 0 and stops its Redis server; the default host is loopback's."""
    async with serving(data_dir, cwd=tmp_path) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert redis_process(data_dir)
        assert await server.stop(signal.SIGINT) == 0
        assert complaints(server) == []
        assert not redis_process(data_dir)


async def test_signals_may_come_again(data_dir: Path, tmp_path: Path) -> None:
    """Whatever signals follow the first one, until the very end, the exit is in order all the same."""
    async with serving(data_dir, cwd=tmp_path) as server:
        call_sid = await one_call(server.url)
        ending = asyncio.create_task(server.stop(signal.SIGTERM))
        while not ending.done():
            await asyncio.sleep(0.001)
            for number in (signal.SIGINT, signal.SIGTERM):
                try:
                    # Not send_signal(): it may collect the exit status that `stop` waits for.
                    os.kill(server.process.pid, number)
                except ProcessLookupError:
                    break
        assert await ending == 0
        assert complaints(server) == []
        assert not redis_process(data_dir)
    found = await asyncio.to_thread(history, data_dir, call_sid)
    assert UserItem("Tell me a joke.", "en") in found


async def test_without_calls_it_is_gone_at_once(data_dir: Path, tmp_path: Path) -> None:
    """Nobody waits for the time calls would be given."""
    async with serving(data_dir, cwd=tmp_path, DRAIN_SECONDS="3600") as server:
        assert await server.stop() == 0
        assert [record["calls"] for record in server.records if record["event"] == "leaving"] == [0]


async def test_a_call_may_go_on_until_it_ends(data_dir: Path, tmp_path: Path, agents: str) -> None:
    """After SIGTERM the process is not ready, and answers its caller as before; when they have hung up it is gone."""
    async with serving(data_dir, cwd=tmp_path, DRAIN_SECONDS="3600", AGENTS_DIR=agents) as server:
        async with Caller(server.url, pace=FAST) as call, aiohttp.ClientSession() as http:
            await call.greeting_played()
            ending = asyncio.create_task(server.stop())
            await server.logged("leaving")
            async with http.get(f"{server.url}/health/ready") as answer:
                assert answer.status == 503
            await call.say("Hello?")
            assert (await call.reply()).endswith("Really.")
            await call.hang_up()
            assert call.record.faults == []
        assert await ending == 0
        assert complaints(server) == []
    found = await asyncio.to_thread(history, data_dir, call.record.call_sid)
    assert UserItem("Hello?", "en-US") in found


@pytest.mark.parametrize("how", ["time", "signal"])
async def test_a_call_that_is_left_is_handed_back(data_dir: Path, tmp_path: Path, agents: str, how: str) -> None:
    """When its time is up, or another signal comes, the caller hears one line, and Twilio gets the call back with
    reasonCode ``resume``; what follows is answered with a pause for whoever comes next."""
    seconds = "0.2" if how == "time" else "3600"
    async with serving(data_dir, cwd=tmp_path, DRAIN_SECONDS=seconds, AGENTS_DIR=agents) as server:
        async with Caller(server.url, pace=FAST) as call:
            await call.greeting_played()
            ending = asyncio.create_task(server.stop())
            await server.logged("leaving")
            if how == "signal":
                await asyncio.sleep(AGAIN)
                os.kill(server.process.pid, signal.SIGTERM)
            await call.until(lambda: call.record.actions)
            assert orjson.loads(call.record.actions[0]["HandoffData"])["reasonCode"] == "resume"
            await call.until(lambda: call.record.pauses)
            (line,) = [turn.heard for turn in call.record.turns if turn.heard]
            assert line.endswith("I'm still with you.")
        assert await ending == 0
        assert complaints(server) == []


async def test_a_signal_during_the_start(data_dir: Path, tmp_path: Path) -> None:
    """A signal that comes before it listens is not lost: it ends with status 0 and leaves no Redis server."""
    server = await launch(data_dir, cwd=tmp_path)
    await wait_for(lambda: (data_dir / "redis" / "start.lock").exists())
    assert await server.stop() == 0
    assert complaints(server) == []
    assert not redis_process(data_dir)


# -- what is wrong is one sentence


async def test_a_port_in_use(data_dir: Path, tmp_path: Path) -> None:
    """A port in use is one sentence with the command that helps, status 1, and no Redis server is left."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = await launch(data_dir, cwd=tmp_path, PORT=str(port))
        assert await server.ended() == 1
    assert server.output == f"relay: Port {port} of 127.0.0.1 is in use; take another one: PORT={port + 1} make run\n"
    assert not redis_process(data_dir)


async def test_a_host_that_is_none(data_dir: Path, tmp_path: Path) -> None:
    """A HOST that cannot be listened on is one sentence too."""
    server = await launch(data_dir, cwd=tmp_path, HOST="203.0.113.1")
    assert await server.ended() == 1
    assert re.fullmatch(
        r"relay: 203\.0\.113\.1:0 cannot be listened on .*HOST=127\.0\.0\.1 PORT=8080 make run\n", server.output
    )


async def test_wrong_settings_are_told_at_once(data_dir: Path, tmp_path: Path) -> None:
    """Every wrong or missing setting is one line by its name, none with its value, and nothing is started."""
    environ = {
        "PORT": "eighty",
        "OPENAI_BASE_URL": "ftp://quodlibet",
        "TWILIO_API_KEY": "SKsecret",
        "TURN_DEADLINE": "-1",
    }
    server = await launch(data_dir, cwd=tmp_path, **environ)
    assert await server.ended() == 1
    lines = server.output.splitlines()
    assert sorted(re.findall(r"^relay: ([A-Z_]+) ", server.output, re.MULTILINE)) == [
        "OPENAI_BASE_URL",
        "PORT",
        "TURN_DEADLINE",
        "TWILIO_API_SECRET",
    ]
    assert len(lines) == 4
    assert not any(value in server.output for value in ("eighty", "quodlibet", "SKsecret"))
    assert "data" not in os.listdir(tmp_path)


async def test_wrong_agents_are_told(data_dir: Path, tmp_path: Path) -> None:
    """An agent folder without agents is told, and the Redis server that had been started is stopped."""
    (tmp_path / "agents").mkdir()
    server = await launch(data_dir, cwd=tmp_path, AGENTS_DIR=str(tmp_path / "agents"))
    assert await server.ended() == 1
    assert server.output.startswith("relay: ") and "Traceback" not in server.output
    assert not redis_process(data_dir)


# -- what it says at the start


async def test_a_folder_of_agents_that_is_not_there(data_dir: Path, tmp_path: Path) -> None:
    """Told in one sentence, also where no model is set and a rehearsal is to be made of them."""
    server = await launch(data_dir, cwd=tmp_path, AGENTS_DIR=str(tmp_path / "missing"))
    assert await server.ended() == 1
    assert "relay: " in server.output and "AGENTS_DIR names the folder of agents." in server.output
    assert not complaints(server)


async def test_a_closed_route(data_dir: Path, tmp_path: Path) -> None:
    """With PUBLIC_URL and no token the start-up table says what is missing, and the routes answer 404 with nothing."""
    async with serving(data_dir, cwd=tmp_path, PUBLIC_URL=PUBLIC, HOST="127.0.0.1") as server:
        routes = next(record["routes"] for record in server.records if record["event"] == "listening")
        closed = [route for route in routes if route.endswith("closed: TWILIO_AUTH_TOKEN")]
        voice = ("incoming", "action", "dialled", "whisper", "status", "amd", "relay")
        paths = [*(f"/voice/{name}" for name in voice), "/twilio/status"]
        assert [route.split()[1] for route in closed] == paths
        assert "POST /voice/outbound closed: API_TOKEN" in routes
        async with aiohttp.ClientSession() as http:
            for path in (*paths, "/voice/outbound"):
                for method in ("GET", "POST", "PUT"):
                    async with http.request(method, server.url + path, data=b"CallSid=1") as answer:
                        assert (answer.status, await answer.read()) == (404, b"")
        assert await server.stop() == 0


def on_a_terminal(data_dir: Path, cwd: Path) -> Iterator[str]:
    """What a person sees at the start, and then after Ctrl-C."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(cwd)
        os.execve(RELAY, [RELAY, "serve"], {**INHERITED, "DATA_DIR": str(data_dir), "PORT": "0", "TERM": "xterm"})
    seen = ""
    try:
        while "make call" not in seen or "make dev" not in seen:
            assert select.select([terminal], [], [], DEADLINE)[0], seen
            seen += os.read(terminal, 65536).decode()
        yield seen
        os.write(terminal, b"\x03")
        rest = ""
        try:
            while more := os.read(terminal, 65536).decode():
                rest += more
        except OSError:  # the other end is gone
            pass
        yield rest
    finally:
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_terminal_gets_a_table(data_dir: Path, tmp_path: Path) -> None:
    """On a terminal it prints where it listens, every route with its state, and what to do next; Ctrl-C ends it."""
    start, end = on_a_terminal(data_dir, tmp_path)
    text = re.sub(r"\x1b\[[0-9;]*m", "", start).replace("\r", "")
    assert re.search(r"^  relay listens on http://127\.0\.0\.1:\d+$", text, re.MULTILINE)
    for route in (
        "POST /voice/incoming",
        "POST /voice/action",
        "GET  /voice/relay",
        "GET  /health/ready",
        "GET  /metrics",
    ):
        assert re.search(rf"^  {route} +\S", text, re.MULTILINE), route
    assert "  reports: off: REPORT_URL" in text.splitlines()
    assert "Talk to it from another terminal:   make call" in text
    assert re.search(r"Write to it in a browser: +http://127\.0\.0\.1:\d+/chat\n", text)
    assert "Traceback" not in end


# -- its data


async def test_history_survives_kill_9(data_dir: Path, tmp_path: Path) -> None:
    """Killed without warning, the process and its Redis, what was said is still there, and the next start goes on."""
    async with serving(data_dir, cwd=tmp_path) as server:
        call_sid = await one_call(server.url)
        await server.logged("call ended")
        redis = redis_process(data_dir)
        server.process.kill()
        os.kill(redis, signal.SIGKILL)
        assert await server.ended() == -signal.SIGKILL
    await wait_for(lambda: not redis_process(data_dir))
    found = await asyncio.to_thread(history, data_dir, call_sid)
    assert UserItem("Tell me a joke.", "en") in found
    async with serving(data_dir, cwd=tmp_path) as again:
        await one_call(again.url)
        assert await again.stop() == 0


async def test_two_share_a_folder(data_dir: Path, tmp_path: Path) -> None:
    """Two servers of one data folder share its Redis: the first to leave leaves it running, the last one stops it."""
    async with serving(data_dir, cwd=tmp_path) as one, serving(data_dir, cwd=tmp_path) as other:
        redis = redis_process(data_dir)
        assert await one.stop() == 0
        assert redis_process(data_dir) == redis
        async with aiohttp.ClientSession() as http, http.get(f"{other.url}/health/ready") as answer:
            assert await answer.json() == {"status": "ok", "redis": "ok", "model": "rehearsal"}
        call_sid = await one_call(other.url)
        assert await other.stop() == 0
        assert not redis_process(data_dir)
    assert await asyncio.to_thread(history, data_dir, call_sid)


async def test_a_call_survives_kill_9(data_dir: Path, tmp_path: Path) -> None:
    """With ``applicationReconnect``: its process is killed in the middle of a reply, and the call goes on in another
    one, in the same session; what was answered before and is told again is not answered again."""
    agents = write_agent(tmp_path / "agents", 'greeting = "Yes?"\n[relay]\napplicationReconnect = true\n')
    gate = Gate()
    async with ModelServer() as model:
        environ = {"AGENTS_DIR": str(agents), "OPENAI_BASE_URL": model.url, "STALL_DEADLINE": "30"}
        async with (
            serving(data_dir, cwd=tmp_path, **environ) as one,
            serving(data_dir, cwd=tmp_path, **environ) as other,
            Front(one.url) as front,
            Caller(front.url, pace=FAST) as call,
        ):
            await call.greeting_played()
            model.script(Reply("Ada, then."), Reply(["Once there was, ", "and ", "so on."], gate=gate, gate_at=2))
            await call.say("I am Ada")
            assert await call.reply() == "Ada, then."
            await call.say("A story")
            await call.until(lambda: call.record.turn.heard == "Once there was,")
            async with asyncio.timeout(10):
                while len(await asyncio.to_thread(history, data_dir, call.record.call_sid)) < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            model.script(Reply("a fox."))
            async with call.offline(again=len(call.record.sent) - 1):
                one.process.kill()
                assert await one.ended() == -signal.SIGKILL
                front.fail_over(other.url)
            await call.until(lambda: call.record.turn.heard.endswith("a fox."))
            assert call.record.turn.heard == "Once there was, and a fox."
            ask = model.asked[-1].ask
            assert ask is not None
            assert [entry.text for entry in ask.entries][:4] == ["Yes?", "I am Ada", "Ada, then.", "A story"]
            assert len(model.asked) == 3
            assert len(set(call.record.session_ids)) == 1
            assert call.record.actions == []
            gate.set()


# -- with the terminal phone


async def phone(*options: str, given: str, cwd: Path, **environ: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        RELAY, "call", *options, cwd=cwd, env={**INHERITED, **environ}, stdin=-1, stdout=-1, stderr=-1
    )
    async with asyncio.timeout(60):
        out, errors = await process.communicate(given.encode())
    return process.returncode, out.decode(), errors.decode()


async def test_relay_call_to_a_running_server(data_dir: Path, tmp_path: Path, agents: str) -> None:
    """``relay call`` finds the server on its port, plays the script it is given and reports success."""
    async with serving(data_dir, cwd=tmp_path, AGENTS_DIR=agents) as server:
        port = server.url.rpartition(":")[2]
        status, out, errors = await phone("--script", "-", given="Well?\n", cwd=tmp_path, PORT=port)
        assert (status, errors) == (0, "")
        assert re.match(r"agent> Yes\?\nyou> Well\?\nagent> No model is connected.* Really\. \(", out)
        assert "started for this call" not in out
        assert await server.stop() == 0


async def test_relay_call_starts_a_server(data_dir: Path, tmp_path: Path, agents: str) -> None:
    """Where none runs it starts one for the call, with the same settings, and stops it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environ = {"PORT": port, "DATA_DIR": str(data_dir), "AGENTS_DIR": agents}
    status, out, _ = await phone("--script", "-", given="Goodbye.\n", cwd=tmp_path, **environ)
    assert status == 0
    assert "started for this call" in out
    assert " Bye. (" in out
    assert "the agent hung up" in out
    assert not redis_process(data_dir)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_the_program_is_this_checkouts() -> None:
    """The tests above run the ``relay`` beside the Python that runs them."""
    assert Path(RELAY).exists(), f"install the project into {sys.prefix} first: make install"
